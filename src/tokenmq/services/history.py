"""The history over HTTP: what is recorded, read page by page, erased.

Theory of operation. A page is put together from a few bounded looks into the store. Each
message that was found is judged by what holds at that moment: the rules (it must be under
one, and not too old), its own expiry, and for a user the rights, topic by topic. Where
little of what is found may be read, a page is short, or empty with a cursor; no call looks
at more than LOOKS times what the store looks at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tokenmq.access.permission import Permission
from tokenmq.access.recording import HistoryRule, HistoryRules
from tokenmq.broker.records import HistoryRecord
from tokenmq.errors import Forbidden, InvalidRequest, InvalidTopic
from tokenmq.limits import MAX_USER_ID_BYTES
from tokenmq.services.auditing import NO_TRACE, USER, Action, AuditEntry, Trace, entry, of_key
from tokenmq.services.bearers import Bearer
from tokenmq.services.keys import authorise
from tokenmq.services.live import Door
from tokenmq.services.organizations import Organizations
from tokenmq.services.paging import check_limit, read_cursor, write_cursor
from tokenmq.services.sweeping import Sweeper
from tokenmq.services.texts import check_text
from tokenmq.stores.history import Erasure, HistoryHead, HistoryQuery, HistoryStore
from tokenmq.tokens.records import KeyRecord
from tokenmq.topics.filter import check_filter

MAX_RULES = 100
# A leap year: what is to be kept longer than that belongs in a database of its own.
MAX_AGE_SECONDS = 366 * 86_400
MAX_MESSAGES = 10_000
# Looks into the store of one call, and heads of one look.
LOOKS = 5
_HEADS = 500
# Payloads of one page; one message may be larger.
PAGE_BYTES = 4_194_304
_READ = "history:read"
_ERASE = "history:erase"
_POLICY = "policy"


@dataclass(frozen=True, slots=True)
class Reading:
    """What is to be read.

    Attributes:
        topic: a plain Topic Filter, perhaps a Topic Name.
        since, until: unix seconds, both included; None: whatever there is.
        after: only ids greater than this.
        order: the oldest first (`asc`) or the newest.
        limit, cursor: of the page.
    """

    topic: str
    since: float | None = None
    until: float | None = None
    after: int = 0
    order: Literal["asc", "desc"] = "desc"
    limit: int | None = None
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A page of recorded messages.

    Attributes:
        recorded: whether any rule touches the filter.
        messages: in the order asked for; perhaps none, even where there are more.
        next: the cursor of the next page; None: there is none.
    """

    recorded: bool
    messages: Sequence[HistoryRecord]
    next: str | None


class History:
    """The use cases of the history."""

    def __init__(
        self, store: HistoryStore, organizations: Organizations, door: Door, sweeper: Sweeper
    ) -> None:
        self._store = store
        self._organizations = organizations
        self._door = door
        self._sweeper = sweeper

    def rules(self, *, key: KeyRecord, org_id: str) -> HistoryRules:
        """Return what is recorded (scope `history:read`).

        Raises: Forbidden, NotFound.
        """
        authorise(key, _READ, org_id)
        return self._organizations.history_rules_of(org_id)

    async def put_rules(
        self,
        rules: Iterable[HistoryRule],
        *,
        key: KeyRecord,
        org_id: str,
        now: float,
        trace: Trace = NO_TRACE,
    ) -> HistoryRules:
        """Say what is recorded from now on (scope `policy`); what no rule holds of is dropped.

        Durable, and felt by the running broker, before it returns.

        Args:
            rules: in their order; none: nothing is recorded.
            key: needs the scope.
            org_id: from `Organizations.resolve`.
            now: unix seconds.
            trace: where the request came from.

        Raises: Forbidden, NotFound, InvalidRequest (names each place that is wrong), Unavailable.
        """
        authorise(key, _POLICY, org_id)
        given = tuple(rules)
        problems = [*_problems(given, self._organizations.settings_of(org_id).dollar_trees)]
        if problems:
            raise InvalidRequest(*problems)
        await self._organizations.set_history(org_id, HistoryRules(given), key=key, now=now, trace=trace)
        self._sweeper.wake()
        return self._organizations.history_rules_of(org_id)

    async def read(
        self, reading: Reading, *, reader: KeyRecord | Bearer, org_id: str, now: float
    ) -> HistoryPage:
        """Return a page of recorded messages.

        What was acknowledged before the call is in it.

        Args:
            reading: what is asked for.
            reader: a key with the scope `history:read`, or a user with `history` on the filter.
            org_id: from `Organizations.resolve`, or the user's.
            now: unix seconds.

        Raises: Forbidden (with the reason), NotFound, InvalidRequest (filter, limit, cursor),
            NotKept, Unavailable.
        """
        size = check_limit(reading.limit)
        _check_filter("topic", reading.topic)
        if isinstance(reader, Bearer):
            decision = reader.scope.on_filter(Permission.HISTORY, reading.topic)
            if not decision.allowed:
                raise Forbidden(decision.rule)
        else:
            authorise(reader, _READ, org_id)
        listing = _listing(reading, org_id)
        position = read_cursor(listing, reading.cursor)
        rules = self._organizations.history_rules_of(org_id)
        if not rules.touches(reading.topic):
            return HistoryPage(recorded=False, messages=(), next=None)
        await self._door.live.history_flushed(org_id)
        query = HistoryQuery(
            org_id,
            reading.topic,
            after=reading.after,
            since=reading.since,
            until=reading.until,
            ascending=reading.order == "asc",
            limit=_HEADS,
        )
        query = query if position is None else _from(query, position[0])
        judge = _Judge(rules, reader if isinstance(reader, Bearer) else None, now)
        heads, goes_on = await self._heads(query, size, judge)
        messages = await self._store.messages(org_id, [head.id for head in heads])
        cursor = None if goes_on is None else write_cursor(listing, (goes_on, ""))
        return HistoryPage(recorded=True, messages=messages, next=cursor)

    async def erase(
        self,
        *,
        topic: str | None,
        user_id: str | None,
        key: KeyRecord,
        org_id: str,
        now: float,
        trace: Trace = NO_TRACE,
    ) -> int:
        """Erase what was recorded of topics or of a user (scope `history:erase`); return how much.

        What waits to be recorded is erased too. It is gone, durably, before this returns.

        Raises: Forbidden, NotFound, InvalidRequest (not exactly one of both; filter, user),
            NotKept, Unavailable.
        """
        authorise(key, _ERASE, org_id)
        if (topic is None) is (user_id is None):
            raise InvalidRequest(("topic", "wanted exactly one of topic and user_id"))
        if topic is not None:
            _check_filter("topic", topic)
        else:
            check_text("user_id", user_id or "", max_bytes=MAX_USER_ID_BYTES)

        def noted(erased: int) -> Sequence[AuditEntry]:
            about = USER if topic is None else f"topic:{topic}"
            told = entry(
                Action.HISTORY_ERASED,
                about,
                actor=of_key(key),
                org_id=org_id,
                user_id=user_id,
                now=now,
                trace=trace,
                erased=erased,
            )
            return (told,)

        await self._door.live.history_flushed(org_id)
        return await self._store.erase(Erasure(org_id, topic, user_id), audit=noted)

    async def _heads(
        self, query: HistoryQuery, size: int, judge: _Judge
    ) -> tuple[list[HistoryHead], int | None]:
        """Return what may be read of the next messages, and the id to go on from."""
        heads: list[HistoryHead] = []
        room = PAGE_BYTES
        for _ in range(LOOKS):
            found = await self._store.scan(query)
            for head in found.heads:
                if not judge.admits(head):
                    continue
                if len(heads) == size or (heads and head.size > room):
                    return heads, heads[-1].id
                heads.append(head)
                room -= head.size
            if found.next is None:
                return heads, None
            query = _from(query, found.next)
        return heads, query.after if query.ascending else query.before


