"""Shared subscriptions when a member goes or loses its right: what it had not got goes to another.

A message at QoS 1 that was not acknowledged may have been received, so the other may get it
a second time; one at QoS 2 that was sent must not [MQTT-4.8.2-5].
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenmq.broker.broker import Broker
    from tokenmq.broker.delivery import Delivery
    from tokenmq.broker.tenant import Tenant


def pass_on(broker: Broker, tenant: Tenant, deliveries: Iterable[Delivery]) -> None:
    """Give deliveries that a session is not to get any more to other members of their groups."""
    for delivery in deliveries:
        message = delivery.message
        if message is None or delivery.group is None or delivery.pending or delivery.may_be_with_peer:
            continue
        chosen = delivery.group.another(message.topic)
        if chosen is None or chosen.session.backlog is None:
            continue
        session, backlog = chosen.session, chosen.session.backlog
        moved = backlog.reserve(
            message,
            broker.next_position(),
            qos=min(message.qos, chosen.qos),  # [MQTT-4.8.2-3]
            retain=delivery.retain,
            identifiers=(chosen.identifier,) if chosen.identifier else (),
            group=delivery.group,
        )
        if moved is None:
            session.note_lost(1)
            continue
        if session.number:
            if not message.number:
                broker.keep_message(tenant, message, owned=False)
            backlog.keep(moved, owned=False)
        backlog.add(moved)
