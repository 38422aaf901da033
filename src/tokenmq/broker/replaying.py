"""Replays: recorded messages, oldest first, to those who subscribe and ask for them.

Theory of operation. A SUBSCRIBE that asks for history is answered at once, and its
subscription is in force from then on. What comes for the session from that moment waits behind
a barrier in its queue, and in its backlog. A `Reading` is what is to go out before that: first,
as everything before the barrier has gone out, it is read which messages there are, the newest
first, up to the *seam*: the newest id that had been routed when the subscription came
into force. Ids are given in the order of routing, so what is up to the seam did not
come live, and what is beyond it does. Then the messages are read, page by page as the session
drains, and sent outside its queue, within its window. At last the barrier is taken away.

Everything is judged twice, as heads and as messages: by the rights to subscribe and to
read, the rules of now, and its expiry. The store is asked by the owner of the broker, after
all that was recorded so far is there (`Load`). A reading ends with its subscription, its
right, or its connection; an answer that comes later means nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from tokenmq.access.permission import Permission
from tokenmq.broker import retaining, stamping
from tokenmq.broker.asking import Asked, split_history
from tokenmq.broker.barrier import Barrier
from tokenmq.broker.effects import Heads, Load, Lost, Messages
from tokenmq.broker.message import Message
from tokenmq.broker.records import HistoryRecord
from tokenmq.topics.filter import matches

if TYPE_CHECKING:
    from tokenmq.access.decide import Scope
    from tokenmq.access.recording import HistoryRule
    from tokenmq.broker.backlog import Backlog
    from tokenmq.broker.broker import Broker
    from tokenmq.broker.delivery import Delivery
    from tokenmq.broker.session import Session
    from tokenmq.broker.subscription import Subscription
    from tokenmq.broker.tenant import TenantRules

# What is read and goes to one session before others have their turn.
_PAGE_MESSAGES = 100
_PAGE_BYTES = 256 * 1_024
# Heads that are read at a time, and that are looked at for one reading: who may not read most
# of what a filter matches gets what is among the newest of these.
_HEADS = 500
_MOST_HEADS = 20_000
# Of a turn of the broker, as for a retained message.
_MESSAGE_COST = 10


class Head(Protocol):
    """What is known of a recorded message before it is read."""

    @property
    def id(self) -> int: ...  # noqa: D102
    @property
    def topic(self) -> str: ...  # noqa: D102
    @property
    def at(self) -> float: ...  # noqa: D102
    @property
    def expires_at(self) -> float | None: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102


Answer: TypeAlias = Sequence[Head] | Sequence[HistoryRecord] | bool | None


class Reading:
    """What one subscription is still to get of the history.

    Attributes:
        asked: what its SUBSCRIBE asked for.
        seam: ids up to this one are its affair.
        left_out: those among them that reach the session another way.
        retains: retained messages are to follow.
        barrier: what holds up the live messages.
        heads: what is to be sent: the newest first while it is read, then the oldest.
        page: messages that are to be sent next.
        replayed: the ids of what was sent.
        reserved: deliveries of a page that are kept before it is sent, by id.
        gap: something is missing before the next message, and that was not said yet.
        missing: the first and the last id that the store should have and has not; None: all are
            there, or that was said. Every message in between says so, and the next one.
        is_begun: the store was asked.
        is_loading: it has not answered.
        is_over: nothing is to be sent any more.
        looked_at: heads so far.
    """

    __slots__ = (
        "_known",
        "_rules",
        "_scope",
        "asked",
        "barrier",
        "gap",
        "heads",
        "is_begun",
        "is_loading",
        "is_over",
        "left_out",
        "looked_at",
        "missing",
        "page",
        "replayed",
        "reserved",
        "retains",
        "seam",
        "subscription",
    )

    def __init__(self, subscription: Subscription, asked: Asked, seam: int, *, retains: bool) -> None:
        self.subscription = subscription
        self.asked = asked
        self.seam = seam
        self.left_out = _left_out(subscription, seam)
        self.retains = retains
        self.barrier = Barrier()
        self.heads: deque[Head] = deque()
        self.page: deque[HistoryRecord] = deque()
        self.replayed: set[int] = set()
        self.reserved: dict[int, Delivery] = {}
        self.gap = False
        self.is_begun = self.is_loading = self.is_over = False
        self.looked_at = 0
        self.missing: tuple[int, int] | None = None
        self._known: dict[str, HistoryRule | None] = {}
        self._scope: Scope | None = None
        self._rules: TenantRules | None = None

    @property
    def session(self) -> Session:
        """Whose it is."""
        return self.subscription.session

    @property
    def identifiers(self) -> tuple[int, ...]:
        """What its subscription is called, for those who are told."""
        identifier = self.subscription.identifier
        return (identifier,) if identifier and self.session.version == 5 else ()

    def end(self) -> None:
        """Send nothing any more."""
        self._stop()
        for delivery in self.reserved.values():
            delivery.backlog.forget(delivery)
        self.reserved = {}

    def leave(self) -> None:
        """Send nothing over a connection that is gone; what is kept goes out over the next one."""
        self._stop()
        if not self.is_loading:
            for delivery in self.reserved.values():
                delivery.pending = False

    def _stop(self) -> None:
        self.is_over = True
        self.session.tenant.history.asking.pop(self, None)

    def lack(self, topic: str, first: int, last: int) -> None:
        """Take note of records that the store did not take: a topic's, from one id to another."""
        if first > self.seam or last <= (self.asked.after or 0):
            return
        if matches(self.subscription.inner_filter, topic):
            known = self.missing or (first, last)
            self.missing = min(first, known[0]), max(min(last, self.seam), known[1])

    def may_have(self, one: Head | HistoryRecord) -> bool:
        """Tell whether its session may have a message, as things stand."""
        session = self.session
        scope, rules = session.scope, session.tenant.rules
        if scope is not self._scope or rules is not self._rules:
            self._scope, self._rules = scope, rules
            self._known = {}
        topic = one.topic
        if topic in self._known:
            rule = self._known[topic]
        else:
            may_read = (
                scope.on_topic(Permission.HISTORY, topic).allowed
                and scope.on_topic(Permission.SUBSCRIBE, topic).allowed
            )
            rule = self._known[topic] = rules.history.of_topic(topic) if may_read else None
        now = session.now
        if rule is None or now - one.at > rule.max_age:
            return False
        return one.expires_at is None or now < one.expires_at


