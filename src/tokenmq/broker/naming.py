"""Ids of messages that wait before they are routed: given, given anew, taken back (see `recording`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenmq.broker.records import HistoryRecord
from tokenmq.broker.refusals import FULL

if TYPE_CHECKING:
    from tokenmq.access.recording import HistoryRule
    from tokenmq.broker.broker import Broker
    from tokenmq.broker.publication import Publication


def begin(broker: Broker, publication: Publication, rule: HistoryRule) -> None:
    """Give a message that waits its id, and have it recorded along if its rule is durable.

    Effects: without an id it is refused where the rule is durable, else not recorded, and counted.
    """
    session, message = publication.session, publication.message
    durable = rule.durable and message.qos > 0
    record = broker.recorder.record_of(session, message, rule)
    message.name(record)
    publication.is_recorded = durable
    if record is not None:
        session.tenant.history.pending[record.id] = None
        if durable:
            broker.keeping.put(record, owned=True)
    elif durable:
        publication.refused = FULL
    else:
        broker.recorder.note_lost(session.tenant, 1)


def must_wait(broker: Broker, publication: Publication) -> bool:
    """See to it that a message that could be routed now has the id that it is to have.

    One that comes through late, after greater ids, or that has none yet gets another.

    Returns: whether it waits: for its own record, or behind other messages with ids.
    """
    message, tenant = publication.message, publication.session.tenant
    rule = tenant.routes.route(message.topic).rule
    if rule is None and message.recorded is None:
        return False
    durable = rule is not None and rule.durable and message.qos > 0
    is_late = message.recorded is None or message.recorded.id < tenant.history.newest
    if not is_late and publication.is_recorded >= durable:
        return False
    undo(broker, publication)
    if rule is None:
        return False
    begin(broker, publication, rule)
    if publication.refused is not None or message.recorded is None:
        return False
    return durable or len(tenant.history.pending) > 1


def undo(broker: Broker, publication: Publication) -> None:
    """Take back the id of a message, and what is recorded of it, if anything is."""
    record = publication.message.recorded
    if record is None:
        return
    publication.message.name(None)
    publication.session.tenant.history.pending.pop(record.id, None)
    if publication.is_recorded and publication.kept:
        broker.keeping.drop(HistoryRecord, record.id)
    publication.is_recorded = False


def finish(broker: Broker, publication: Publication) -> None:
    """Have a message that is routed in this step recorded, if it is not yet."""
    record, tenant = publication.message.recorded, publication.session.tenant
    if record is not None:
        tenant.history.pending.pop(record.id, None)
        tenant.history.newest = record.id
        if not publication.is_recorded:
            broker.recorder.add(tenant, record)
