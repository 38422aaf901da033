"""What is wrong with a policy's document, and what of it does not do what it seems to.

Errors keep a document from being a policy. Warnings do not: it is what it says, but
probably not what was meant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from tokenmq.access.binding import check_template
from tokenmq.access.permission import Permission
from tokenmq.access.rules import EVERYBODY, ClaimCondition, Effect, PolicyDocument, Rule, matches_user
from tokenmq.errors import InvalidTopicFilter
from tokenmq.limits import MAX_TOPICS, MAX_USER_ID_BYTES
from tokenmq.topics.filter import covers
from tokenmq.topics.name import text_problem
from tokenmq.topics.tree import FilterTree

# A body of 64 KiB holds hardly more; a bound for those that come another way.
MAX_RULES = 1_000
_MAX_CLAIM_BYTES = 255
_FIELDS = ("version", "default", "rules")
_RULE_FIELDS = ("user", "permissions", "topics", "effect")
_CONDITION_FIELDS = ("claim", "equals")
_PERMISSIONS = [permission.value for permission in Permission]
_EFFECTS = [effect.value for effect in Effect]
# The name of connections that a key opens; they have no user's rights.
_SERVER = "server"
_UNBOUNDED = 1 << 30


class Severity(StrEnum):
    """Whether a finding keeps a document from being a policy."""

    ERROR = "error"
    WARNING = "warning"


class Finding(msgspec.Struct, frozen=True):
    """Something about one place of a document.

    Attributes:
        path: as `rules[0].topics[1]`; empty for the document as a whole.
        message: one sentence.
    """

    path: str
    severity: Severity
    message: str


class Checked(NamedTuple):
    """What became of a document.

    Attributes:
        document: None if there are errors.
        findings: errors alone, or warnings.
    """

    document: PolicyDocument | None
    findings: tuple[Finding, ...]


def check(tree: object, *, dollar_trees: Collection[str]) -> Checked:
    """Make a document of plain values, or say what is wrong with them.

    Args:
        tree: as JSON was read; anything.
        dollar_trees: the `$` trees that the organization has, for the warnings.
    """
    errors = tuple(
        Finding(path.lstrip("."), Severity.ERROR, message) for path, message in _document_errors(tree)
    )
    if errors:
        return Checked(None, errors)
    document = msgspec.convert({"default": "deny"} | dict(_mapping(tree)), PolicyDocument)
    return Checked(document, warnings(document, dollar_trees=dollar_trees))


def warnings(document: PolicyDocument, *, dollar_trees: Collection[str]) -> tuple[Finding, ...]:
    """Say what of a document probably is not meant so."""
    rules = document.rules
    found = [*_open_rules(rules), *_idle_rules(rules), *_foreign_trees(rules, dollar_trees), *_servers(rules)]
    return tuple(Finding(path, Severity.WARNING, message) for path, message in found)


# Errors: pairs of path and sentence


def _document_errors(tree: object) -> Iterator[tuple[str, str]]:
    if not isinstance(tree, Mapping):
        yield "", "a policy is an object with version, default and rules"
        return
    yield from _unknown(tree, _FIELDS, "")
    if tree.get("version") != "1":
        yield "version", 'must be "1"'
    if tree.get("default", "deny") != "deny":
        yield "default", 'must be "deny": what no rule allows is refused'
    rules = tree.get("rules")
    if not isinstance(rules, list | tuple):
        yield "rules", "must be a list of rules; an empty one allows nothing"
        return
    if len(rules) > MAX_RULES:
        yield "rules", f"has {len(rules)} rules, at most {MAX_RULES} are possible"
        return
    for at, rule in enumerate(rules):
        yield from _rule_errors(rule, f"rules[{at}]")


def _rule_errors(rule: object, path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(rule, Mapping):
        yield path, "a rule is an object with user, permissions, topics and effect"
        return
    yield from _unknown(rule, _RULE_FIELDS, path)
    yield from _user_errors(rule.get("user"), f"{path}.user")
    yield from _permission_errors(rule.get("permissions"), f"{path}.permissions")
    yield from _topic_errors(rule.get("topics"), f"{path}.topics")
    if "effect" in rule and rule["effect"] not in _EFFECTS:
        yield f"{path}.effect", "must be allow or deny"


def _user_errors(user: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(user, str):
        problem = text_problem(user, max_bytes=MAX_USER_ID_BYTES, max_levels=_UNBOUNDED)
        if problem is not None:
            yield path, problem
    elif not isinstance(user, Mapping):
        yield path, 'must be a user\'s id, a pattern with *, or {"claim": …, "equals": …}'
    else:
        yield from _unknown(user, _CONDITION_FIELDS, path)
        claim, equals = user.get("claim"), user.get("equals")
        if not isinstance(claim, str) or text_problem(
            claim, max_bytes=_MAX_CLAIM_BYTES, max_levels=_UNBOUNDED
        ):
            yield f"{path}.claim", f"must be the name of a claim, at most {_MAX_CLAIM_BYTES} bytes"
        if not isinstance(equals, bool | int | float | str):
            yield f"{path}.equals", "must be a text, a number, true or false"


def _permission_errors(permissions: object, path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(permissions, list | tuple) or not permissions:
        yield path, f"must be a list of {', '.join(_PERMISSIONS)}, and not empty"
        return
    for index, permission in enumerate(permissions):
        if permission not in _PERMISSIONS:
            yield f"{path}[{index}]", f"must be one of {', '.join(_PERMISSIONS)}"


def _topic_errors(topics: object, path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(topics, list | tuple) or not 0 < len(topics) <= MAX_TOPICS:
        yield path, f"must be a list of 1 to {MAX_TOPICS} topic filters"
        return
    for index, topic_filter in enumerate(topics):
        if not isinstance(topic_filter, str):
            yield f"{path}[{index}]", "must be a topic filter"
            continue
        try:
            check_template(topic_filter)
        except InvalidTopicFilter as error:
            yield f"{path}[{index}]", error.reason


def _unknown(tree: Mapping[Any, Any], known: Sequence[str], path: str) -> Iterator[tuple[str, str]]:
    for name in tree:
        if name not in known:
            shown = name if len(name) <= 64 else name[:61] + "..."
            yield f"{path}.{shown}", f"unknown field, known are {', '.join(known)}"


def _mapping(tree: object) -> Mapping[str, Any]:
    return tree if isinstance(tree, Mapping) else {}


# Warnings: pairs of path and sentence


def _open_rules(rules: Sequence[Rule]) -> Iterator[tuple[str, str]]:
    for at, rule in enumerate(rules):
        if rule.user == EVERYBODY and rule.effect is Effect.ALLOW:
            for index, topic_filter in enumerate(rule.topics):
                if covers(topic_filter, "#"):
                    what = ", ".join(rule.permissions)
                    yield (
                        f"rules[{at}].topics[{index}]",
                        f"gives everybody {what} on every topic: only tokens limit them",
                    )


def _idle_rules(rules: Sequence[Rule]) -> Iterator[tuple[str, str]]:
    """Find rules that never decide, because others before them hold for the same and more."""
    before = _Before()
    for at, rule in enumerate(rules):
        hidden = {
            index: hiding
            for index, topic_filter in enumerate(rule.topics)
            if (hiding := before.hiding(rule, topic_filter)) is not None
        }
        if len(hidden) == len(rule.topics):
            names = ", ".join(f"rules[{one}]" for one in sorted(set(hidden.values())))
            no_effect = "denies nothing" if rule.effect is Effect.DENY else "allows nothing"
            yield f"rules[{at}]", f"{no_effect}: {names} before it decides about all of it"
        else:
            for index, hiding in hidden.items():
                yield f"rules[{at}].topics[{index}]", f"never decides: rules[{hiding}] before it does"
        before.add(at, rule)


class _Before:
    """The rules so far, by whom they are about, and their filters by permission."""

    def __init__(self) -> None:
        self._of: dict[object, dict[Permission, FilterTree[int]]] = {}
        self._patterns: list[str] = []

    def add(self, at: int, rule: Rule) -> None:
        """Take in a rule."""
        if isinstance(rule.user, str) and EVERYBODY in rule.user and _key(rule.user) not in self._of:
            self._patterns.append(rule.user)
        trees = self._of.setdefault(_key(rule.user), {one: FilterTree() for one in Permission})
        for permission in rule.permissions:
            for topic_filter in rule.topics:
                trees[permission].insert(topic_filter, at)

    def hiding(self, rule: Rule, topic_filter: str) -> int | None:
        """Return a rule that decides before this one, whatever comes on a filter of it; None if none does."""
        about = [self._of.get(key, {}) for key in {_key(EVERYBODY), _key(rule.user)}]
        if isinstance(rule.user, str) and EVERYBODY not in rule.user:
            about += [self._of[_key(one)] for one in self._patterns if matches_user(one, rule.user)]
        last = None
        for permission in rule.permissions:
            found = [
                at
                for trees in about
                if permission in trees
                for at in trees[permission].covering(topic_filter)
            ]
            if not found:
                return None
            last = max(min(found), last or 0)
        return last


def _key(user: str | ClaimCondition) -> object:
    # True is 1, as keys of a dict.
    return user if isinstance(user, str) else (user, type(user.equals))


def _foreign_trees(rules: Sequence[Rule], dollar_trees: Collection[str]) -> Iterator[tuple[str, str]]:
    for at, rule in enumerate(rules):
        for index, topic_filter in enumerate(rule.topics):
            tree = topic_filter.partition("/")[0]
            if tree.startswith("$") and tree not in dollar_trees:
                yield (
                    f"rules[{at}].topics[{index}]",
                    f"{tree[:64]} is no tree of the organization (dollar_trees): nobody gets there",
                )


def _servers(rules: Sequence[Rule]) -> Iterator[tuple[str, str]]:
    for at, rule in enumerate(rules):
        if rule.user == _SERVER:
            yield (
                f"rules[{at}].user",
                "no user has this name, and connections with a key are not cut by rules",
            )
