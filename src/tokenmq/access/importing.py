"""Policies of the two published CloudSignal forms, as documents of ours.

One names users and permissions, the other actions and bindings. Both only allow, so what
cannot be said here is left out, and reported: a document made by this allows nothing that
the one it was made of did not. What could forbid something, and is not known, refuses the
whole: without it the rest would allow more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from tokenmq.access.binding import check_template, is_claim_name
from tokenmq.access.checking import MAX_RULES, Finding, Severity
from tokenmq.access.permission import Permission
from tokenmq.access.rules import EVERYBODY, PolicyDocument, Rule
from tokenmq.errors import InvalidRequest, InvalidTopicFilter
from tokenmq.limits import MAX_USER_ID_BYTES
from tokenmq.topics.name import text_problem

_BOTH = (Permission.PUBLISH, Permission.SUBSCRIBE)
_PERMISSIONS = {
    "publish": (Permission.PUBLISH,),
    "subscribe": (Permission.SUBSCRIBE,),
    "both": _BOTH,
    "pubsub": _BOTH,
}
_ACTIONS = {"pub": (Permission.PUBLISH,), "sub": (Permission.SUBSCRIBE,), "pub+sub": _BOTH}
_VARIABLES = {"{username}": "{user_id}", "{client_id}": "{client_id}", "{org_short_id}": "{org}"}
_SELF = "{$self}"
_BINDING_VERSIONS = ("2", "2.1")
# Of what each form says about itself.
_USER_FORM = frozenset({"version", "default", "rules"})
_BINDING_FORM = frozenset({"version", "default", "global", "rules", "publishers"})
_UNBOUNDED = 1 << 30


class Imported(NamedTuple):
    """What became of a document.

    Attributes:
        document: allows nothing that the other did not.
        report: what could not be carried over, by its place there.
    """

    document: PolicyDocument
    report: tuple[Finding, ...]


class _LeftOut(Exception):
    """A rule that cannot be carried over, and why."""


def import_policy(tree: object, *, sql_patterns: bool = False) -> Imported:
    """Make a document of one of the published forms.

    Args:
        tree: as JSON was read.
        sql_patterns: `%` in users is any characters and `*` a plain one, `%u` in topics is
            the user, as in the first version of that form.

    Raises: InvalidRequest: neither form, or something that may forbid and is not known.
    """
    if not isinstance(tree, Mapping) or not isinstance(tree.get("rules", []), list):
        raise InvalidRequest(("", "is no policy of a form that is known: wanted an object with rules"))
    by_binding = tree.get("version") in _BINDING_VERSIONS or "global" in tree or "publishers" in tree
    _refuse_unknown(tree, _BINDING_FORM if by_binding else _USER_FORM, by_binding=by_binding)
    rules: list[Rule] = []
    report = list(_notes(tree))
    for path, entry, convert in _entries(tree, by_binding=by_binding, sql_patterns=sql_patterns):
        try:
            rules.append(convert(entry))
        except _LeftOut as reason:
            report.append(_note(path, f"left out: {reason}"))
    if len(rules) > MAX_RULES:
        raise InvalidRequest(("rules", f"has {len(rules)} rules, at most {MAX_RULES} are possible"))
    return Imported(PolicyDocument("1", "deny", tuple(rules)), tuple(report))


def _entries(
    tree: Mapping[str, Any], *, by_binding: bool, sql_patterns: bool
) -> Iterator[tuple[str, Any, Any]]:
    """Yield each rule with its path and what converts it."""
    if not by_binding:
        of_user = _of_users_by_sql if sql_patterns else _of_users
        for at, entry in enumerate(tree.get("rules", [])):
            yield f"rules[{at}]", entry, of_user
        return
    by_claim = partial(_by_binding, knows_self=tree.get("version") == "2.1")
    for field, convert in (("global", _for_everybody), ("rules", by_claim), ("publishers", _publisher)):
        entries = tree.get(field, [])
        if not isinstance(entries, list):
            raise InvalidRequest((field, "must be a list"))
        for at, entry in enumerate(entries):
            yield f"{field}[{at}]", entry, convert


def _refuse_unknown(tree: Mapping[str, Any], known: frozenset[str], *, by_binding: bool) -> None:
    """Refuse what may forbid something in a way that is not known.

    Raises: InvalidRequest.
    """
    version = tree.get("version")
    if version is not None and version not in (*_BINDING_VERSIONS, *(() if by_binding else ("1",))):
        raise InvalidRequest(("version", f"{version!r:.20} is none that is known"))
    for name, value in tree.items():
        if name not in known and isinstance(value, Mapping | list) and value:
            raise InvalidRequest((str(name)[:64], "is not known, and could forbid something"))
        for at, entry in enumerate(value if isinstance(value, list) else ()):
            if _may_deny(entry):
                raise InvalidRequest(
                    (f"{name}[{at}]", "denies something: without it the rest would allow more")
                )


def _may_deny(entry: object) -> bool:
    if not isinstance(entry, Mapping):
        return False
    return any("deny" in str(name).lower() for name in entry) or any(
        isinstance(value, str) and value.lower() in ("deny", "block", "forbid", "reject")
        for value in entry.values()
    )


def _notes(tree: Mapping[str, Any]) -> Iterator[Finding]:
    yield _note("", "presence and history are given to nobody: that form has no words for them")
    if tree.get("default", "deny") != "deny":
        yield _note("default", "is deny here: what no rule allows is refused")
    if not any(tree.get(name) for name in ("global", "rules", "publishers")):
        yield _note("rules", "there are none: nobody may do anything")
    for name in tree.keys() - _BINDING_FORM:
        yield _note(str(name)[:64], "left out: it is not known")


def _of_users(entry: object) -> Rule:
    user, topic, permissions = _user_rule(entry)
    if "%" in user:
        raise _LeftOut("% may be a wildcard there (sql_patterns), or a plain character")
    if "%u" in topic:
        raise _LeftOut("%u may be the user there (sql_patterns)")
    return Rule(user, permissions, (_with_variables(topic),))


def _of_users_by_sql(entry: object) -> Rule:
    user, topic, permissions = _user_rule(entry)
    if EVERYBODY in user:
        raise _LeftOut("* is a plain character there, and would be a wildcard here")
    topic = topic.replace("%u", "{username}")
    if "%" in topic:
        raise _LeftOut("its topic has a variable that is not %u")
    return Rule(user.replace("%", EVERYBODY), permissions, (_with_variables(topic),))


def _user_rule(entry: object) -> tuple[str, str, tuple[Permission, ...]]:
    values = _texts(entry, ("user", "topic", "permission"))
    user, topic, permission = values
    if problem := text_problem(user, max_bytes=MAX_USER_ID_BYTES, max_levels=_UNBOUNDED):
        raise _LeftOut(f"its user {problem}")
    if permission not in _PERMISSIONS:
        raise _LeftOut(f"its permission is none of {', '.join(_PERMISSIONS)}")
    return user, topic, _PERMISSIONS[permission]


def _with_variables(topic: str) -> str:
    rest = topic
    for theirs, ours in _VARIABLES.items():
        topic, rest = topic.replace(theirs, ours), rest.replace(theirs, "")
    if "{" in rest or "}" in rest:
        raise _LeftOut(f"its topic has a variable that is none of {', '.join(_VARIABLES)}")
    return _checked(topic)


def _for_everybody(entry: object) -> Rule:
    topic, action = _texts(entry, ("topic", "action"))
    if "{" in topic or "}" in topic:
        raise _LeftOut("it has a variable and no binding")
    return Rule(EVERYBODY, _action(action), (_checked(topic),))


def _by_binding(entry: object, *, knows_self: bool) -> Rule:
    topic, action, binding = _texts(entry, ("topic", "action", "binding"), optional="require_grant")
    if binding == "channel" or (
        isinstance(entry, Mapping) and entry.get("require_grant", False) is not False
    ):
        raise _LeftOut("channels that are granted user by user are not known here")
    if not is_claim_name(binding):
        raise _LeftOut("its binding is no name of a claim that can stand in a topic")
    variable = f"{{{binding}}}"
    if knows_self:
        topic = topic.replace(_SELF, variable)
    rest = topic.replace(variable, "")
    if variable not in topic or "{" in rest or "}" in rest:
        raise _LeftOut("its topic must have the variable of its binding, and no other")
    return Rule(EVERYBODY, _action(action), (_checked(topic.replace(variable, f"{{claim:{binding}}}")),))


def _publisher(_entry: object) -> Rule:
    raise _LeftOut("what publishers may do is not published; write a rule for each")


def _action(action: str) -> tuple[Permission, ...]:
    if action not in _ACTIONS:
        raise _LeftOut(f"its action is none of {', '.join(_ACTIONS)}")
    return _ACTIONS[action]


def _texts(entry: object, names: tuple[str, ...], *, optional: str | None = None) -> tuple[str, ...]:
    """Return the texts of these names; there may be nothing else that could make the rule narrower."""
    if not isinstance(entry, Mapping):
        raise _LeftOut("it is no object")
    unknown = entry.keys() - {*names, optional}
    if unknown:
        raise _LeftOut(f"it has {min(map(str, unknown))[:64]}, which is not known")
    values = tuple(entry.get(name) for name in names)
    for name, value in zip(names, values, strict=True):
        if not isinstance(value, str):
            raise _LeftOut(f"its {name} is missing, or no text")
    return tuple(str(value) for value in values)


def _checked(topic: str) -> str:
    """Return a filter that is good here."""
    try:
        check_template(topic)
    except InvalidTopicFilter as error:
        raise _LeftOut(f"its topic: {error.reason}") from None
    return topic


def _note(path: str, message: str) -> Finding:
    return Finding(path, Severity.WARNING, message)
