"""A PUBLISH from its packet to its receivers: the full path.

Order of checks: what the packet asks for, our limits, reserved names, rights; then
routing; the acknowledgement comes last, so that 0x10 (no matching subscribers) is true.
Leaves a lane behind for the packets that follow, where there can be one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenmq.access.permission import Permission
from tokenmq.broker.message import Message
from tokenmq.broker.session import reserved_name
from tokenmq.config import BrokerSettings
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.mqtt.packets import Puback, Publish

if TYPE_CHECKING:
    from tokenmq.broker.broker import Broker
    from tokenmq.broker.session import Session


class Refusal:
    """Why a PUBLISH is not taken."""

    __slots__ = ("code", "text")

    def __init__(self, code: ReasonCode, text: str) -> None:
        self.code = code
        self.text = text


def publish(broker: Broker, session: Session, packet: Publish, now: float) -> None:
    """Take in a PUBLISH at QoS 0 or 1: judge, route, answer.

    Effects: appends to the links of the receivers and of the publisher. A packet that
    asks for what was announced as missing (QoS 2, retain) ends the connection.
    """
    broker.counters.received += 1
    if packet.qos > 1:  # [MQTT-3.2.2-11]
        broker.disconnect(session.outbox, ReasonCode.QOS_NOT_SUPPORTED, "maximum qos is 1")
        return
    if packet.retain:  # [MQTT-3.2.2-14]
        broker.disconnect(session.outbox, ReasonCode.RETAIN_NOT_SUPPORTED, "retain is not available")
        return
    refused = refusal(broker, session, packet)
    if refused is not None:
        _refuse(broker, session, packet, refused, now)
        return
    receivers = route(broker, session, packet)
    if packet.qos:
        _acknowledge(session, packet, receivers)
    _keep_lane(broker, session, packet)


def route(broker: Broker, session: Session, packet: Publish) -> int:
    """Deliver an allowed message to everybody who receives it; return how many that were."""
    message = Message(packet.topic, packet.payload, packet.qos, packet.packet_id, packet.forward)
    receivers = 0
    for target in session.tenant.routes.route(packet.topic).targets:
        receiver = target.session
        if receiver is session:
            own = target.for_own
            if own is None:
                continue
            target = own
        receivers += 1
        packet_bytes, offset = message.form(
            receiver.version, min(message.qos, target.qos), target.identifiers
        )
        receiver.deliver(packet_bytes, len(packet_bytes), offset)
    broker.counters.delivered += receivers
    return receivers


def refusal(broker: Broker, session: Session, packet: Publish) -> Refusal | None:
    """Return why a PUBLISH is refused, None where it is not; topics are judged once a session."""
    name = reserved_name(packet)
    if name is not None:
        return Refusal(ReasonCode.NOT_AUTHORIZED, f"user property {name[:64]} is reserved")
    topic = packet.topic
    if topic in session.judgements:
        return session.judgements[topic]
    refused = _judge(broker.settings, session, topic)
    if refused is None or refused.code != ReasonCode.TOPIC_NAME_INVALID:  # those may be long
        session.keep_judgement(topic, refused)
    return refused


def _judge(settings: BrokerSettings, session: Session, topic: str) -> Refusal | None:
    """Hold a topic against our limits and the session's rights."""
    if len(topic.encode()) > settings.max_topic_bytes:
        text = f"topic is longer than {settings.max_topic_bytes} bytes"
        return Refusal(ReasonCode.TOPIC_NAME_INVALID, text)
    if topic.count("/") >= settings.max_topic_levels:
        text = f"topic has more than {settings.max_topic_levels} levels"
        return Refusal(ReasonCode.TOPIC_NAME_INVALID, text)
    if not session.tenant.knows(topic):
        return Refusal(ReasonCode.NOT_AUTHORIZED, f"no topic begins with {topic.partition('/')[0][:64]}")
    decision = session.scope.on_topic(Permission.PUBLISH, topic)
    return None if decision.allowed else Refusal(ReasonCode.NOT_AUTHORIZED, decision.rule)


def _refuse(broker: Broker, session: Session, packet: Publish, refused: Refusal, now: float) -> None:
    broker.counters.refused += 1
    broker.report(
        "publish_refused",
        org_id=session.tenant.org_id,
        client_id=session.client_id,
        user_id=session.identity.user_id,
        topic=packet.topic[:256],
        reason=refused.text,
    )
    told_by_packet = packet.qos > 0 and session.version == 5
    if told_by_packet:
        broker.send(
            session.outbox,
            Puback(packet_id=packet.packet_id, reason_code=refused.code, reason_string=refused.text),
        )
        return
    if packet.qos and session.tenant.rules.close_on_refused_publish:
        broker.disconnect(session.outbox, refused.code, refused.text)
        return
    if packet.qos:
        # [MQTT311-3.3.5-2]: acknowledged, or closed; a client resends for ever after a close.
        broker.send(session.outbox, Puback(packet_id=packet.packet_id))
    broker.events.denied(session, "publish", packet.topic, refused.text, now)


def _acknowledge(session: Session, packet: Publish, receivers: int) -> None:
    chunks = session.chunks
    if not chunks:
        session.tenant.dirty.append(session.outbox)
    packet_id = packet.packet_id.to_bytes(2, "big")
    if receivers or session.version == 4:
        chunks.append(b"\x40\x02" + packet_id)
    else:
        chunks.append(b"\x40\x03" + packet_id + bytes([ReasonCode.NO_MATCHING_SUBSCRIBERS]))


def _keep_lane(broker: Broker, session: Session, packet: Publish) -> None:
    """Leave a lane for the packets that follow, where there can be one."""
    if packet.topic_alias is not None or packet.topic.startswith("$"):
        return
    topic = packet.topic.encode()
    if topic not in session.lanes:
        route = session.tenant.routes.route(packet.topic)
        lane = route.lane(session.version, broker.settings.max_packet_bytes)
        if lane is not None:
            session.keep_lane(topic, lane)
