"""Whether one filter of a SUBSCRIBE is admitted, and what it asks for of the history.

A filter is admitted only if it lies within one granted filter (*covers*, never
*matches*: a grant of `chat/+` does not admit `chat/#`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tokenmq.broker import asking, suspending, watch, watching
from tokenmq.broker.asking import Asked
from tokenmq.errors import InvalidTopicFilter, ProtocolError
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.mqtt.packets import Subscribe
from tokenmq.mqtt.packets.subscribe import Subscription as Request
from tokenmq.topics.filter import check_filter, split_share

if TYPE_CHECKING:
    from tokenmq.broker.broker import Broker
    from tokenmq.broker.session import Session

# A connection's own events (the wire contract, section 3); anyone may listen to its own.
EVENTS_TOPIC = "$auth/events"


def judge(
    broker: Broker, session: Session, packet: Subscribe, request: Request, new: set[str]
) -> tuple[ReasonCode, str, Asked | None]:
    """Return the granted QoS, no text, and what is asked for of the history; or a refusal [MQTT-3.8.4-7].

    Args:
        new: filters that the same packet adds; added to.
    """
    topic_filter = request.topic_filter
    settings = broker.settings
    try:
        prefix, inner = asking.split_history(topic_filter)
        group, inner = (None, inner) if prefix else split_share(topic_filter)
        watched = inner[len(watch.PREFIX) :] if inner.startswith(watch.PREFIX) else None
        if watched is not None and inner != topic_filter:
            text = "presence cannot be shared, and has no history"
            return ReasonCode.TOPIC_FILTER_INVALID, text, None
        most_bytes = settings.max_topic_bytes
        if watched is not None:
            most_bytes = min(most_bytes, watch.MAX_FILTER_BYTES)
        check_filter(
            inner if watched is None else watched,
            max_bytes=most_bytes,
            max_levels=settings.max_topic_levels,
        )
        if inner == EVENTS_TOPIC and group is None and not prefix:
            return ReasonCode(min(request.qos, 1)), "", None
        asked = _asked(packet, prefix, group, inner) if watched is None else None
    except InvalidTopicFilter as error:
        return ReasonCode.TOPIC_FILTER_INVALID, str(error), None
    except ProtocolError as error:
        return ReasonCode(error.reason_code), str(error), None
    why = suspending.why_not(session.tenant, session.scope, inner, reads=asked is not None)
    broker.counters.decide("subscribe" if watched is None else "presence", allowed=why is None)
    if why is not None:
        return ReasonCode.NOT_AUTHORIZED, why, None
    most = settings.max_subscriptions_per_session
    is_new = not any(topic_filter in known for known in (session.subscriptions, session.joining, new))
    if is_new and len(session.subscriptions) + len(session.joining) + len(new) >= most:
        return ReasonCode.QUOTA_EXCEEDED, f"a session has at most {most} subscriptions", None
    most = settings.max_presence_filters
    if watched is not None and watching.is_full(session.tenant, watched, most, asked=new | session.joining):
        return ReasonCode.QUOTA_EXCEEDED, f"the organization watches {most} filters", None
    if is_new:
        new.add(topic_filter)
    return ReasonCode(request.qos if watched is None else 0), "", asked


def _asked(packet: Subscribe, prefix: str, group: str | None, inner: str) -> Asked | None:
    """Return what is asked for of the history, by user properties or by the filter's own count.

    Raises: ProtocolError 0x83, 0x8F.
    """
    asked = asking.asked_by(packet.user_properties) if packet.user_properties else None
    if prefix:
        asked = replace(asked or Asked(), count=asking.count_of(prefix))
    elif asking.is_history(inner):
        raise ProtocolError(ReasonCode.TOPIC_FILTER_INVALID, "history cannot be shared")
    if asked is not None and group is not None:
        raise ProtocolError(ReasonCode.TOPIC_FILTER_INVALID, "history cannot be shared")
    return asked
