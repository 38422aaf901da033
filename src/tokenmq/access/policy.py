"""The organization's policy: what its users may do at most, whatever their tokens say.

Theory of operation. A policy is a list of rules (`rules`). On a topic the first rule that
matches decides. For a filter, down the list: a deny that covers it refuses, the first allow
that covers it admits, the end refuses; a deny that only overlaps it is passed, because each
delivery is judged by itself, but refuses `presence`, which is not.

Every topic filter of every rule is a *line*; a line's code is its number in the list,
doubled, and odd where it allows. So the lowest code that is found decides, and its last bit
is the answer. Codes stand in trees (`topics.tree`), under one filter only the lowest, so a
decision costs what the topic's levels cost and not what the rules do.

Lines for everybody without variables are compiled once, here. The others are bound for who
asks (`own`), and only looked at where one of them comes before what was found.

A line whose variables are void gives nothing. One that denies then denies all that it could
have meant (`binding.bind_widest`): no value makes a deny weaker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tokenmq.access.binding import bind, bind_loosely, bind_widest
from tokenmq.access.layer import NO_LINES, NOTHING, Layer, is_allowed, rule_on_topic
from tokenmq.access.permission import Permission
from tokenmq.access.rules import (
    EVERYBODY,
    ClaimCondition,
    Effect,
    PolicyDocument,
    Rule,
    Subject,
    matches_user,
)
from tokenmq.topics.filter import covers, examples, intersection, matches

_NOTIFICATIONS = "$notifications"
_ALL = tuple(Permission)
_EVERYTHING = "#"
# What is quoted of a filter where a line is named, in characters.
_SHOWN = 200


class Line(NamedTuple):
    """One topic filter of one rule, in its place.

    Attributes:
        code: twice its number, and one more where it allows.
        rule: the number of its rule.
        permissions: those of its rule.
        topic_filter: as it is written.
    """

    code: int
    rule: int
    permissions: tuple[Permission, ...]
    topic_filter: str

    @property
    def allows(self) -> bool:
        """Whether it allows or denies."""
        return is_allowed(self.code)


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules that say what an organization's users may do at most.

    Attributes:
        rules: in their order.
        lines: the topic filters of all rules, by number.
        places: names of the lines for people, by number.
        shared: by permission, the lines for everybody without variables.
        depth: most levels that a filter of it has.

    It is a key of caches, so its hash is worked out once.
    """

    rules: tuple[Rule, ...]
    lines: tuple[Line, ...] = field(init=False, repr=False, compare=False)
    places: tuple[str, ...] = field(init=False, repr=False, compare=False)
    shared: dict[Permission, Layer] = field(init=False, repr=False, compare=False)
    depth: int = field(init=False, repr=False, compare=False)
    _plain: tuple[Line, ...] = field(init=False, repr=False, compare=False)
    _templates: tuple[Line, ...] = field(init=False, repr=False, compare=False)
    _of_user: dict[str, list[Line]] = field(init=False, repr=False, compare=False)
    _of_some: tuple[tuple[str | ClaimCondition, list[Line]], ...] = field(
        init=False, repr=False, compare=False
    )
    _first_own: dict[Permission, int] = field(init=False, repr=False, compare=False)
    _trees: frozenset[str] = field(init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        written = [(at, rule, text) for at, rule in enumerate(self.rules) for text in rule.topics]
        lines = tuple(
            Line(number * 2 + (rule.effect is Effect.ALLOW), at, rule.permissions, topic_filter)
            for number, (at, rule, topic_filter) in enumerate(written)
        )
        for name, value in {
            "lines": lines,
            "places": tuple(f"rules[{line.rule}] ({shown(line.topic_filter)})" for line in lines),
            "depth": max((line.topic_filter.count("/") + 1 for line in lines), default=0),
            "_trees": frozenset(
                line.topic_filter.partition("/")[0]
                for line in lines
                if line.allows and line.topic_filter.startswith("$")
            ),
            "_hash": hash(self.rules),
        }.items():
            object.__setattr__(self, name, value)
        self._sort_lines()

    def _sort_lines(self) -> None:
        """Put each line where those find it whom it is about."""
        plain: list[Line] = []
        templates: list[Line] = []
        of_user: dict[str, list[Line]] = {}
        of_some: dict[int, list[Line]] = {}
        for line in self.lines:
            user = self.rules[line.rule].user
            if user == EVERYBODY:
                (templates if "{" in line.topic_filter else plain).append(line)
            elif isinstance(user, str) and EVERYBODY not in user:
                of_user.setdefault(user, []).append(line)
            else:
                of_some.setdefault(line.rule, []).append(line)
        own = [*templates, *(line for lines in (*of_user.values(), *of_some.values()) for line in lines)]
        for name, value in {
            "shared": {
                one: Layer((line.code, line.topic_filter) for line in plain if one in line.permissions)
                for one in Permission
            },
            "_plain": tuple(plain),
            "_templates": tuple(templates),
            "_of_user": of_user,
            "_of_some": tuple((self.rules[at].user, lines) for at, lines in of_some.items()),
            "_first_own": {
                one: min((line.code for line in own if one in line.permissions), default=NOTHING)
                for one in Permission
            },
        }.items():
            object.__setattr__(self, name, value)

    def __hash__(self) -> int:
        return self._hash

    def own(self, permission: Permission, subject: Subject) -> Layer:
        """Bind the lines that are not the same for everybody for one who asks."""
        if self._first_own[permission] == NOTHING:
            return NO_LINES
        return Layer(self._bound(permission, subject))

    def rule_of(self, code: int) -> int:
        """Return the number of the rule that a line belongs to."""
        return self.lines[code >> 1].rule

    def place(self, code: int) -> str:
        """Name a line for people, as `rules[0] (chat/#)`."""
        return self.places[code >> 1]

    def admits(self, permission: Permission, topic: str, subject: Subject) -> bool:
        """Tell whether it lets somebody do something on a topic, whatever tokens they have.

        For one question about somebody: `own` is for many.
        """
        found = rule_on_topic(self.shared[permission], NO_LINES, topic)
        if self._first_own[permission] < found:
            for code, topic_filter in self._bound(permission, subject):
                if code < found and matches(topic_filter, topic):
                    found = code
        return is_allowed(found)

    def leaves(self, permission: Permission, topic_filter: str, subject: Subject | None) -> bool:
        """Tell whether it lets somebody do something on any topic of a filter.

        A client id that is not known yet may be any.

        Args:
            permission: what is to be done.
            topic_filter: bound.
            subject: None: whoever it is; False then also where that depends on who it is.
        """
        shared = self.shared[permission]
        if subject is None:
            own = NO_LINES
            if any(not line.allows and permission in line.permissions for line in self._own_lines(None)):
                return False
        else:
            own = Layer(self._bound(permission, subject, loosely=True))
        is_cut = shared.has_denies or own.has_denies
        for code in (*shared.tree.overlapping(topic_filter), *own.tree.overlapping(topic_filter)):
            if not is_allowed(code):
                continue
            if not is_cut:
                return True
            written = self.lines[code >> 1].topic_filter
            bound = written if subject is None else bind_loosely(written, subject.values)
            part = None if bound is None else intersection(bound, topic_filter)
            if part is not None and any(
                is_allowed(rule_on_topic(shared, own, topic)) for topic in examples(part, depth=self.depth)
            ):
                return True
        return False

    def given_to(self, subject: Subject) -> Iterator[tuple[Permission, str]]:
        """Yield what its rules allow somebody, as it is written; what is void is left out."""
        values = subject.values
        for line in sorted((*self._plain, *self._own_lines(subject))):
            if line.allows and bind_loosely(line.topic_filter, values) is not None:
                for permission in line.permissions:
                    yield permission, line.topic_filter

    def _own_lines(self, subject: Subject | None) -> Iterator[Line]:
        """Yield the lines that are not the same for everybody, of one who asks; None: all of them."""
        yield from self._templates
        if subject is None:
            for lines in self._of_user.values():
                yield from lines
        else:
            yield from self._of_user.get(subject.user_id, ())
        for user, lines in self._of_some:
            if subject is None or _is_about(user, subject):
                yield from lines

    def _bound(
        self, permission: Permission, subject: Subject, *, loosely: bool = False
    ) -> Iterator[tuple[int, str]]:
        """Yield code and bound filter of the lines of one who asks.

        Args:
            permission: of these only.
            subject: whose values are put in.
            loosely: a client id that is not known may be any, for those that allow, and
                none, for those that deny.
        """
        values = subject.values
        for line in self._own_lines(subject):
            if permission not in line.permissions:
                continue
            if line.allows:
                bound = (
                    bind_loosely(line.topic_filter, values) if loosely else bind(line.topic_filter, values)
                )
                if bound is not None:
                    yield line.code, bound
            elif not loosely or "client_id" in values or "{client_id}" not in line.topic_filter:
                for denied in self._denied(line.topic_filter, values):
                    yield line.code, denied

    def _denied(self, topic_filter: str, values: Mapping[str, str]) -> Iterator[str]:
        """Yield what a filter denies to one of whom variables have these values."""
        widest = bind_widest(topic_filter, values)
        yield widest
        if "{" in topic_filter and covers(widest, _EVERYTHING):
            # No wildcard reaches them, and a value could have named one.
            yield from (f"{tree}/#" for tree in self._trees)


def shown(text: str) -> str:
    """Quote a text in a reason: reasons go into packets and logs."""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def starting_document(dollar_trees: Sequence[str]) -> PolicyDocument:
    """Return the policy of an organization that has not written its own.

    Everybody may do everything on all topics that do not begin with `$` and in each
    configured `$` tree. In `$notifications` one may only listen: to one's own part and
    to the channels.

    Args:
        dollar_trees: the configured trees by their first level, as in "$spaces".
    """
    trees = [tree for tree in dollar_trees if tree != _NOTIFICATIONS]
    rules = [Rule(EVERYBODY, _ALL, (_EVERYTHING, *(f"{tree}/#" for tree in trees)))]
    if _NOTIFICATIONS in dollar_trees:
        own, channels = f"{_NOTIFICATIONS}/{{user_id}}/#", f"{_NOTIFICATIONS}/channels/#"
        rules.append(Rule(EVERYBODY, (Permission.SUBSCRIBE,), (own, channels)))
    return PolicyDocument("1", "deny", tuple(rules))


def starting_policy(dollar_trees: Sequence[str]) -> Policy:
    """Return the starting document, compiled."""
    return Policy(starting_document(dollar_trees).rules)


def _is_about(user: str | ClaimCondition, subject: Subject) -> bool:
    if isinstance(user, str):
        return matches_user(user, subject.user_id)
    return user.holds(subject.attrs)


STARTING_POLICY = starting_policy((_NOTIFICATIONS, "$spaces"))
