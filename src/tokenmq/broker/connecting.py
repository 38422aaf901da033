"""CONNECT: from a proven identity to a session, or a refusal.

Order: who owns the client id, whether the will may be published, our limits; then the
session that is gone on with or begun, and its CONNACK, which tells what this broker grants
where that is not what was asked for (§3.2.2).

What cannot be taken back is true after a crash, too. A CONNACK that ends a session which is
kept, or calls off its will, waits for the store, and with it whatever goes out on that
connection: else the client would be sent once more what it had under the session that is
over, or others a will although it came back in time. If the store fails, CONNACK goes out all
the same: who can be served is served, and the change is kept as soon as that is possible.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tokenmq.access.decide import Scope
from tokenmq.access.identity import Identity
from tokenmq.broker import presence, suspending, wills
from tokenmq.broker.effects import Close
from tokenmq.broker.outbox import Outbox
from tokenmq.broker.refusals import Refusal
from tokenmq.broker.session import Session
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.mqtt.packets import Connack, Connect, Will

if TYPE_CHECKING:
    from tokenmq.broker.broker import Broker
    from tokenmq.broker.tenant import Tenant

# Looked up once: a member is found through its class at ten times the cost of a name.
_SUCCESS = ReasonCode.SUCCESS


def connect(
    broker: Broker,
    outbox: Outbox,
    packet: Connect,
    identity: Identity,
    client_id: str,
    *,
    assigned: bool,
) -> Session | None:
    """Open a session or go on with one, and answer CONNACK; None if the CONNECT is refused."""
    tenant = broker.tenants[identity.org_id]
    earlier = tenant.sessions.get(client_id)  # [MQTT-3.1.3-2] [MQTT311-3.1.3-2]
    if earlier is not None and not _may_take_over(earlier, identity, client_id):
        text = "the client id is another user's"
        _refuse(broker, outbox, identity, client_id, ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, text)
        return None
    expiry_seconds = _session_expiry(broker, tenant, packet)
    will = None
    if packet.will is not None:
        most = min(expiry_seconds, broker.settings.max_will_delay_seconds)
        will = wills.will_of(packet.will, max_delay_seconds=most)  # [MQTT-3.1.2-7]
        refused = _will_refused(broker, tenant, identity, client_id, packet.will)
        if refused is not None:
            # What there is no room for now is no reason to stop for good.
            no_room = refused.code == ReasonCode.QUOTA_EXCEEDED
            code = ReasonCode.QUOTA_EXCEEDED if no_room else ReasonCode.NOT_AUTHORIZED
            _refuse(broker, outbox, identity, client_id, code, f"will: {refused.text}")
            return None
    suspended: list[str] = []
    resumed = earlier is not None and _goes_on(earlier, packet, identity)
    if earlier is not None and resumed:
        suspended = suspending.left_out(earlier, _scope(tenant, identity, client_id))
    took_over = earlier is not None and earlier.connected
    if not took_over and tenant.connected >= tenant.rules.max_connections:
        text = f"the organization has {tenant.rules.max_connections} connections"
        _refuse(broker, outbox, identity, client_id, ReasonCode.QUOTA_EXCEEDED, text)
        return None
    makes_room = earlier is not None and earlier.number > 0
    if expiry_seconds and not resumed and tenant.kept - makes_room >= tenant.rules.max_sessions:
        text = f"the organization has {tenant.rules.max_sessions} sessions that outlive their connections"
        _refuse(broker, outbox, identity, client_id, ReasonCode.QUOTA_EXCEEDED, text)
        return None
    connack = _connack(
        broker, outbox, packet, client_id,
        assigned=assigned, resumed=resumed, expiry_seconds=expiry_seconds, suspended=suspended,
    )  # fmt: skip
    waits = earlier is not None and _waits(earlier, resumed=resumed)
    outbox.gated = outbox.paused = waits
    member = None
    if earlier is not None:
        member = presence.take(earlier, identity)
        _take_over(broker, earlier, resumed=resumed)  # [MQTT-3.1.4-3] [MQTT311-3.1.4-2]
    broker.dirty.append(outbox)
    outbox.chunks.append(connack)
    session = earlier if resumed and earlier is not None else None
    if session is None:
        session = Session(tenant, outbox, identity, client_id, settings=broker.settings, moment=broker.moment)
        session.will = will
        broker.lives.open(session, expiry_seconds)
        presence.hold(broker, member, session)
    else:
        session.will = will
        presence.give(member, session)
        broker.lives.resume(session, outbox, identity, expiry_seconds)
    if waits:
        broker.keeping.when_kept(partial(_kept, broker, session, outbox))
    broker.report(
        "connected",
        org_id=identity.org_id,
        user_id=identity.user_id,
        client_id=client_id,
        version=session.version,
        token_id=identity.token_id,
        expires_at=identity.expires_at,
        session_present=resumed,
    )
    return session


def refuse(broker: Broker, outbox: Outbox, code: ReasonCode, text: str, **fields: Any) -> None:
    """Answer a CONNECT with a refusal and close; nothing it sent after it is looked at."""
    if outbox.closed:
        return
    outbox.closed = True
    encoded = outbox.connection.refused(Connack(session_present=False, reason_code=code, reason_string=text))
    if encoded is not None:
        broker.dirty.append(outbox)
        outbox.chunks.append(encoded)
    broker.counters.turn_away(fields.get("error") or code.name.lower())
    broker.report("connect_refused", code=int(code), reason=text, **fields)
    broker.effects.append(Close(outbox, text))


def _refuse(
    broker: Broker, outbox: Outbox, identity: Identity, client_id: str, code: ReasonCode, text: str
) -> None:
    refuse(broker, outbox, code, text, **_who(identity, client_id))


def _may_take_over(earlier: Session, identity: Identity, client_id: str) -> bool:
    """Tell whether a newcomer may have the session that its client id names, or end it.

    A session belongs to its user. Another user's CONNECT leaves it untouched, unless the
    newcomer's token names exactly this client id.
    """
    return earlier.identity.owner == identity.owner or identity.names_client_id(client_id)


def _goes_on(earlier: Session, packet: Connect, identity: Identity) -> bool:
    """Tell whether this CONNECT goes on with a session [MQTT-3.1.2-4] [MQTT-3.1.2-5].

    If not, a new one is begun [MQTT-3.1.2-6] [MQTT-3.1.4-4] [MQTT311-3.1.2-6] [MQTT311-3.1.4-3].
    """
    outlives = earlier.number > 0 and earlier.expiry_seconds > 0
    return outlives and not packet.clean_start and earlier.identity.owner == identity.owner


def _waits(earlier: Session, *, resumed: bool) -> bool:
    """Tell whether CONNACK must wait until the store knows of it [MQTT-3.1.3-9]."""
    return earlier.number > 0 and (not resumed or earlier.will_second is not None)


def _session_expiry(broker: Broker, tenant: Tenant, packet: Connect) -> int:
    """Return how long the session will outlive its connection, seconds."""
    longest = broker.settings.max_session_expiry_seconds
    if packet.protocol_version == 4:
        return 0 if packet.clean_start else longest  # [MQTT311-3.1.2-4]
    wanted = packet.session_expiry_interval
    if wanted is None and not packet.clean_start:
        wanted = tenant.rules.default_session_expiry_seconds
    return min(wanted or 0, longest)


def _will_refused(
    broker: Broker, tenant: Tenant, identity: Identity, client_id: str, will: Will
) -> Refusal | None:
    """Return why the will is refused, None where it is not."""
    return wills.refusal(broker, tenant, _scope(tenant, identity, client_id), will)


def _scope(tenant: Tenant, identity: Identity, client_id: str) -> Scope:
    policy = None if identity.is_server else tenant.rules.policy
    return Scope(identity, policy=policy, client_id=client_id)


def _take_over(broker: Broker, earlier: Session, *, resumed: bool) -> None:
    """Part a session from its connection; end it if the newcomer does not go on with it."""
    if earlier.connected:
        text = "session taken over"
        broker.disconnect(earlier.outbox, ReasonCode.SESSION_TAKEN_OVER, text, waits=False)
    if not resumed and not earlier.ended:
        broker.lives.end(earlier)


def _kept(broker: Broker, session: Session, outbox: Outbox, *, kept: bool) -> None:
    """Let CONNACK go out, and what waits behind it; if the store has failed, too."""
    del kept
    outbox.gated = False
    if not outbox.closed:
        broker.dirty.append(outbox)
        session.resume()


def _connack(
    broker: Broker,
    outbox: Outbox,
    packet: Connect,
    client_id: str,
    *,
    assigned: bool,
    resumed: bool,
    expiry_seconds: int,
    suspended: list[str],
) -> bytes:
    """Accept the CONNECT on this connection and return the encoded answer.

    Raises: ProtocolError 0x95 if the peer takes no packet as large as the answer.
    """
    settings = broker.settings
    keep_alive = packet.keep_alive
    if keep_alive == 0 or keep_alive > settings.max_keep_alive_seconds:
        keep_alive = settings.max_keep_alive_seconds
    if packet.protocol_version == 5:  # 3.1.1 has no word for another one than was asked for
        keep_alive = max(keep_alive, settings.min_keep_alive_seconds)
    asked = packet.session_expiry_interval or 0
    connack = Connack(
        # [MQTT-3.2.2-2] [MQTT-3.2.2-3] [MQTT311-3.2.2-1] [MQTT311-3.2.2-2] [MQTT311-3.2.2-3]
        session_present=resumed,
        reason_code=_SUCCESS,
        session_expiry_interval=None if expiry_seconds == asked else expiry_seconds,
        receive_maximum=None if settings.receive_maximum == 65_535 else settings.receive_maximum,
        maximum_packet_size=settings.max_packet_bytes,
        assigned_client_identifier=client_id if assigned else None,  # [MQTT-3.1.3-7]
        topic_alias_maximum=settings.topic_alias_maximum or None,
        user_properties=tuple((suspending.SUSPENDED, topic_filter) for topic_filter in suspended),
        server_keep_alive=None if keep_alive == packet.keep_alive else keep_alive,  # [MQTT-3.2.2-22]
        authentication_method=packet.authentication_method,
    )
    return outbox.connection.connected(connack, keep_alive_seconds=keep_alive)


def _who(identity: Identity, client_id: str) -> dict[str, Any]:
    return {"org_id": identity.org_id, "user_id": identity.user_id, "client_id": client_id}
