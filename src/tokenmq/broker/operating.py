"""What comes in from outside of any connection: from a server's calls and from operators.

A key's message goes the way of a client's (`arriving`), under a session that is never open:
it has the key's rights, and nothing but a revocation finds it. Sessions and retained
messages that are removed by hand are gone at once; that the store is to know, too, is noted.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nsmallest
from typing import TYPE_CHECKING

from tokenmq.broker import arriving, retaining
from tokenmq.broker.refusals import FULL, Refusal, Why
from tokenmq.broker.session import Session
from tokenmq.mqtt.codes import ReasonCode

if TYPE_CHECKING:
    from tokenmq.access.identity import Identity
    from tokenmq.broker.broker import Broker
    from tokenmq.broker.publication import Told
    from tokenmq.broker.tenant import Tenant
    from tokenmq.mqtt.packets import Publish

# The fixed header, the lengths in front of topic and properties, a packet identifier.
_HEAD_BYTES = 16


def post(broker: Broker, publisher: Identity, packet: Publish, told: Told) -> None:
    """Take in a message that came by no connection, in the name of its publisher.

    It is judged, kept, routed and counted as one that a connection brought.

    Args:
        publisher: whose rights it goes by; its organization's rules are in force.
        packet: its topic a Topic Name.
        told: called with None once the message is taken for good, at once where nothing of
            it is to be kept, or with the reason why it is not.
    """
    broker.counters.received += 1
    session = Session(
        broker.tenants[publisher.org_id],
        broker.nowhere,
        publisher,
        "",
        settings=broker.settings,
        moment=broker.moment,
    )
    session.end()
    size, most = _size(packet), broker.settings.max_packet_bytes
    if size > most:
        text = f"the message has {size} bytes, at most {most} are accepted"
        broker.counters.refuse(Why.SIZE)
        told(Refusal(ReasonCode.PACKET_TOO_LARGE, text, Why.SIZE))
        return
    if broker.unstored.is_over:  # whoever has a connection is not read from; this is all there is to do
        broker.counters.refuse(Why.STORE)
        told(FULL)
        return
    broker.lives.follow(session)
    arriving.arrive(broker, session, packet, None, told)


def sessions_of(tenant: Tenant, *, user_id: str | None, after: str | None, limit: int) -> list[Session]:
    """Return sessions in the order of their client ids, at most `limit`, those behind `after`."""
    found = (
        session
        for client_id, session in tenant.sessions.items()
        if (after is None or client_id > after) and (user_id is None or session.identity.user_id == user_id)
    )
    return nsmallest(limit, found, key=_client_id)


def present_on(tenant: Tenant, topic_filter: str) -> list[Session]:
    """Return the sessions that are present on a filter."""
    watch = tenant.presence.watches.get(topic_filter) if tenant.presence is not None else None
    if watch is not None and watch.is_open:
        return [member.session for member in watch.roster()]
    found = tenant.routes.overlapping(topic_filter)
    return list(dict.fromkeys(one.session for one in found if one.is_counted))


def present_user(tenant: Tenant, user_id: str) -> list[Session]:
    """Return the connected sessions of a user."""
    return [
        session
        for session in tenant.sessions.values()
        if session.connected and session.identity.owner == ("user", user_id)
    ]


def first_members(sessions: Iterable[Session], *, after: str, limit: int) -> list[Session]:
    """Return sessions in the order of their member ids, at most `limit`, those behind `after`."""
    return nsmallest(limit, (one for one in sessions if one.member_id > after), key=_member_id)


def queue_of(session: Session) -> int:
    """Return how many messages wait to go out to a session, or for its client to come back."""
    backlog = session.backlog
    if backlog is None:
        return session.queued_messages
    return session.queued_messages + (len(backlog.due) if session.connected else len(backlog.deliveries))


def end_sessions(broker: Broker, sessions: Iterable[Session], text: str) -> tuple[int, bool]:
    """End sessions for good, with a connection or without, and what waits for them.

    Their wills go out: nobody was revoked.

    Returns: how many there were, and whether the store is to know of it.
    """
    count = 0
    are_kept = False
    for session in list(sessions):
        count += 1
        are_kept = are_kept or session.number > 0
        if session.connected:
            code = ReasonCode.ADMINISTRATIVE_ACTION
            broker.disconnect(session.outbox, code, text, waits=False)
        broker.lives.end(session)
    return count, are_kept


def clear_retained(broker: Broker, tenant: Tenant, topic: str) -> bool:
    """Clear a topic, of which subscribers are told nothing; return whether it had a message."""
    if tenant.retained.get(topic) is None:
        return False
    retaining.forget(broker, tenant, topic)
    retaining.keep_as_it_is(broker, tenant, topic)
    return True


def _size(packet: Publish) -> int:
    """Return how large the packet would be, or a little more."""
    return _HEAD_BYTES + len(packet.topic.encode()) + len(packet.payload) + len(packet.forward)


def _member_id(session: Session) -> str:
    return session.member_id


def _client_id(session: Session) -> str:
    return session.client_id
