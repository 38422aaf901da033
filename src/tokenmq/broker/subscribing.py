"""SUBSCRIBE and UNSUBSCRIBE: one answer for each filter, in order [MQTT-3.8.4-6] [MQTT311-3.8.4-5].

`judging` says which filters are admitted.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from tokenmq.broker import replaying, retaining, suspending, watch, watching
from tokenmq.broker.asking import Asked
from tokenmq.broker.judging import EVENTS_TOPIC, judge
from tokenmq.broker.records import SubscriptionRecord
from tokenmq.broker.subscription import Subscription
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.mqtt.packets import Suback, Subscribe, Unsuback, Unsubscribe
from tokenmq.mqtt.packets.subscribe import Subscription as Request

if TYPE_CHECKING:
    from tokenmq.broker.broker import Broker
    from tokenmq.broker.outbox import Outbox
    from tokenmq.broker.reading import Reading
    from tokenmq.broker.session import Session

# User property of SUBACK, one for each filter that asked for history and was admitted.
RECORDED = "tokenmq-history-recorded"
# What a filter takes beside its text while it waits for the store, about.
_OVERHEAD_BYTES = 512


class Admitted(NamedTuple):
    """What a SUBSCRIBE asks for, and may have.

    Attributes:
        asked: what of the history; None: nothing.
        seam: the newest id that had been routed when it was asked for.
        former: what a subscription that it replaces was still to get, and it is to get now.
    """

    request: Request
    subscription: Subscription
    asked: Asked | None
    seam: int
    former: Reading | None = None


def subscribe(broker: Broker, session: Session, packet: Subscribe) -> None:
    """Judge every filter of a SUBSCRIBE, admit what may be, answer with one SUBACK.

    Where the session outlives its connection, that is when the subscriptions are kept: what
    is acknowledged after that is kept for them, too.

    That is [MQTT-3.8.4-1] [MQTT-3.8.4-5] [MQTT311-3.8.4-1] [MQTT311-3.8.4-4], with its packet identifier
    [MQTT-2.2.1-6] [MQTT-3.8.4-2] [MQTT311-2.3.1-7] [MQTT311-3.8.4-2], the codes in the order of the
    filters [MQTT-3.9.3-1] [MQTT311-3.9.3-1].
    """
    codes: list[ReasonCode] = []
    refused: list[tuple[str, str]] = []
    admitted: list[Admitted] = []
    new: set[str] = set()
    for index, request in enumerate(packet.subscriptions):
        if index >= broker.settings.max_filters_per_subscribe:
            code, text = ReasonCode.QUOTA_EXCEEDED, "too many filters in one SUBSCRIBE"
        else:
            code, text, asked = judge(broker, session, packet, request, new)
            if code < ReasonCode.UNSPECIFIED_ERROR:
                subscription = _subscription(session, packet, request, reads=asked is not None)
                seam = replaying.seam_of(broker, session)
                admitted.append(Admitted(request, subscription, asked, seam))
        codes.append(code)
        if text:
            refused.append((request.topic_filter, text))
    reason_string = None
    if refused:
        reason_string = "; ".join(dict.fromkeys(text for _, text in refused))
        _report_refused(broker, session, refused)
    suback = Suback(packet_id=packet.packet_id, reason_codes=tuple(codes), reason_string=reason_string)
    outbox = session.outbox
    kept = [one.subscription for one in admitted if one.subscription.topic_filter != EVENTS_TOPIC]
    if not session.number or not kept:
        _admit(broker, session, outbox, admitted, suback)
        return
    broker.keep_session(session)
    for subscription in kept:
        broker.keeping.put(subscription.record, owned=True)
    session.joining |= new
    size = _size(request.topic_filter for request in packet.subscriptions)
    session.wait(size)
    broker.keeping.when_kept(partial(_kept, broker, session, outbox, admitted, suback, size))


def unsubscribe(broker: Broker, session: Session, packet: Unsubscribe) -> None:
    """End subscriptions by their exact filter [MQTT-3.10.4-1], answer with one UNSUBACK.

    By the filter: [MQTT311-3.10.4-1]. Nothing new is added [MQTT-3.10.4-2] [MQTT311-3.10.4-2], what is
    under way stays [MQTT-3.10.4-3] [MQTT311-3.10.4-3]. One UNSUBACK with the packet identifier, whatever was
    there: [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6] [MQTT311-3.10.4-4] [MQTT311-3.10.4-5]
    [MQTT311-3.10.4-6], its codes in the order of the filters [MQTT-3.11.3-1].
    """
    outbox = session.outbox
    if not session.number:
        _take_out(broker, session, outbox, packet, frozenset())
        return
    # A packet holds as many filters as its sender likes; only those that are there cost a row.
    known = frozenset(packet.topic_filters) & (session.subscriptions.keys() | session.joining)
    for topic_filter in known:
        broker.keeping.drop(SubscriptionRecord, (session.number, topic_filter))
    size = _size(packet.topic_filters)
    session.wait(size)
    # In its turn: a SUBSCRIBE of the same filter may still wait for the store.
    broker.keeping.when_kept(partial(_dropped, broker, session, outbox, packet, known, size))


def _dropped(
    broker: Broker,
    session: Session,
    outbox: Outbox,
    packet: Unsubscribe,
    dropped: frozenset[str],
    size: int,
    *,
    kept: bool,
) -> None:
    """End subscriptions that the store has dropped, or will drop as soon as it can."""
    del kept
    session.go_on(size)
    _take_out(broker, session, outbox, packet, dropped)


def _take_out(
    broker: Broker, session: Session, outbox: Outbox, packet: Unsubscribe, dropped: frozenset[str]
) -> None:
    """End subscriptions and answer; what was not dropped from the store is dropped now."""
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
        watching.end(session, topic_filter)
        broker.leave_subscription(subscription)
        if subscription.history:
            replaying.stop_of(session, subscription)
        if session.number and topic_filter not in dropped:
            broker.keeping.drop(SubscriptionRecord, (session.number, topic_filter))
        if session.replays:
            session.replays.pop(topic_filter, None)
        codes.append(ReasonCode.SUCCESS)
    if outbox is session.outbox and session.connected:
        broker.send(outbox, Unsuback(packet_id=packet.packet_id, reason_codes=tuple(codes)))


def _size(topic_filters: Iterable[str]) -> int:
    """Return what a packet with these filters takes while it waits for the store, about."""
    return sum(len(topic_filter) + _OVERHEAD_BYTES for topic_filter in topic_filters)


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


def _subscription(session: Session, packet: Subscribe, request: Request, *, reads: bool) -> Subscription:
    return Subscription(
        session,
        request.topic_filter,
        qos=0 if request.topic_filter.startswith(watch.PREFIX) else request.qos,
        no_local=request.no_local,
        retain_as_published=request.retain_as_published,
        identifier=packet.subscription_identifier or 0,
        history=reads,
    )


def _kept(
    broker: Broker,
    session: Session,
    outbox: Outbox,
    admitted: list[Admitted],
    suback: Suback,
    size: int,
    *,
    kept: bool,
) -> None:
    """Admit what is kept now; what could not be is refused."""
    session.go_on(size)
    if session.ended:
        return
    session.joining -= {one.subscription.topic_filter for one in admitted}
    if kept:
        session.is_kept = True
        still, suback = _judge_again(broker, session, admitted, suback)
        _admit(broker, session, outbox, still, suback)
        return
    codes = tuple(
        code if code >= ReasonCode.UNSPECIFIED_ERROR else ReasonCode.QUOTA_EXCEEDED
        for code in suback.reason_codes
    )
    if outbox is session.outbox and session.connected:
        text = "subscriptions cannot be stored now, try again later"
        broker.send(outbox, Suback(packet_id=suback.packet_id, reason_codes=codes, reason_string=text))


def _judge_again(
    broker: Broker, session: Session, admitted: list[Admitted], suback: Suback
) -> tuple[list[Admitted], Suback]:
    """Leave out what its session has lost the right to while it waited for the store."""
    lost: dict[str, str] = {}
    for one in admitted:
        subscription, asked = one.subscription, one.asked
        topic_filter = subscription.topic_filter
        why = None
        if topic_filter != EVENTS_TOPIC:
            inner = subscription.inner_filter
            why = suspending.why_not(session.tenant, session.scope, inner, reads=asked is not None)
        if why is not None:
            lost[topic_filter] = why
            earlier = session.subscriptions.get(topic_filter)
            if earlier is None:
                broker.keeping.drop(SubscriptionRecord, (session.number, topic_filter))
            else:
                broker.keeping.put(earlier.record)
    if not lost:
        return admitted, suback
    _report_refused(broker, session, list(lost.items()))
    # What was admitted stands in the order of the codes that say so.
    each = iter(admitted)
    codes = tuple(
        ReasonCode.NOT_AUTHORIZED
        if code < ReasonCode.UNSPECIFIED_ERROR and next(each).subscription.topic_filter in lost
        else code
        for code in suback.reason_codes
    )
    texts = [text for text in (suback.reason_string, *lost.values()) if text]
    suback = Suback(
        packet_id=suback.packet_id, reason_codes=codes, reason_string="; ".join(dict.fromkeys(texts))
    )
    return [one for one in admitted if one.subscription.topic_filter not in lost], suback


def _admit(
    broker: Broker,
    session: Session,
    outbox: Outbox,
    admitted: list[Admitted],
    suback: Suback,
) -> None:
    """Put subscriptions in force, answer, and send what is retained."""
    here = outbox is session.outbox and session.connected
    older: dict[str, tuple[Admitted, bool]] = {}
    for one in admitted:
        request, subscription = one.request, one.subscription
        if subscription.topic_filter == EVENTS_TOPIC:
            if here:
                broker.listen(session, subscription.identifier)
            continue
        replaced = session.subscriptions.get(subscription.topic_filter)
        if replaced is not None:  # [MQTT-3.8.4-3] [MQTT311-3.8.4-3]
            session.tenant.routes.unsubscribe(replaced)
        if subscription.topic_filter in older:  # named twice
            before, _ = older[subscription.topic_filter]
            one = one._replace(seam=before.seam, former=before.former)
            subscription.since = before.subscription.since
        else:
            one = _resume(broker, session, one, replaced, here=here)
        if subscription.group is not None and subscription.qos:
            broker.give_backlog(session)
        broker.enter_subscription(subscription)
        if replaced is not None and session.tenant.presence is not None:
            session.tenant.presence.left(replaced)  # after the new one: nobody leaves and joins by it
        is_new = replaced is None  # [MQTT-3.3.1-10] [MQTT-3.3.1-11] [MQTT-3.8.4-4]
        retains = subscription.group is None and (
            request.retain_handling == 0 or (request.retain_handling == 1 and is_new)
        )
        older[subscription.topic_filter] = (one, retains)
    if here:
        broker.send(outbox, _telling(suback, admitted))
    _send_older(broker, session, older.values(), here=here)


def _send_older(
    broker: Broker, session: Session, older: Iterable[tuple[Admitted, bool]], *, here: bool
) -> None:
    """Begin with what is there already: members, what is recorded, what is retained."""
    for one, retains in older:
        if one.subscription.watched is not None:
            # If its client has come back since, over the connection that there is.
            watching.begin(broker, one.subscription)
        elif not here:
            continue
        elif one.asked is not None:
            replaying.begin(one.subscription, one.asked, one.seam, one.former, retains=retains)
        elif retains:
            retaining.begin(broker, one.subscription)
    if here:
        replaying.go_on(broker, session)


def _resume(
    broker: Broker, session: Session, one: Admitted, replaced: Subscription | None, *, here: bool
) -> Admitted:
    """Tell where a replay meets what comes live, by the subscription that is replaced too.

    Effects: what that was still to get is not sent any more, unless its place is taken.
    """
    seam = replaying.seam_of(broker, session)
    one.subscription.since = seam
    if replaced is None or not replaced.history:
        return one._replace(seam=seam)
    former = replaying.of(session, replaced)
    if one.asked is None or not here:
        replaying.stop_of(session, replaced)
        former = None
    session.unmark(replaced)
    if replaced.no_local or replaced.suspended:  # not all that came since has come by it
        return one._replace(seam=seam, former=former)
    one.subscription.since = replaced.since
    seam = max(one.seam, replaced.since) if former is None else former.seam
    return one._replace(seam=seam, former=former)


def _telling(suback: Suback, admitted: list[Admitted]) -> Suback:
    """Have a SUBACK tell whether what was asked for is recorded at all."""
    told = tuple(
        (RECORDED, "true" if replaying.is_recorded(one.subscription) else "false")
        for one in admitted
        if one.asked is not None
    )
    return msgspec.structs.replace(suback, user_properties=told) if told else suback
