"""Why a PUBLISH is not taken: our limits, reserved names, rights."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from tokenmq.access.decide import Scope
from tokenmq.access.permission import Permission
from tokenmq.broker.remembering import reserved_name
from tokenmq.broker.session import Session
from tokenmq.config import BrokerSettings
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.mqtt.packets import Publish

if TYPE_CHECKING:
    from tokenmq.broker.tenant import Tenant


class Why(enum.StrEnum):
    """What kind of reason it is: for counting, and for those whose answers are no reason codes."""

    RIGHTS = "rights"
    RESERVED = "reserved_property"
    TOPIC = "topic_limits"
    SIZE = "size"
    FORMAT = "format"
    QUOTA = "quota"
    STORE = "store"
    REVOKED = "revoked"


class Refusal:
    """Why a PUBLISH is not taken."""

    __slots__ = ("code", "text", "why")

    def __init__(self, code: ReasonCode, text: str, why: Why = Why.RIGHTS) -> None:
        self.code = code
        self.text = text
        self.why = why


FULL = Refusal(ReasonCode.QUOTA_EXCEEDED, "the message cannot be stored now, try again later", Why.STORE)
# Of a publisher whose rights were revoked while its message waited.
REVOKED = Refusal(ReasonCode.NOT_AUTHORIZED, "the publisher was revoked", Why.REVOKED)


def refusal(settings: BrokerSettings, session: Session, packet: Publish) -> Refusal | None:
    """Return why a PUBLISH is refused, None where it is not; topics are judged once a session."""
    name = reserved_name(packet)
    if name is not None:
        return reserved(name)
    topic = packet.topic
    if topic in session.judgements:
        refused = session.judgements[topic]
    else:
        refused = judge(settings, session.tenant, session.scope, topic)
        if refused is None or refused.code != ReasonCode.TOPIC_NAME_INVALID:  # those may be long
            session.keep_judgement(topic, refused)
    if refused is None and packet.retain:
        return judge_retaining(settings, session.tenant, topic, packet.payload, packet.forward)
    return refused


def reserved(name: str) -> Refusal:
    """Return the refusal of a user property that only the broker may set."""
    return Refusal(ReasonCode.NOT_AUTHORIZED, f"user property {name[:64]} is reserved", Why.RESERVED)


def judge(settings: BrokerSettings, tenant: Tenant, scope: Scope, topic: str) -> Refusal | None:
    """Hold a topic against our limits and the right to publish to it."""
    if len(topic.encode()) > settings.max_topic_bytes:
        text = f"topic is longer than {settings.max_topic_bytes} bytes"
        return Refusal(ReasonCode.TOPIC_NAME_INVALID, text, Why.TOPIC)
    if topic.count("/") >= settings.max_topic_levels:
        text = f"topic has more than {settings.max_topic_levels} levels"
        return Refusal(ReasonCode.TOPIC_NAME_INVALID, text, Why.TOPIC)
    if not tenant.knows(topic):
        return Refusal(ReasonCode.NOT_AUTHORIZED, f"no topic begins with {topic.partition('/')[0][:64]}")
    decision = scope.on_topic(Permission.PUBLISH, topic)
    tenant.counters.decide("publish", allowed=decision.allowed)
    return None if decision.allowed else Refusal(ReasonCode.NOT_AUTHORIZED, decision.rule)


def judge_retaining(
    settings: BrokerSettings, tenant: Tenant, topic: str, payload: bytes, forward: bytes
) -> Refusal | None:
    """Hold a message that is to be retained against the limits for these."""
    size, most = len(payload) + len(forward), settings.max_retained_bytes
    if size > most:
        text = f"a retained message has {size} bytes, at most {most} are kept"
        return Refusal(ReasonCode.QUOTA_EXCEEDED, text, Why.SIZE)
    if payload and tenant.retained.get(topic) is None:
        most = tenant.rules.max_retained_messages
        if len(tenant.retained) >= most:
            text = f"the organization has {most} retained messages"
            return Refusal(ReasonCode.QUOTA_EXCEEDED, text, Why.QUOTA)
    return None
