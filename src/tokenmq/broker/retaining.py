"""What retained messages do: they are left on topics, and sent to those who subscribe.

Theory of operation. A message with the retain flag takes the place of the one before once
it is kept (`arriving`). Who subscribes gets those that match, page by page: a page goes out
at once, the next when the receiver has room for it, because what thousands of topics hold
must not be written in one go. So a topic's message is the one that stands there when its
turn comes, not the one of the moment of the SUBSCRIBE.

To find the topics that a filter matches may mean to look at all of them, and who subscribes
decides how often. So that is bounded for all together, too, before others have their turn.

The right to receive is asked for each topic; so is whether the publisher may still publish
there (SECURITY, ruling 11).
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from math import ceil
from typing import TYPE_CHECKING

from tokenmq.access.permission import Permission
from tokenmq.access.rules import Subject
from tokenmq.broker.records import RetainedRecord
from tokenmq.broker.retained import Retained

if TYPE_CHECKING:
    from tokenmq.broker.backlog import Backlog
    from tokenmq.broker.broker import Broker
    from tokenmq.broker.delivery import Delivery
    from tokenmq.broker.message import Message
    from tokenmq.broker.session import Session
    from tokenmq.broker.subscription import Subscription
    from tokenmq.broker.tenant import Tenant

# What goes to one session before others have their turn.
_PAGE_MESSAGES = 100
_PAGE_BYTES = 256 * 1_024


# What may be done for all sessions before other things have their turn: prefixes of topics that
# filters are held against, 10 to 30 ms of them. A message costs as much as some of these.
TURN = 20_000
_MESSAGE_COST = 10


class Replay:
    """The retained messages that a new subscription is still to get.

    Attributes:
        topics: those with a message that its filter matches, and None for what else is looked at.
        seam: what has a greater id in the history has come live; None: that is not asked.
        replayed: ids that have been sent already.
        waiting: messages that wait for the store.
    """

    __slots__ = ("replayed", "seam", "subscription", "topics", "waiting")

    def __init__(self, subscription: Subscription, seam: int | None, replayed: Collection[int]) -> None:
        self.subscription = subscription
        self.seam = seam
        self.replayed = replayed
        self.waiting = 0
        self.topics = subscription.session.tenant.retained.walk(subscription.inner_filter)


# Into the store and out of it


def record_of(broker: Broker, session: Session, message: Message) -> RetainedRecord | None:
    """Return what is kept of a message, None where it clears its topic [MQTT-3.3.1-6] [MQTT-3.3.1-7]."""
    if not message.payload:  # [MQTT311-3.3.1-10] [MQTT311-3.3.1-11]
        return None
    now = broker.moment.now
    longest = now + broker.settings.max_retained_seconds
    identity = session.identity
    return RetainedRecord(
        org_id=session.tenant.org_id,
        topic=message.topic,
        payload=message.payload,
        qos=message.qos,
        forward=message.forward,
        stored_at=now,
        expires_at=longest if message.expires_at is None else min(longest, message.expires_at),
        user_id=identity.user_id,
        token_id=identity.token_id,
        client_id=session.client_id,
        attrs=identity.attrs,
        history_id=message.history_id,
    )


def retain(broker: Broker, session: Session, message: Message) -> None:
    """Leave a message on its topic, or clear it [MQTT-3.3.1-5] [MQTT311-3.3.1-5] [MQTT311-3.3.1-7]."""
    tenant = session.tenant
    forget(broker, tenant, message.topic)
    record = record_of(broker, session, message)
    if record is not None:
        restore(broker, tenant, record)


def restore(broker: Broker, tenant: Tenant, record: RetainedRecord) -> None:
    """Leave a message on a topic that has none, as it is kept."""
    tenant.retained.set(Retained(record))
    broker.retained_ends.add(record.expires_at, (tenant.org_id, record.topic))


def forget(broker: Broker, tenant: Tenant, topic: str) -> None:
    """Clear a topic, in memory alone."""
    retained = tenant.retained.pop(topic)
    if retained is not None:
        broker.retained_ends.remove(ceil(retained.record.expires_at), (tenant.org_id, topic))


def keep_as_it_is(broker: Broker, tenant: Tenant, topic: str) -> None:
    """Have kept what the topic has, after something else was to be kept."""
    retained = tenant.retained.get(topic)
    if retained is None:
        broker.keeping.drop(RetainedRecord, (tenant.org_id, topic))
    else:
        broker.keeping.put(retained.record)
    tenant.retained.notes.restored(topic)


def expire(broker: Broker, org_id: str, topic: str) -> None:
    """Clear a topic whose message is over, in the store too [MQTT-3.3.2-5]."""
    tenant = broker.tenants.get(org_id)
    if tenant is not None:
        tenant.retained.pop(topic)
        keep_as_it_is(broker, tenant, topic)


def disown(broker: Broker, tenant: Tenant, token_id: str) -> None:
    """Clear what a revoked family has left; the store has dropped it with the revocation."""
    for topic in tenant.retained.topics_of(token_id):
        forget(broker, tenant, topic)


# To those who subscribe


def begin(
    broker: Broker, subscription: Subscription, *, seam: int | None = None, replayed: Collection[int] = ()
) -> None:
    """Begin to send what a new subscription matches [MQTT-3.3.1-9] [MQTT311-3.3.1-6].

    Args:
        seam: of one whose history was replayed: the id up to which that went.
        replayed: the ids that were sent.
    """
    session = subscription.session
    if not session.connected or not len(session.tenant.retained):
        return
    if session.replays is None:
        session.replays = {}
    session.replays[subscription.topic_filter] = Replay(subscription, seam, replayed)
    go_on(broker, session)


def go_on(broker: Broker, session: Session) -> None:
    """Send a page of retained messages; the next one when the session has room."""
    messages = size = 0
    while session.replays and not session.is_behind:
        if messages >= _PAGE_MESSAGES or size >= _PAGE_BYTES or broker.turn <= 0:
            broker.unfinished[session] = None
            return
        topic_filter, replay = next(iter(session.replays.items()))
        if replay.waiting and len(session.inflight) + replay.waiting >= session.window:
            return
        broker.turn -= 1
        try:
            topic = next(replay.topics)
        except StopIteration:
            if replay.waiting:
                return
            del session.replays[topic_filter]
            continue
        if topic is not None:
            broker.turn -= _MESSAGE_COST
            messages += 1
            size += _send(broker, replay, topic)


def _send(broker: Broker, replay: Replay, topic: str) -> int:
    """Send the message of a topic; return how many bytes it has, 0 if it is not sent."""
    subscription = replay.subscription
    session, prefix = subscription.session, subscription.prefix
    tenant = session.tenant
    retained = tenant.retained.get(topic)
    if retained is None or not _may_go(tenant, session, retained, broker.moment.now):
        return 0
    if prefix and not session.scope.on_topic(Permission.HISTORY, topic).allowed:
        return 0
    number = retained.record.history_id
    if number and replay.seam is not None and (number > replay.seam or number in replay.replayed):
        return 0
    message = retained.message.counted_down(broker.moment.now)
    qos = min(message.qos, subscription.qos)
    identifiers = (subscription.identifier,) if subscription.identifier else ()
    broker.counters.delivered += 1
    if qos and session.backlog is not None:
        _keep_for(broker, replay, session.backlog, message, qos, identifiers)
    else:
        message.packet_id = session.free_packet_id() if qos else 0
        # [MQTT311-3.3.1-8]
        form = message.form(session.version, qos, identifiers, retain=True, prefix=prefix)
        session.deliver(form.packet, len(form.packet), form.offset, form.expiry)
    return message.size


def _keep_for(
    broker: Broker,
    replay: Replay,
    backlog: Backlog,
    message: Message,
    qos: int,
    identifiers: tuple[int, ...],
) -> None:
    """Send it as one of those that a session gets one by one.

    At QoS 2 only when that is kept: the peer remembers its packet identifier. If we did not after
    a restart, the next message under that would be taken for this one.
    """
    session = backlog.session
    delivery = backlog.reserve(
        message,
        broker.next_position(),
        qos=qos,
        retain=True,
        identifiers=identifiers,
        prefix=replay.subscription.prefix,
    )
    if delivery is None:
        session.note_lost(1)
        return
    owned = qos == 2
    if session.number:
        broker.keep_message(session.tenant, message, owned=owned)
        backlog.keep(delivery, owned=owned)
        if owned:
            replay.waiting += 1
            broker.keeping.when_kept(partial(_kept, broker, replay, delivery))
            return
    backlog.add(delivery)


def _kept(broker: Broker, replay: Replay, delivery: Delivery, *, kept: bool) -> None:
    """Send what is kept now; what could not be counts as if the queue were full."""
    backlog = delivery.backlog
    replay.waiting -= 1
    if kept:
        backlog.add(delivery)
    elif delivery.stands and delivery.message is not None:
        delivery.message.number = 0
        backlog.forget(delivery, stored=False)
        backlog.session.note_lost(1)
    if not replay.waiting:
        go_on(broker, backlog.session)


def _may_go(tenant: Tenant, session: Session, retained: Retained, now: float) -> bool:
    """Ask for the rights of both sides, and whether the message is over."""
    record = retained.record
    if now >= record.expires_at:
        return False
    if not session.scope.on_topic(Permission.SUBSCRIBE, record.topic).allowed:
        return False
    if record.token_id is None:
        return True
    publisher = Subject(record.user_id, tenant.org_id, record.client_id, record.attrs)
    return tenant.rules.policy.admits(Permission.PUBLISH, record.topic, publisher)
