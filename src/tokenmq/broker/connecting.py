"""CONNECT: from a proven identity to a session, or a refusal.

Order: what is asked for and not there, who owns the client id, then the session and
its CONNACK, which tells truthfully what this broker does not have (§3.2.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokenmq.access.identity import Identity
from tokenmq.broker.effects import Close
from tokenmq.broker.outbox import Outbox
from tokenmq.broker.session import Session
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.mqtt.packets import Connack, Connect

if TYPE_CHECKING:
    from tokenmq.broker.broker import Broker


def connect(
    broker: Broker,
    outbox: Outbox,
    packet: Connect,
    identity: Identity,
    client_id: str,
    *,
    assigned: bool,
    now: float,
) -> Session | None:
    """Open a session and answer CONNACK; None if the CONNECT is refused."""
    tenant = broker.tenants[identity.org_id]
    if packet.will is not None:
        code = _will_refusal(packet)
        refuse(broker, outbox, code, "wills are not available", **_who(identity, client_id))
        return None
    earlier = tenant.sessions.get(client_id)
    if earlier is not None and not _may_take_over(earlier, identity, client_id):
        text = "the client id is another user's"
        code = ReasonCode.CLIENT_IDENTIFIER_NOT_VALID
        refuse(broker, outbox, code, text, **_who(identity, client_id))
        return None
    connack = _connack(broker, outbox, packet, client_id, assigned=assigned)
    if earlier is not None:  # [MQTT-3.1.4-3] [MQTT311-3.1.4-2]
        broker.disconnect(earlier.outbox, ReasonCode.SESSION_TAKEN_OVER, "session taken over")
    session = Session(tenant, outbox, identity, client_id, settings=broker.settings, now=now)
    broker.admit(session)
    broker.dirty.append(outbox)
    outbox.chunks.append(connack)
    broker.report(
        "connected",
        **_who(identity, client_id),
        version=session.version,
        token_id=identity.token_id,
        expires_at=identity.expires_at,
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
    broker.report("connect_refused", code=int(code), reason=text, **fields)
    broker.effects.append(Close(outbox, text))


def _may_take_over(earlier: Session, identity: Identity, client_id: str) -> bool:
    """Tell whether a newcomer may end the session that its client id names.

    A session belongs to its user. Another user's CONNECT leaves it untouched, unless the
    newcomer's token names exactly this client id.
    """
    return earlier.identity.owner == identity.owner or identity.names_client_id(client_id)


def _will_refusal(packet: Connect) -> ReasonCode:
    will = packet.will
    if will is not None and will.qos > 1:  # [MQTT-3.2.2-12]
        return ReasonCode.QOS_NOT_SUPPORTED
    if will is not None and will.retain:  # [MQTT-3.2.2-13]
        return ReasonCode.RETAIN_NOT_SUPPORTED
    return ReasonCode.NOT_AUTHORIZED


def _connack(broker: Broker, outbox: Outbox, packet: Connect, client_id: str, *, assigned: bool) -> bytes:
    """Accept the CONNECT on this connection and return the encoded answer.

    Raises: ProtocolError 0x95 if the peer takes no packet as large as the answer.
    """
    settings = broker.settings
    keep_alive = packet.keep_alive
    if keep_alive == 0 or keep_alive > settings.max_keep_alive_seconds:
        keep_alive = settings.max_keep_alive_seconds
    keep_alive = max(keep_alive, settings.min_keep_alive_seconds)
    connack = Connack(
        session_present=False,
        reason_code=ReasonCode.SUCCESS,
        # [MQTT-3.1.2-23] no session outlives its connection; said where more was asked for.
        session_expiry_interval=0 if packet.session_expiry_interval else None,
        receive_maximum=None if settings.receive_maximum == 65_535 else settings.receive_maximum,
        maximum_qos=1,
        retain_available=False,
        maximum_packet_size=settings.max_packet_bytes,
        assigned_client_identifier=client_id if assigned else None,  # [MQTT-3.1.3-7]
        topic_alias_maximum=settings.topic_alias_maximum or None,
        shared_subscription_available=False,
        server_keep_alive=None if keep_alive == packet.keep_alive else keep_alive,  # [MQTT-3.2.2-22]
        authentication_method=packet.authentication_method,
    )
    return outbox.connection.connected(connack, keep_alive_seconds=keep_alive)


def _who(identity: Identity, client_id: str) -> dict[str, Any]:
    return {"org_id": identity.org_id, "user_id": identity.user_id, "client_id": client_id}