class _Judge:
    """Says of each message whether a reader may have it now."""

    def __init__(self, rules: HistoryRules, bearer: Bearer | None, now: float) -> None:
        self._rules = rules
        self._bearer = bearer
        self._now = now
        # By topic: how old a message may be; None: it may not be read at all.
        self._ages: dict[str, int | None] = {}

    def admits(self, head: HistoryHead) -> bool:
        """Tell whether a message may be read."""
        if head.topic not in self._ages:
            self._ages[head.topic] = self._age(head.topic)
        age = self._ages[head.topic]
        if age is None or head.at < self._now - age:
            return False
        return head.expires_at is None or head.expires_at > self._now

    def _age(self, topic: str) -> int | None:
        rule = self._rules.of_topic(topic)
        if rule is None:
            return None
        if self._bearer is not None and not self._bearer.scope.on_topic(Permission.HISTORY, topic).allowed:
            return None
        return rule.max_age


def _from(query: HistoryQuery, id_: int) -> HistoryQuery:
    """Return the query of what comes after an id, in its order."""
    if query.ascending:
        return replace(query, after=max(query.after, id_))
    return replace(query, before=id_)


def _listing(reading: Reading, org_id: str) -> tuple[str | None, ...]:
    times = (None if time is None else repr(time) for time in (reading.since, reading.until))
    return ("history", org_id, reading.topic, *times, str(reading.after), reading.order)


def _check_filter(field: str, topic_filter: str) -> None:
    problem = _filter_problem(topic_filter)
    if problem is not None:
        raise InvalidRequest((field, problem))


def _filter_problem(topic_filter: str) -> str | None:
    if topic_filter.partition("/")[0] == "$share":
        return "cannot be shared"
    try:
        check_filter(topic_filter)
    except InvalidTopic as error:
        return error.reason
    return None


def _problems(rules: Sequence[HistoryRule], trees: Sequence[str]) -> Iterable[tuple[str, str]]:
    if len(rules) > MAX_RULES:
        yield "rules", f"has more than {MAX_RULES} rules"
    known: set[str] = set()
    for index, rule in enumerate(rules):
        place = f"rules[{index}]"
        problem = _filter_problem(rule.topic)
        if problem is None and rule.topic.startswith("$") and rule.topic.partition("/")[0] not in trees:
            problem = "is in a $ tree that the organization does not have"
        if problem is None and rule.topic in known:
            problem = "is that of an earlier rule, which holds"
        if problem is not None:
            yield f"{place}.topic", problem
        known.add(rule.topic)
        if not 1 <= rule.max_age <= MAX_AGE_SECONDS:
            yield f"{place}.max_age", f"is {rule.max_age}, wanted 1 to {MAX_AGE_SECONDS} seconds"
        if not 1 <= rule.max_messages <= MAX_MESSAGES:
            yield f"{place}.max_messages", f"is {rule.max_messages}, wanted 1 to {MAX_MESSAGES}"