def is_recorded(subscription: Subscription) -> bool:
    """Tell whether anything that a subscription matches may be recorded."""
    return subscription.session.tenant.rules.history.touches(subscription.inner_filter)


def seam_of(broker: Broker, session: Session) -> int:
    """Return the newest id of a session's organization that has been routed."""
    return max(session.tenant.history.newest, broker.recorder.ids.floor)


def begin(
    subscription: Subscription, asked: Asked, seam: int, former: Reading | None, *, retains: bool
) -> None:
    """Begin a replay for a subscription that came into force in this step; `go_on` sends it.

    Args:
        seam: what has a greater id comes live, or has come by the subscription that this one replaces.
        former: what the replaced one was still to get. What that held up is held up still.
        retains: retained messages are to follow.
    """
    session = subscription.session
    if former is not None:
        former.end()
    reading = Reading(subscription, asked, seam, retains=retains)
    if former is not None and session.readings is not None:
        reading.barrier = former.barrier
        session.readings = [reading if one is former else one for one in session.readings]
        return
    session.readings = [*(session.readings or ()), reading]
    session.hold_up(reading.barrier)


def of(session: Session, subscription: Subscription) -> Reading | None:
    """Return what a subscription is still to get."""
    return next((one for one in session.readings or () if one.subscription is subscription), None)


def stop(session: Session, reading: Reading, *, flows: bool = True) -> None:
    """End a replay before its time.

    Args:
        flows: what it held up may go out in this step; else `go_on` sends it.
    """
    reading.end()
    if session.readings is not None:
        session.readings = [one for one in session.readings if one is not reading] or None
    session.let_through(reading.barrier, flows=flows)
    session.tenant.unfinished[session] = None


def stop_of(session: Session, subscription: Subscription) -> None:
    """End what is being replayed for a subscription that goes."""
    reading = of(session, subscription)
    if reading is not None:
        stop(session, reading)
    session.unmark(subscription)


def go_on(broker: Broker, session: Session) -> None:
    """Send a page of what a session is to get of the history; the next one when it has room."""
    while session.readings:
        reading = session.readings[0]
        if reading.is_loading:
            return
        if not session.stands_at(reading.barrier):
            return
        if not reading.is_begun:
            _ask(broker, reading)
        elif _send_page(broker, reading):
            _end(broker, reading)
        else:
            return
    session.flow()


