"""PUBLISH to `$presence/<topic>`: what a member says of itself (the wire contract, "Presence").

Such a message is not routed, not retained, not recorded and no will: it sets the state of
its sender on the topic, JSON of any kind, or clears it (empty, or `null`). Who watches the
topic sees it. It is the sender's while it is present there, and no longer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tokenmq.access.permission import Permission
from tokenmq.broker import publishing
from tokenmq.broker.presence import is_present
from tokenmq.broker.refusals import Refusal, Why, reserved
from tokenmq.broker.remembering import reserved_name
from tokenmq.broker.watch import PREFIX
from tokenmq.errors import InvalidTopicName
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.mqtt.packets import Puback, Publish, Pubrec
from tokenmq.topics.name import check_name

if TYPE_CHECKING:
    from tokenmq.broker.broker import Broker
    from tokenmq.broker.session import Session

# The wire contract.
MAX_STATE_BYTES = 1_024
_NULL = b"null"


def take_state(broker: Broker, session: Session, packet: Publish) -> None:
    """Take in what was published to `$presence/<topic>`, and answer."""
    topic = packet.topic[len(PREFIX) :]
    state = packet.payload.strip()
    refused = _refusal(broker, session, packet, topic, state)
    if refused is not None:
        publishing.refuse(broker, session, packet, refused)
        return
    session.tenant.presence_of().set_state(session, topic, None if state in (b"", _NULL) else state)
    if packet.qos == 1:
        broker.send(session.outbox, Puback(packet_id=packet.packet_id))
    elif packet.qos == 2:
        session.unreleased.add(packet.packet_id)  # here alone: to take it in twice does no harm
        broker.send(session.outbox, Pubrec(packet_id=packet.packet_id))


def _refusal(broker: Broker, session: Session, packet: Publish, topic: str, state: bytes) -> Refusal | None:
    """Return why a state is not taken: its form, the right to it, that its sender is not there, too many."""
    name = reserved_name(packet)
    if name is not None:
        return reserved(name)
    if packet.retain:
        return Refusal(ReasonCode.NOT_AUTHORIZED, "a state is not retained: it is gone with its member")
    settings = broker.settings
    try:
        check_name(topic, max_bytes=settings.max_topic_bytes, max_levels=settings.max_topic_levels)
    except InvalidTopicName as error:
        return Refusal(ReasonCode.TOPIC_NAME_INVALID, str(error), Why.TOPIC)
    if not session.tenant.knows(topic):
        return Refusal(ReasonCode.NOT_AUTHORIZED, f"no topic begins with {topic.partition('/')[0][:64]}")
    decision = session.scope.on_topic(Permission.PRESENCE, topic)
    session.tenant.counters.decide("presence", allowed=decision.allowed)
    if not decision.allowed:
        return Refusal(ReasonCode.NOT_AUTHORIZED, decision.rule)
    if not is_present(session, topic):
        return Refusal(
            ReasonCode.NOT_AUTHORIZED, "the session is not present there: subscribe to the topic first"
        )
    if len(packet.payload) > MAX_STATE_BYTES:
        text = f"a state has {len(packet.payload)} bytes, at most {MAX_STATE_BYTES} are kept"
        return Refusal(ReasonCode.PAYLOAD_FORMAT_INVALID, text, Why.SIZE)
    if state and not _is_json(state):
        return Refusal(ReasonCode.PAYLOAD_FORMAT_INVALID, "a state is JSON or empty", Why.FORMAT)
    return _no_room(session, topic, state, settings.max_presence_states)


def _no_room(session: Session, topic: str, state: bytes, most: int) -> Refusal | None:
    presence = session.tenant.presence
    member = presence.members.get(session) if presence is not None else None
    known = member.states if member is not None else {}
    if not state or topic in known or len(known) < most:
        return None
    text = f"a session says something of itself on {most} topics at most"
    return Refusal(ReasonCode.QUOTA_EXCEEDED, text, Why.QUOTA)


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
