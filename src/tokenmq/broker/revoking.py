"""What services tell the core of families, keys and organizations that end, or end sooner."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from tokenmq.broker import retaining
from tokenmq.mqtt.codes import ReasonCode

if TYPE_CHECKING:
    from tokenmq.broker.broker import Broker
    from tokenmq.broker.session import Session


def revoke_families(broker: Broker, token_ids: Collection[str], code: ReasonCode, text: str) -> int:
    """End every session of these token families, and what they left; return how many there were."""
    broker.counters.revoked += len(token_ids)
    count = _revoke(broker, broker.lives.of_families(token_ids), code, text)
    broker.lives.keep_those_that_left(token_ids)
    return count


def forget_retained(broker: Broker, org_id: str, token_ids: Collection[str]) -> None:
    """Clear the topics on which these families have left a message; the store has done so."""
    tenant = broker.tenants.get(org_id)
    if tenant is not None:
        for token_id in token_ids:
            retaining.disown(broker, tenant, token_id)


def close_families(broker: Broker, token_ids: Collection[str], code: ReasonCode, text: str) -> int:
    """Close every connection of these token families; return how many there were."""
    return _disconnect(broker, broker.lives.of_families(token_ids), code, text)


def revoke_key(broker: Broker, key_id: str, code: ReasonCode, text: str) -> int:
    """End every session of a key; return how many there were."""
    return _revoke(broker, broker.lives.of_key(key_id), code, text)


def limit_key(broker: Broker, key_id: str, ends_at: float) -> None:
    """Have the connections of a key end at this moment, unless they end before it."""
    for session in broker.lives.of_key(key_id):
        until = session.identity.expires_at
        if session.connected and (until is None or until > ends_at):
            broker.lives.renew(session, session.identity.ending(ends_at))


def end_tenant(broker: Broker, org_id: str, code: ReasonCode, text: str) -> int:
    """End every session of an organization and forget it; return how many there were."""
    tenant = broker.tenants.pop(org_id, None)
    if tenant is None:
        return 0
    broker.recorder.forget(tenant)
    return _revoke(broker, list(tenant.sessions.values()), code, text)


def close_all(broker: Broker, code: ReasonCode, text: str) -> int:
    """Close every connection, as at shutdown; return how many there were."""
    sessions = [session for tenant in broker.tenants.values() for session in tenant.sessions.values()]
    return _disconnect(broker, sessions, code, text)


def connected_families(broker: Broker, token_ids: Collection[str]) -> set[str]:
    """Return those of these families that have a connection now."""
    return {
        token_id
        for token_id in token_ids
        if any(session.connected for session in broker.lives.of_families((token_id,)))
    }


def _disconnect(broker: Broker, sessions: Iterable[Session], code: ReasonCode, text: str) -> int:
    connected = [session for session in sessions if session.connected]
    for session in connected:
        broker.disconnect(session.outbox, code, text)
    return len(connected)


def _revoke(broker: Broker, sessions: Iterable[Session], code: ReasonCode, text: str) -> int:
    """End sessions for good: nothing of them goes on, no will is published."""
    count = 0
    for session in sessions:
        count += not session.ended
        session.disowned = True
        session.will = None
        if session.connected:
            broker.disconnect(session.outbox, code, text)
        else:
            broker.lives.end(session)
    return count