def loaded(broker: Broker, load: Load, answer: Answer) -> None:
    """Take in what the store has answered; None: it could not."""
    reading, query = load.reading, load.query
    if reading.is_over:
        return
    reading.is_loading = False
    if answer is None:
        broker.report("history_unread", org_id=reading.session.tenant.org_id)
        reading.gap = True
        reading.heads.clear()
        reading.session.tenant.history.asking.pop(reading, None)
    elif isinstance(query, Lost):
        reading.gap = reading.gap or bool(answer)
        _load_heads(broker, reading, reading.seam + 1)
    elif isinstance(query, Heads):
        _take_heads(broker, reading, cast("Sequence[Head]", answer), query)
    else:
        reading.page.extend(cast("Sequence[HistoryRecord]", answer))
        if len(reading.page) < len(query.ids):  # trimmed since their heads were read
            reading.gap = True
        _reserve(broker, reading)
    go_on(broker, reading.session)


# What there is


def _left_out(subscription: Subscription, seam: int) -> set[int]:
    """Return ids up to the seam that reach the session another way.

    They are those of messages that come through late, under other ids, and of what waits for
    the session, or was not acknowledged, since the same subscription was in force before.
    """
    session, prefix = subscription.session, subscription.prefix
    found: set[int] = set()
    for number in session.tenant.history.pending:
        if number > seam:
            break
        found.add(number)
    if session.backlog is not None:
        for delivery in session.backlog.deliveries.values():
            if delivery.message is not None and delivery.prefix == prefix and (prefix or delivery.stamped):
                found.add(delivery.message.history_id)
    return found


def _ask(broker: Broker, reading: Reading) -> None:
    """Ask what there is, if there can be anything."""
    reading.is_begun = True
    asked, tenant = reading.asked, reading.session.tenant
    if asked.after:
        reading.missing = (asked.after, tenant.history.lost) if asked.after < tenant.history.lost else None
    if not is_recorded(reading.subscription):
        reading.gap = bool(asked.after)
        return
    if not asked.limit:
        return
    broker.recorder.flush()
    tenant.history.asking[reading] = None
    if asked.after:
        query = Lost(tenant.org_id, reading.subscription.inner_filter, asked.after)
        _load(broker, reading, query)
    else:
        _load_heads(broker, reading, reading.seam + 1)


def _load_heads(broker: Broker, reading: Reading, before: int) -> None:
    session, asked = reading.session, reading.asked
    longest = max((rule.max_age for rule in session.tenant.rules.history.rules), default=0)
    query = Heads(
        org_id=session.tenant.org_id,
        topic_filter=reading.subscription.inner_filter,
        after=asked.after or 0,
        before=before,
        since=max(asked.since or 0.0, session.now - longest),
        limit=min(_HEADS, asked.limit + 1),
    )
    _load(broker, reading, query)


def _take_heads(broker: Broker, reading: Reading, heads: Sequence[Head], query: Heads) -> None:
    """Take what may be read of a page; read the next one, or begin to send."""
    reading.looked_at += len(heads)
    most = reading.asked.limit
    for head in heads:
        if head.id not in reading.left_out and reading.may_have(head):
            if len(reading.heads) == most:
                reading.gap = reading.gap or reading.asked.wants_all
                break
            reading.heads.append(head)
    else:
        if len(heads) == query.limit:
            if reading.looked_at < _MOST_HEADS:
                _load_heads(broker, reading, heads[-1].id)
                return
            reading.gap = True
    reading.session.tenant.history.asking.pop(reading, None)
    reading.heads.reverse()


def _load(broker: Broker, reading: Reading, query: Heads | Lost | Messages) -> None:
    reading.is_loading = True
    broker.effects.append(Load(reading, query))


# What goes out


def _send_page(broker: Broker, reading: Reading) -> bool:
    """Send what may go now; return whether that was all."""
    session, granted = reading.session, reading.subscription.qos
    while reading.page:
        if session.outbox.paused or (
            min(reading.page[0].qos, granted) and len(session.inflight) >= session.window
        ):
            return False
        if broker.turn <= 0:
            session.tenant.unfinished[session] = None
            return False
        broker.turn -= _MESSAGE_COST
        record = reading.page.popleft()
        if reading.may_have(record):
            _send(broker, reading, record)
        else:
            session.count_withheld()
            if (delivery := reading.reserved.pop(record.id, None)) is not None:
                delivery.backlog.forget(delivery)
    if not reading.heads:
        return True
    ids: list[int] = []
    size = 0
    while reading.heads and len(ids) < _PAGE_MESSAGES and size < _PAGE_BYTES:
        head = reading.heads.popleft()
        ids.append(head.id)
        size += head.size
    _load(broker, reading, Messages(session.tenant.org_id, tuple(ids)))
    return False


