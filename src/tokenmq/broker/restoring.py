"""What the store has kept, back into the core at the start.

Every session in it has lost its connection, at the latest as the process before ended: its
time without one counts from then, if it had one, from now. Nobody is connected yet, so
nothing is sent and nothing waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenmq.broker import retaining, suspending
from tokenmq.broker.delivery import Delivery
from tokenmq.broker.message import Message
from tokenmq.broker.records import Kept
from tokenmq.broker.session import Session
from tokenmq.broker.subscription import Subscription

if TYPE_CHECKING:
    from tokenmq.broker.broker import Broker


def restore(broker: Broker, kept: Kept) -> None:
    """Take in everything that was kept; the tenants that it belongs to are there."""
    sessions = _sessions(broker, kept)
    for subscription in kept.subscriptions:
        session = sessions[subscription.session]
        broker.enter_subscription(
            Subscription(
                session,
                subscription.topic_filter,
                qos=subscription.qos,
                no_local=subscription.no_local,
                retain_as_published=subscription.retain_as_published,
                identifier=subscription.identifier,
                history=subscription.history,
            )
        )
    _deliveries(broker, kept, sessions)
    for received in kept.received:
        sessions[received.session].unreleased.add(received.packet_id)
    for record in kept.retained:
        retaining.restore(broker, broker.tenants[record.org_id], record)
    # What waits for the others is judged as it goes out.
    suspending.apply(broker, [session for session in sessions.values() if suspending.judge(session)])
    now = broker.moment.now
    # Now there is somebody to get their wills. The one away longest comes first.
    for session in sorted(sessions.values(), key=lambda session: session.left_at or now):
        broker.lives.wait_for_client(session)


def _sessions(broker: Broker, kept: Kept) -> dict[int, Session]:
    sessions: dict[int, Session] = {}
    for record in kept.sessions:
        session = Session(
            broker.tenants[record.identity.org_id],
            broker.nowhere,
            record.identity,
            record.client_id,
            settings=broker.settings,
            moment=broker.moment,
        )
        session.left_at = record.left_at
        sessions[record.number] = session
        broker.lives.restore(session, record)
    return sessions


def _deliveries(broker: Broker, kept: Kept, sessions: dict[int, Session]) -> None:
    messages = {
        record.number: Message(
            record.topic,
            record.payload,
            0,
            0,
            record.forward,
            expires_at=record.expires_at,
            number=record.number,
            stamp=record.stamp,
        )
        for record in kept.messages
    }
    # All of them first: a queue that has to give at once must not take its message from another.
    for record in kept.deliveries:
        if not record.released:
            messages[record.message].waits += 1
    for record in kept.deliveries:
        session = sessions[record.session]
        if session.backlog is None:
            continue
        delivery = Delivery(
            session.backlog,
            None if record.released else messages[record.message],
            record.packet_id,
            record.position,
            qos=record.qos,
            retain=record.retain,
            identifiers=record.identifiers,
            group=session.tenant.routes.group(record.group) if record.group else None,
            scope=None,
            prefix=record.prefix,
            stamped=record.stamped,
        )
        delivery.released = record.released
        session.backlog.restore(delivery)
    broker.count_from(
        messages=max(messages, default=0),
        position=max((record.position for record in kept.deliveries), default=0),
    )
