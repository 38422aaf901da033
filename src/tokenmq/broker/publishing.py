"""A PUBLISH from its packet to its receivers: the full path.

Order of checks: the packet identifier, reserved names, our limits, rights; then routing;
the acknowledgement comes last, so that 0x10 (no matching subscribers) is true. What must
be kept before it is acknowledged takes the way round by `arriving`. Leaves a lane behind
for the packets that follow, where there can be one.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tokenmq.broker import arriving, renewing, stating
from tokenmq.broker.message import Message
from tokenmq.broker.records import ReceivedRecord
from tokenmq.broker.refusals import Refusal, refusal
from tokenmq.broker.watch import PREFIX
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.mqtt.packets import Puback, Publish, Pubrec

if TYPE_CHECKING:
    from tokenmq.broker.broker import Broker
    from tokenmq.broker.delivery import Delivery
    from tokenmq.broker.routing import Route
    from tokenmq.broker.session import Session


def publish(broker: Broker, session: Session, packet: Publish) -> None:
    """Take in a PUBLISH: judge, route, answer.

    Effects: appends to the links of the receivers and of the publisher, or has the message
    kept and does the rest when it is.
    """
    broker.counters.received += 1
    if packet.qos == 2 and packet.packet_id in session.unreleased:  # [MQTT-4.3.3-10] [MQTT311-4.3.3-2]
        _receive_again(session, packet)
        return
    if packet.qos and _owed(session) >= broker.settings.receive_maximum:  # [MQTT-3.3.4-7]
        text = f"more than {broker.settings.receive_maximum} messages are not acknowledged"
        broker.disconnect(session.outbox, ReasonCode.RECEIVE_MAXIMUM_EXCEEDED, text)
        return
    if packet.topic[0] == "$" and _takes(broker, session, packet):
        return
    if session.arriving:
        arriving.arrive(broker, session, packet, session.outbox)
        return
    refused = refusal(broker.settings, session, packet)
    if refused is not None:
        refuse(broker, session, packet, refused)
        return
    found = session.tenant.routes.route(packet.topic)
    if packet.retain or _waits(session, packet, found):  # [MQTT-3.3.1-8] [MQTT311-3.3.1-12]
        arriving.arrive(broker, session, packet, session.outbox)
        return
    message = message_of(packet, broker.moment.now)
    if found.rule is not None:
        broker.recorder.record(session, message, found.rule)
    receivers = route(broker, session, message, {})
    if packet.qos == 1:
        acknowledge(session, packet, receivers)
    elif packet.qos == 2:
        session.unreleased.add(packet.packet_id)  # not where it was refused [MQTT-4.3.3-9]
        received(session, packet, receivers)
    _keep_lane(broker, session, packet)


def _takes(broker: Broker, session: Session, packet: Publish) -> bool:
    """Take in what is for the broker itself; tell whether it was."""
    if packet.topic == renewing.TOKEN_TOPIC:
        renewing.take_token(broker, session, packet)
    elif packet.topic.startswith(PREFIX):
        stating.take_state(broker, session, packet)
    else:
        return False
    return True


def message_of(packet: Publish, now: float) -> Message:
    """Return the message that a PUBLISH carries, which arrived now."""
    interval = packet.message_expiry_interval
    return Message(
        packet.topic,
        packet.payload,
        packet.qos,
        packet.packet_id,
        packet.forward,
        retain=packet.retain,
        expires_at=None if interval is None else now + interval,
    )


def route(
    broker: Broker, session: Session, message: Message, reserved: dict[Any, Delivery], *, waited: bool = False
) -> int:
    """Deliver an allowed message to everybody who receives it; return how many that were.

    Args:
        reserved: deliveries to sessions that get it one by one; what is used is taken out.
        waited: it did not come just now, and may be over.
    """
    receivers = 0
    over = waited and message.is_over(broker.moment.now)
    if waited and message.expires_at is not None:
        message = message.counted_down(broker.moment.now)
    found = session.tenant.routes.route(message.topic)
    for target in found.targets:
        receiver = target.session
        if receiver is session:
            own = target.for_own
            if own is None:
                continue
            target = own
        receivers += 1
        qos = min(message.qos, target.qos)  # [MQTT-3.8.4-8] [MQTT311-3.8.4-6]
        if qos and receiver.backlog is not None:  # [MQTT-4.5.0-1] [MQTT311-3.1.2-5] [MQTT311-4.5.0-1]
            delivery = reserved.pop(target.key, None)
            if delivery is not None:
                receiver.backlog.add(delivery)
            continue
        if over:
            receiver.count_expired()
            continue
        # [MQTT-3.3.1-12] [MQTT-3.3.1-13] [MQTT311-3.3.1-9]
        retain = message.retain and target.retain_as_published
        if target.reads:
            form = message.form(
                *(receiver.version, qos, target.identifiers),
                retain=retain,
                prefix=target.prefix,
                stamped=target.stamped,
            )
        else:
            form = message.form(receiver.version, qos, target.identifiers, retain=retain)
        receiver.deliver(form.packet, len(form.packet), form.offset, form.expiry)
    if found.groups:
        receivers += _share(found, message, reserved, over=over)
    broker.counters.delivered += receivers
    return receivers


def _share(found: Route, message: Message, reserved: dict[Any, Delivery], *, over: bool) -> int:
    """Deliver a message to one member of each group; return how many that were."""
    receivers = 0
    for candidates in found.groups:
        delivery = reserved.pop(candidates.group, None)
        if delivery is not None:
            receivers += 1
            delivery.backlog.add(delivery)
        elif (chosen := candidates.choose(0)) is not None:
            receivers += 1
            if over:
                chosen.session.count_expired()
                continue
            form = message.form(chosen.session.version, 0, chosen.identifiers)
            chosen.session.deliver(form.packet, len(form.packet), 0, form.expiry)
    return receivers


def acknowledge(session: Session, packet: Publish, receivers: int) -> None:
    """Answer PUBACK; the identifier is free then [MQTT-4.3.2-4] [MQTT-4.3.2-5] [MQTT311-4.3.2-2]."""
    _answer(session, b"\x40", packet, receivers)


def received(session: Session, packet: Publish, receivers: int) -> None:
    """Answer PUBREC [MQTT-4.3.3-8]."""
    _answer(session, b"\x50", packet, receivers)


def release(broker: Broker, session: Session, packet_id: int) -> None:
    """Take in a PUBREL: free the identifier, answer PUBCOMP [MQTT-4.3.3-11].

    That of a session that outlives its connection is free when that is kept: what comes
    next under the same identifier is another message [MQTT-4.3.3-12], after a restart, too.
    Whether the message is over is not asked [MQTT-4.3.3-13].
    """
    if session.releasing and packet_id in session.releasing:  # its PUBCOMP is to come, here
        session.releasing[packet_id] = session.outbox
        return
    waiting = session.arriving is not None and packet_id in session.arriving.unreceived
    if waiting or packet_id not in session.unreleased:
        _complete(session, packet_id, known=False)
    elif session.number:
        if session.releasing is None:
            session.releasing = {}
        session.releasing[packet_id] = session.outbox
        _release(broker, session, packet_id)
    else:
        session.unreleased.discard(packet_id)
        _complete(session, packet_id, known=True)


def refuse(
    broker: Broker,
    session: Session,
    packet: Publish,
    refused: Refusal,
    *,
    answers: bool = True,
    closes: bool = False,
) -> None:
    """Answer a PUBLISH that is not taken, as its version can (the wire contract, "Answers").

    Args:
        answers: False if it came by an earlier connection and will be sent again.
        closes: 3.1.1, which has no answer that refuses, is closed whatever its organization has set.
    """
    broker.counters.refuse(refused.why)
    broker.report(
        "publish_refused",
        org_id=session.tenant.org_id,
        client_id=session.client_id,
        user_id=session.identity.user_id,
        topic=packet.topic[:256],
        reason=refused.text,
    )
    if not (session.connected and answers):
        return
    if packet.qos and session.version == 5:
        answer = Puback if packet.qos == 1 else Pubrec
        broker.send(
            session.outbox,
            answer(packet_id=packet.packet_id, reason_code=refused.code, reason_string=refused.text),
        )
        return
    no_room = refused.code == ReasonCode.QUOTA_EXCEEDED
    if packet.qos and (closes or no_room or session.tenant.rules.close_on_refused_publish):
        broker.disconnect(session.outbox, refused.code, refused.text)
        return
    if packet.qos:
        # [MQTT311-3.3.5-2]: acknowledged, or closed; a client resends for ever after a close.
        answer = Puback if packet.qos == 1 else Pubrec
        broker.send(session.outbox, answer(packet_id=packet.packet_id))
    broker.events.denied(session, "publish", packet.topic, refused.text, broker.moment.now)


def _owed(session: Session) -> int:
    """Return how many of its messages at QoS 1 and 2 are not acknowledged for good."""
    arrived = session.arriving
    return len(session.unreleased) + (arrived.unanswered if arrived is not None else 0)


def _waits(session: Session, packet: Publish, found: Route) -> bool:
    """Tell whether a message must be kept, or has receivers that get it one by one.

    One that is to be recorded waits where its rule is durable, or one before it waits.
    """
    if packet.qos and (found.one_by_one or (packet.qos == 2 and session.number)):
        return True
    rule = found.rule
    return rule is not None and (bool(packet.qos and rule.durable) or bool(session.tenant.history.pending))


def _receive_again(session: Session, packet: Publish) -> None:
    """Answer a message that was taken in before; if it is not through yet, its PUBREC is to come."""
    if session.arriving is None or not session.arriving.come_again(packet.packet_id):
        session.append(b"\x50\x02" + packet.packet_id.to_bytes(2, "big"))


def _release(broker: Broker, session: Session, packet_id: int) -> None:
    if not session.ended:
        broker.keeping.drop(ReceivedRecord, (session.number, packet_id))
        broker.keeping.when_kept(partial(_released, broker, session, packet_id))


def _released(broker: Broker, session: Session, packet_id: int, *, kept: bool) -> None:
    if not kept:
        broker.keeping.try_again(partial(_release, broker, session, packet_id))
        return
    session.unreleased.discard(packet_id)
    outbox = session.releasing.pop(packet_id, None) if session.releasing is not None else None
    # By the next connection PUBREL is sent again: an answer to the earlier one would cross that.
    if session.connected and outbox is session.outbox:
        _complete(session, packet_id, known=True)


def _complete(session: Session, packet_id: int, *, known: bool) -> None:
    if known or session.version == 4:
        session.append(b"\x70\x02" + packet_id.to_bytes(2, "big"))
    else:
        code = ReasonCode.PACKET_IDENTIFIER_NOT_FOUND
        session.append(b"\x70\x03" + packet_id.to_bytes(2, "big") + bytes((code,)))


def _answer(session: Session, first: bytes, packet: Publish, receivers: int) -> None:
    # [MQTT-2.2.1-5] [MQTT-3.3.4-1] [MQTT311-2.3.1-6] [MQTT311-3.3.4-1]
    packet_id = packet.packet_id.to_bytes(2, "big")
    if receivers or session.version == 4:
        session.append(first + b"\x02" + packet_id)
    else:
        session.append(first + b"\x03" + packet_id + bytes((ReasonCode.NO_MATCHING_SUBSCRIBERS,)))


def _keep_lane(broker: Broker, session: Session, packet: Publish) -> None:
    """Leave a lane for the packets that follow, where there can be one."""
    if packet.topic_alias is not None or packet.topic.startswith("$") or session.outbox.pace is not None:
        return
    topic = packet.topic.encode()
    if topic not in session.lanes:
        route = session.tenant.routes.route(packet.topic)
        lane = route.lane(session.version, broker.settings.max_packet_bytes)
        if lane is not None:
            session.keep_lane(topic, lane)