def _reserve(broker: Broker, reading: Reading) -> None:
    """Have kept what of a page may not go out before: what comes at QoS 2, and outlives the connection.

    The peer remembers its packet identifier. If we did not after a restart, the next message
    under that would be taken for this one.
    """
    session = reading.session
    if session.backlog is None or not session.number:
        return
    for record in reading.page:
        if min(record.qos, reading.subscription.qos) == 2 and reading.may_have(record):
            delivery = _delivery(broker, reading, session.backlog, _message_of(record), owned=True)
            if delivery is not None:
                reading.reserved[record.id] = delivery
    if reading.reserved:
        reading.is_loading = True
        broker.keeping.when_kept(partial(_kept, broker, reading, tuple(reading.reserved.values())))


def _kept(broker: Broker, reading: Reading, reserved: tuple[Delivery, ...], *, kept: bool) -> None:
    """Send a page, or what of it can be."""
    session = reading.session
    if not kept:
        reading.gap = True
        reading.page = deque(record for record in reading.page if record.id not in reading.reserved)
        reading.reserved = {}
    for delivery in reserved:
        if not delivery.stands or delivery.message is None:
            continue
        if not kept:
            delivery.message.number = 0
            delivery.backlog.forget(delivery, stored=False)
            session.note_lost(1)
        elif reading.is_over:  # its connection is gone
            delivery.backlog.add(delivery)
    if not reading.is_over:
        reading.is_loading = False
        go_on(broker, session)


def _message_of(record: HistoryRecord) -> Message:
    message = Message(
        record.topic,
        record.payload,
        record.qos,
        0,
        record.forward,
        retain=record.retain,
        expires_at=record.expires_at,
    )
    message.recorded = record
    return message


def _delivery(
    broker: Broker, reading: Reading, backlog: Backlog, message: Message, *, owned: bool
) -> Delivery | None:
    """Make it one of those that a session gets one by one: it is sent until it is acknowledged."""
    session, subscription = reading.session, reading.subscription
    delivery = backlog.reserve(
        message,
        broker.next_position(),
        qos=min(message.qos, subscription.qos),
        retain=message.retain and subscription.retain_as_published,
        identifiers=reading.identifiers,
        prefix=subscription.prefix,
        stamped=True,
    )
    if delivery is None:
        session.note_lost(1)
    elif session.number:
        broker.keep_message(session.tenant, message, owned=owned)
        backlog.keep(delivery, owned=owned)
    return delivery


def _send(broker: Broker, reading: Reading, record: HistoryRecord) -> None:
    session, subscription = reading.session, reading.subscription
    reading.replayed.add(record.id)
    if reading.missing is not None and reading.missing[0] < record.id:
        reading.gap = True
        if reading.missing[1] < record.id:
            reading.missing = None
    qos = min(record.qos, subscription.qos)
    broker.counters.delivered += 1
    broker.counters.replayed += 1
    if qos and session.backlog is not None:
        _send_one_by_one(broker, reading, session.backlog, record)
        return
    message = _message_of(record)
    packet_id = session.free_packet_id() if qos else 0
    packet = message.encode(
        session.version,
        session.now,
        qos=qos,
        retain=record.retain and subscription.retain_as_published,
        identifiers=reading.identifiers,
        packet_id=packet_id,
        prefix=subscription.prefix,
        more=message.stamp + stamping.GAP if reading.gap else message.stamp,
    )
    if len(packet) > session.max_packet_bytes:  # [MQTT-3.1.2-25]
        session.count_too_large()
        return
    reading.gap = False
    if qos:
        session.inflight.add(packet_id)
    session.append_publish(packet)


def _send_one_by_one(broker: Broker, reading: Reading, backlog: Backlog, record: HistoryRecord) -> None:
    if reading.gap:
        reading.session.mark_next(None, _any)
        reading.gap = False
    delivery = reading.reserved.pop(record.id, None)
    if delivery is None:
        delivery = _delivery(broker, reading, backlog, _message_of(record), owned=False)
    if delivery is not None:
        backlog.send(delivery)


def _end(broker: Broker, reading: Reading) -> None:
    """Let what came live go out behind what was replayed, and what is retained."""
    session, subscription = reading.session, reading.subscription
    reading.is_over = True
    if session.readings is not None:
        session.readings = session.readings[1:] or None
    if reading.gap or reading.missing:
        is_of = partial(_is_of, subscription.prefix, subscription.inner_filter)
        if not session.mark_queued(is_of):
            session.mark_next(subscription, is_of)
    session.let_through(reading.barrier)
    if reading.retains:
        retaining.begin(broker, subscription, seam=reading.seam, replayed=reading.replayed)


def _is_of(prefix: str, topic_filter: str, told: str) -> bool:
    """Tell whether a topic, as a session is told it, comes by a subscription."""
    before, topic = split_history(told)
    return before == prefix and matches(topic_filter, topic)


def _any(told: str) -> bool:  # noqa: ARG001
    return True
