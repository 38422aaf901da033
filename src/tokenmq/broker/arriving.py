"""Messages that may not be acknowledged before they are kept, and what must wait behind them.

A message waits for the store if it is to be retained, if a session that outlives its
connection is to get it at QoS 1 or 2, if it came at QoS 2 from such a session, or at QoS 1 or 2
under a durable rule of history. What the same publisher sends after it waits behind it, so
that order holds; `recording` has others wait behind it.

Theory of operation. A `Publication` is begun as it arrives: judged, its receivers in the
store chosen, their rows noted. When its rows are kept and everything before it is through,
it is finished: judged again, routed to those subscribed and allowed *then*, answered. If by
then somebody else is to have it in the store, it is begun once more and waits again; if
somebody is not to have it any more, their row is dropped. Publications of one publisher are
finished in order; the store answers in order, so hardly one ever waits for another's sake.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tokenmq.access.permission import Permission
from tokenmq.broker import naming, publishing, retaining, wills
from tokenmq.broker.publication import Arriving, For, Publication, Told
from tokenmq.broker.records import ReceivedRecord, RetainedRecord
from tokenmq.broker.refusals import FULL, REVOKED, Refusal, refusal
from tokenmq.mqtt.packets import Publish

if TYPE_CHECKING:
    from tokenmq.broker.broker import Broker
    from tokenmq.broker.delivery import Delivery
    from tokenmq.broker.outbox import Outbox
    from tokenmq.broker.routing import Target
    from tokenmq.broker.session import Session
    from tokenmq.broker.shared import Group


def arrive(
    broker: Broker, session: Session, packet: Publish, outbox: Outbox | None, told: Told | None = None
) -> None:
    """Take in a message that may have to wait; a will has no connection any more."""
    message = publishing.message_of(packet, broker.moment.now)
    publication = Publication(session, packet, message, outbox, broker.next_position())
    publication.told = told
    if session.arriving is None:
        session.arriving = Arriving(session.tenant.unstored)
    session.arriving.append(publication)
    _begin(broker, publication)
    _go_on(broker, session)


# To begin


def _begin(broker: Broker, publication: Publication) -> None:
    """Judge, and have kept what must be."""
    session, packet = publication.session, publication.packet
    publication.ready = True
    publication.refused = refusal(broker.settings, session, packet)
    if publication.refused is not None:
        return
    route = session.tenant.routes.route(packet.topic)
    if packet.qos and route.rule is not None and (route.rule.durable or route.keeps_stamps):
        naming.begin(broker, publication, route.rule)
        if publication.refused is not None:
            return
    waits = publication.is_recorded
    if publication.is_received:
        session.unreleased.add(packet.packet_id)
        publication.counted = True
        if session.number:
            broker.keep_session(session)
            broker.keeping.put(ReceivedRecord(session.number, packet.packet_id), owned=True)
            waits = True
    if packet.retain:
        publication.note = session.tenant.retained.notes.begin(packet.topic)
        _keep_retained(broker, publication)
        waits = True
    if packet.qos:
        waits = _reserve(broker, publication) or waits
    if waits:
        _wait(broker, publication, owes=True)


def _reserve(broker: Broker, publication: Publication) -> bool:
    """Reserve deliveries for those who get it one by one and have none yet.

    Returns: whether some of these are kept in the store.
    """
    message = publication.message
    kept = False
    for key, target, group in _lacking(publication):
        backlog = target.session.backlog
        if backlog is None:
            continue
        delivery = backlog.reserve(
            message,
            publication.position,
            qos=min(message.qos, target.qos),
            retain=message.retain and target.retain_as_published,
            identifiers=target.identifiers,
            group=group,
            prefix=target.prefix,
            stamped=target.stamped,
        )
        if delivery is None:  # no packet identifier is left: as if its queue were full
            target.session.note_lost(1)
            continue
        publication.deliveries[key] = delivery
        if target.session.number:
            if not message.number or (target.stamped and publication.noted_id != message.history_id):
                _keep_message(broker, publication)
            backlog.keep(delivery, owned=True)
            kept = True
    return kept


def _keep_message(broker: Broker, publication: Publication) -> None:
    publication.noted_id = publication.message.history_id
    broker.keep_message(publication.session.tenant, publication.message, owned=True)


def _lacking(publication: Publication) -> list[tuple[For, Target, Group | None]]:
    """Return who is to get it one by one, as things stand, and has nothing reserved."""
    session, message, deliveries = publication.session, publication.message, publication.deliveries
    route = session.tenant.routes.route(message.topic)
    found: list[tuple[For, Target, Group | None]] = []
    if not route.one_by_one:
        return found
    for target in route.targets:
        own = target.for_own if target.session is session else target
        if own is not None and own.qos and own.session.backlog is not None and own.key not in deliveries:
            found.append((own.key, own, None))
    for candidates in route.groups:
        group = candidates.group
        reserved = deliveries.get(group)
        if reserved is not None and not _may_have(reserved, group, message.topic):
            _give_up(publication, group)
            reserved = None
        if reserved is None and (chosen := candidates.choose(message.qos)) is not None:
            found.append((group, chosen, group))
    return found


def _may_have(delivery: Delivery, group: Group, topic: str) -> bool:
    """Tell whether the member that was chosen is still one that may receive the topic."""
    session = delivery.backlog.session
    subscription = group.members.get(session)
    if not delivery.stands or subscription is None or not subscription.qos or subscription.suspended:
        return False
    return session.scope.on_topic(Permission.SUBSCRIBE, topic).allowed


def _give_up(publication: Publication, key: For) -> None:
    delivery = publication.deliveries.pop(key)
    delivery.backlog.forget(delivery, stored=publication.kept)


def _keep_retained(broker: Broker, publication: Publication) -> None:
    publication.noted_id = publication.message.history_id
    record = retaining.record_of(broker, publication.session, publication.message)
    if record is None:
        broker.keeping.drop(RetainedRecord, (publication.session.tenant.org_id, publication.packet.topic))
    else:
        broker.keeping.put(record, owned=True)


def _wait(broker: Broker, publication: Publication, *, owes: bool) -> None:
    publication.ready = False
    publication.owes = owes
    broker.keeping.when_kept(partial(_kept, broker, publication))


# To go on


def _kept(broker: Broker, publication: Publication, *, kept: bool) -> None:
    publication.ready = True
    if not publication.owes:
        pass
    elif not kept:
        publication.refused = FULL
    else:
        publication.kept = True
        if publication.is_received and publication.session.number:
            publication.session.is_kept = True
    _go_on(broker, publication.session)


def _go_on(broker: Broker, session: Session) -> None:
    """Finish what is through, in order."""
    arriving = session.arriving
    while arriving is not None and (publication := arriving.first()) is not None:
        waits = False
        if publication.refused is None and not session.disowned:
            publication.refused = refusal(broker.settings, session, publication.packet)
            waits = publication.refused is None and _must_wait_again(broker, publication)
        if session.disowned:
            _undo(broker, publication)
            if publication.told is not None:
                publication.told(REVOKED)
        elif publication.refused is not None:
            _undo(broker, publication)
            _refuse(broker, publication, publication.refused)
        elif waits:
            return
        else:
            _finish(broker, publication)
        arriving.pop()
    if not arriving:
        broker.lives.forget(session)
    if session.connected and session.outbox.held:
        session.touch()


def _must_wait_again(broker: Broker, publication: Publication) -> bool:
    """Have kept what is to be kept as things stand now and is not; wait again if there was anything."""
    packet, tenant = publication.packet, publication.session.tenant
    behind = naming.must_wait(broker, publication)
    if publication.refused is not None:
        return False
    owes = behind and publication.is_recorded
    if packet.qos and _reserve(broker, publication):
        owes = True
    if packet.retain and tenant.retained.notes.is_stale(packet.topic, publication.note):
        publication.note = tenant.retained.notes.add()
        _keep_retained(broker, publication)
        owes = True
    if owes or behind:
        _wait(broker, publication, owes=owes)
    return owes or behind


def _refuse(broker: Broker, publication: Publication, refused: Refusal) -> None:
    """Tell why a message is not taken, as whoever sent it can be told."""
    session, packet = publication.session, publication.packet
    if publication.outbox is None and publication.told is None:
        wills.tell_refused(broker, session, packet.topic, refused)
        return
    publishing.refuse(broker, session, packet, refused, answers=publication.is_answered)
    if publication.told is not None:
        publication.told(refused)


def _undo(broker: Broker, publication: Publication) -> None:
    """Take back what was reserved for a message that is not taken after all.

    Of what the store has refused there is nothing to drop: while it refuses everything, that
    would pile up.
    """
    session, packet = publication.session, publication.packet
    naming.undo(broker, publication)
    if not publication.kept:
        publication.message.number = 0
    for key in list(publication.deliveries):
        _give_up(publication, key)
    if publication.counted:
        session.unreleased.discard(packet.packet_id)
        if session.number and publication.kept:
            broker.keeping.drop(ReceivedRecord, (session.number, packet.packet_id))
    if publication.note:
        if publication.kept:
            retaining.keep_as_it_is(broker, session.tenant, packet.topic)
        session.tenant.retained.notes.end(packet.topic)


def _finish(broker: Broker, publication: Publication) -> None:
    """Route to those who are subscribed and allowed now, and answer."""
    session, packet, message = publication.session, publication.packet, publication.message
    naming.finish(broker, publication)
    is_named = publication.noted_id == message.history_id
    if (
        message.number
        and not is_named
        and any(delivery.stamped for delivery in publication.deliveries.values())
    ):
        broker.keep_message(session.tenant, message, owned=False)
    if packet.retain:
        retaining.retain(broker, session, message)
        session.tenant.retained.notes.follow(packet.topic, publication.note)
        if not is_named:
            retaining.keep_as_it_is(broker, session.tenant, packet.topic)
        session.tenant.retained.notes.end(packet.topic)
    receivers = publishing.route(broker, session, message, publication.deliveries, waited=True)
    for key in list(publication.deliveries):  # who is not to get it any more
        _give_up(publication, key)
    if publication.is_received and publication.is_answered:
        publishing.received(session, packet, receivers)
    elif publication.is_owed_puback:
        publishing.acknowledge(session, packet, receivers)
    elif publication.told is not None:
        publication.told(None)
