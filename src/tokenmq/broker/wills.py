"""Wills: what is published for a client whose connection was lost (MQTT 5 §3.1.2.5).

Judged at CONNECT, and again when it goes out: by revocation and the rights as they stand,
not by expiry, which is one of the ways in which a connection is lost (SECURITY, ruling 10).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenmq.broker import arriving
from tokenmq.broker.records import Will
from tokenmq.broker.refusals import Refusal, judge, judge_retaining, reserved
from tokenmq.broker.remembering import reserved_name
from tokenmq.mqtt.packets import Publish

if TYPE_CHECKING:
    from tokenmq.access.decide import Scope
    from tokenmq.broker.broker import Broker
    from tokenmq.broker.session import Session
    from tokenmq.broker.tenant import Tenant
    from tokenmq.mqtt.packets import connect


def will_of(packet: connect.Will, *, max_delay_seconds: int) -> Will:
    """Return the will of a CONNECT; its delay is what it may be at most."""
    return Will(
        topic=packet.topic,
        payload=packet.payload,
        qos=packet.qos,
        retain=packet.retain,
        forward=packet.forward,
        expiry_seconds=packet.message_expiry_interval,
        delay_seconds=min(packet.will_delay_interval or 0, max_delay_seconds),
    )


def refusal(broker: Broker, tenant: Tenant, scope: Scope, will: connect.Will) -> Refusal | None:
    """Return why the will of a CONNECT may not be published, None where it may."""
    name = reserved_name(will)
    if name is not None:
        return reserved(name)
    refused = judge(broker.settings, tenant, scope, will.topic)
    if refused is None and will.retain:
        return judge_retaining(broker.settings, tenant, will.topic, will.payload, will.forward)
    return refused


def judge_anew(broker: Broker, session: Session) -> None:
    """Drop the will of a session that it has lost the right to publish."""
    will = session.will
    if will is None:
        return
    refused = judge(broker.settings, session.tenant, session.scope, will.topic)
    if refused is None:
        return
    session.will = None
    if session.number:
        broker.keeping.put(session.record)
    tell_refused(broker, session, will.topic, refused)


def tell_refused(broker: Broker, session: Session, topic: str, refused: Refusal) -> None:
    """Count and tell of a will that is not published."""
    broker.counters.refuse(refused.why)
    broker.report(
        "will_refused",
        org_id=session.tenant.org_id,
        client_id=session.client_id,
        user_id=session.identity.user_id,
        topic=topic[:256],
        reason=refused.text,
    )


def publish(broker: Broker, session: Session) -> None:
    """Publish the will of a session, once, if it may be by then: `arriving` judges.

    [MQTT-3.1.2-8] [MQTT-3.1.2-10] [MQTT311-3.1.2-8] [MQTT311-3.1.2-10].
    """
    will, session.will = session.will, None
    if will is None or session.disowned:  # [MQTT311-3.1.2-12]
        return
    if session.number and not session.ended:
        broker.keeping.put(session.record)
    packet = Publish(
        will.topic,
        will.payload,
        will.qos,
        will.retain,  # [MQTT-3.1.2-14] [MQTT-3.1.2-15] [MQTT311-3.1.2-16] [MQTT311-3.1.2-17]
        packet_id=1,  # as good as any: receivers give it one that is free with them
        forward=will.forward,  # [MQTT-3.1.3-10]
        message_expiry_interval=will.expiry_seconds,
    )
    arriving.arrive(broker, session, packet, None)
