"""Replays: recorded messages, oldest first, to those who subscribe and ask for them.

Theory of operation. A SUBSCRIBE that asks for history is answered at once, and its
subscription is in force from then on. What comes for the session from that moment waits behind
a barrier in its queue, and in its backlog. A `Reading` is what is to go out before that: first,
as everything before the barrier has gone out, it is read which messages there are, the newest
first, up to the *seam*: the newest id that had been routed when the subscription came
into force. Ids are given in the order of routing, so what is up to the seam did not
come live, and what is beyond it does. Then the messages are read, page by page as the session
drains, and sent outside its queue, within its window. At last the barrier is taken away.

A subscription that replaces one with history takes over what that held up, with its barrier and
its seam. Had that one sent everything, the seam is what had been routed when the SUBSCRIBE came:
the one before has brought the rest live. What is sent at QoS 2 and outlives the connection is
kept before it goes out.

Everything is judged twice, as heads and as messages: by the rights to subscribe and to
read, the rules of now, and its expiry. The store is asked by the owner of the broker, after
all that was recorded so far is there (`Load`). A reading ends with its subscription, its
right, or its connection; an answer that comes later means nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

from tokenmq.broker import retaining, stamping
from tokenmq.broker.asking import Asked, split_history
from tokenmq.broker.effects import Heads, Load, Lost, Messages
from tokenmq.broker.message import Message
from tokenmq.broker.reading import Answer, Head, Reading, Unread
from tokenmq.broker.records import HistoryRecord
from tokenmq.topics.filter import matches

if TYPE_CHECKING:
    from tokenmq.broker.backlog import Backlog
    from tokenmq.broker.broker import Broker
    from tokenmq.broker.delivery import Delivery
    from tokenmq.broker.session import Session
    from tokenmq.broker.subscription import Subscription

# What is read and goes to one session before others have their turn.
_PAGE_MESSAGES = 100
_PAGE_BYTES = 256 * 1_024
# Heads that are read at a time, and that are looked at for one reading: who may not read most
# of what a filter matches gets what is among the newest of these.
_HEADS = 500
_MOST_HEADS = 20_000
# Of a turn of the broker, as for a retained message.
_MESSAGE_COST = 10


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
    """Take in what the store has answered."""
    reading, query = load.reading, load.query
    if isinstance(answer, Unread):
        broker.report("history_unread", org_id=query.org_id, reason=answer.reason)
    if reading.is_over:
        return
    reading.is_loading = False
    if isinstance(answer, Unread):
        reading.gap = True
        reading.heads.clear()
        reading.session.tenant.history.asking.pop(reading, None)
    elif isinstance(query, Lost):
        reading.gap = reading.gap or bool(answer)
    elif isinstance(query, Heads):
        _take_heads(broker, reading, cast("Sequence[Head]", answer), query)
    else:
        reading.page.extend(cast("Sequence[HistoryRecord]", answer))
        if len(reading.page) < len(query.ids):  # trimmed since their heads were read
            reading.gap = True
        _reserve(broker, reading)
    go_on(broker, reading.session)


# What there is


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
    _load_heads(broker, reading, reading.seam + 1)


def _load_heads(broker: Broker, reading: Reading, before: int) -> None:
    session, asked = reading.session, reading.asked
    query = Heads(
        org_id=session.tenant.org_id,
        topic_filter=reading.subscription.inner_filter,
        after=asked.after or 0,
        before=before,
        since=max(asked.since or 0.0, reading.oldest),
        limit=min(_HEADS, asked.limit + 1),
    )
    _load(broker, reading, query)


def _take_heads(broker: Broker, reading: Reading, heads: Sequence[Head], query: Heads) -> None:
    """Take what may be read of a page; read the next one, or begin to send.

    What is lost is asked behind the last one, so that what was trimmed meanwhile is told.
    """
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
    session, after = reading.session, reading.asked.after
    session.tenant.history.asking.pop(reading, None)
    reading.heads.reverse()
    if after and not reading.gap:
        topic_filter = reading.subscription.inner_filter
        _load(broker, reading, Lost(session.tenant.org_id, topic_filter, after, reading.oldest))


def _load(broker: Broker, reading: Reading, query: Heads | Lost | Messages) -> None:
    reading.is_loading = True
    broker.effects.append(Load(reading, query))


# What goes out


def _send_page(broker: Broker, reading: Reading) -> bool:
    """Send what may go now; return whether that was all."""
    session = reading.session
    while reading.page:
        if not _has_room(reading, reading.page[0]):
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


def _has_room(reading: Reading, record: HistoryRecord) -> bool:
    """Tell whether a message may go out now [MQTT-3.3.4-9]; what ends that has the session go on."""
    session = reading.session
    if not min(record.qos, reading.subscription.qos):
        return not session.outbox.paused
    if session.backlog is None:
        return not session.outbox.paused and len(session.inflight) < session.window
    return session.backlog.has_room(record.size)


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
            delivery = _delivery(broker, reading, session.backlog, Message.of(record), owned=True)
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
    message = Message.of(record)
    packet_id = session.free_packet_id() if qos else 0
    packet = message.encode(
        session.version,
        session.now,
        qos=qos,
        retain=record.retain and subscription.retain_as_published,
        identifiers=reading.identifiers,
        packet_id=packet_id,
        prefix=subscription.prefix,
        more=message.stamp,
    )
    if len(packet) > session.max_packet_bytes:  # [MQTT-3.1.2-25]
        session.count_too_large()
        return
    if reading.gap and session.version == 5:
        marked = stamping.marked(packet, qos, session.max_packet_bytes)
        reading.gap, packet = marked is packet, marked
    if qos:
        session.inflight.add(packet_id)
    session.append_publish(packet)


def _send_one_by_one(broker: Broker, reading: Reading, backlog: Backlog, record: HistoryRecord) -> None:
    if reading.gap:
        reading.session.mark_next(None, _any)
        reading.gap = False
    delivery = reading.reserved.pop(record.id, None)
    if delivery is None:
        delivery = _delivery(broker, reading, backlog, Message.of(record), owned=False)
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
    elif session.replays:  # those of others, which stood behind what was held up
        session.tenant.unfinished[session] = None


def _is_of(prefix: str, topic_filter: str, told: str) -> bool:
    """Tell whether a topic, as a session is told it, comes by a subscription."""
    before, topic = split_history(told)
    return before == prefix and matches(topic_filter, topic)


def _any(told: str) -> bool:  # noqa: ARG001
    return True
