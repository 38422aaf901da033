"""SUBSCRIBE and UNSUBSCRIBE: one answer for each filter, in order [MQTT-3.8.4-6] [MQTT311-3.8.4-5].

A filter is admitted only if it lies within one granted filter (*covers*, never
*matches*: a grant of `chat/+` does not admit `chat/#`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenmq.access.permission import Permission
from tokenmq.broker.session import Subscription
from tokenmq.errors import InvalidTopicFilter
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.mqtt.packets import Suback, Subscribe, Unsuback, Unsubscribe
from tokenmq.mqtt.packets.subscribe import Subscription as Request
from tokenmq.topics.filter import check_filter, split_share

if TYPE_CHECKING:
    from tokenmq.broker.broker import Broker
    from tokenmq.broker.session import Session

# A connection's own events (the wire contract, section 3); anyone may listen to its own.
EVENTS_TOPIC = "$auth/events"


def subscribe(broker: Broker, session: Session, packet: Subscribe) -> None:
    """Judge every filter of a SUBSCRIBE, admit what may be, answer with one SUBACK.

    That is [MQTT-3.8.4-1] [MQTT-3.8.4-5] [MQTT311-3.8.4-1] [MQTT311-3.8.4-4], with its packet identifier
    [MQTT-2.2.1-6] [MQTT-3.8.4-2] [MQTT311-2.3.1-7] [MQTT311-3.8.4-2], the codes in the order of the
    filters [MQTT-3.9.3-1] [MQTT311-3.9.3-1].
    """
    codes: list[ReasonCode] = []
    refused: list[tuple[str, str]] = []
    for index, request in enumerate(packet.subscriptions):
        identifier = packet.subscription_identifier or 0
        if index >= broker.settings.max_filters_per_subscribe:
            code, text = ReasonCode.QUOTA_EXCEEDED, "too many filters in one SUBSCRIBE"
        else:
            code, text = _judge(broker, session, request)
            if code < ReasonCode.UNSPECIFIED_ERROR:
                _admit(broker, session, request, identifier)
        codes.append(code)
        if text:
            refused.append((request.topic_filter, text))
    reason_string = None
    if refused:
        reason_string = "; ".join(dict.fromkeys(text for _, text in refused))
        _report_refused(broker, session, refused)
    broker.send(
        session.outbox,
        Suback(packet_id=packet.packet_id, reason_codes=tuple(codes), reason_string=reason_string),
    )


def unsubscribe(broker: Broker, session: Session, packet: Unsubscribe) -> None:
    """End subscriptions by their exact filter [MQTT-3.10.4-1], answer with one UNSUBACK.

    By the filter: [MQTT311-3.10.4-1]. Nothing new is added [MQTT-3.10.4-2] [MQTT311-3.10.4-2], what is
    under way stays [MQTT-3.10.4-3] [MQTT311-3.10.4-3]. One UNSUBACK with the packet identifier, whatever was
    there: [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6] [MQTT311-3.10.4-4] [MQTT311-3.10.4-5]
    [MQTT311-3.10.4-6], its codes in the order of the filters [MQTT-3.11.3-1].
    """
    codes: list[ReasonCode] = []
    for topic_filter in packet.topic_filters:
        if topic_filter == EVENTS_TOPIC:
            codes.append(ReasonCode.SUCCESS if session.listens else ReasonCode.NO_SUBSCRIPTION_EXISTED)
            session.listens = False
            continue
        subscription = session.subscriptions.pop(topic_filter, None)
        if subscription is None:
            codes.append(ReasonCode.NO_SUBSCRIPTION_EXISTED)
            continue
        session.tenant.routes.unsubscribe(subscription)
        codes.append(ReasonCode.SUCCESS)
    broker.send(session.outbox, Unsuback(packet_id=packet.packet_id, reason_codes=tuple(codes)))


def _judge(broker: Broker, session: Session, request: Request) -> tuple[ReasonCode, str]:
    """Return the granted QoS and no text, or a refusal with its reason [MQTT-3.8.4-7]."""
    topic_filter = request.topic_filter
    settings = broker.settings
    try:
        group, inner = split_share(topic_filter)
        check_filter(inner, max_bytes=settings.max_topic_bytes, max_levels=settings.max_topic_levels)
    except InvalidTopicFilter as error:
        return ReasonCode.TOPIC_FILTER_INVALID, str(error)
    if inner == EVENTS_TOPIC and group is None:
        return ReasonCode(min(request.qos, 1)), ""
    if not session.tenant.knows(inner):
        return ReasonCode.NOT_AUTHORIZED, f"nobody can subscribe to {inner.partition('/')[0]}"
    decision = session.scope.on_filter(Permission.SUBSCRIBE, inner)
    if not decision.allowed:
        return ReasonCode.NOT_AUTHORIZED, decision.rule
    if group is not None:
        return ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED, "shared subscriptions are not available"
    most = settings.max_subscriptions_per_session
    if topic_filter not in session.subscriptions and len(session.subscriptions) >= most:
        return ReasonCode.QUOTA_EXCEEDED, f"a session has at most {most} subscriptions"
    return ReasonCode(min(request.qos, 1)), ""


def _report_refused(broker: Broker, session: Session, refused: list[tuple[str, str]]) -> None:
    """Tell of the first filter and how many there were: a packet holds as many as its sender likes."""
    topic_filter, text = refused[0]
    broker.report(
        "subscribe_refused",
        org_id=session.tenant.org_id,
        client_id=session.client_id,
        user_id=session.identity.user_id,
        topic_filter=topic_filter[:256],
        reason=text,
        count=len(refused),
    )


def _admit(broker: Broker, session: Session, request: Request, identifier: int) -> None:
    if request.topic_filter == EVENTS_TOPIC:
        broker.listen(session)
        return
    replaced = session.subscriptions.get(request.topic_filter)
    if replaced is not None:  # [MQTT-3.8.4-3]
        session.tenant.routes.unsubscribe(replaced)
    subscription = Subscription(
        session,
        request.topic_filter,
        qos=min(request.qos, 1),
        no_local=request.no_local,
        retain_as_published=request.retain_as_published,
        identifier=identifier,
    )
    session.subscriptions[request.topic_filter] = subscription
    session.tenant.routes.subscribe(subscription)
