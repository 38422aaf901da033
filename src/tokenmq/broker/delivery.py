"""One message on its way to one session that gets its messages one by one (`backlog`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenmq.broker.records import DeliveryRecord

if TYPE_CHECKING:
    from tokenmq.access.decide import Scope
    from tokenmq.broker.backlog import Backlog
    from tokenmq.broker.message import Message
    from tokenmq.broker.shared import Group


class Delivery:
    """A message on its way to one session.

    Attributes:
        backlog: where it belongs.
        message: None once it is released.
        position: orders the deliveries of all sessions.
        scope: the rights under which it was judged last.
        group: the shared subscription that it came by.
        pending: it is reserved, and not due yet.
        under_way: bytes that it has gone out with over this connection, unacknowledged; 0: it has not.
        sent: it may have been sent before [MQTT-3.3.1-1] [MQTT311-3.3.1-1].
        restored: nobody knows whether it was.
        released: PUBREL is what is sent; nothing else will be.
        releasing: PUBREC has come, but that is not kept yet.
        prefix: what stands before its topic: `$history/count/`, else nothing.
        stamped: it says under which id the message is recorded.
    """

    __slots__ = (
        "backlog",
        "group",
        "identifiers",
        "message",
        "packet_id",
        "pending",
        "position",
        "prefix",
        "qos",
        "released",
        "releasing",
        "restored",
        "retain",
        "scope",
        "sent",
        "stamped",
        "under_way",
    )

    def __init__(
        self,
        backlog: Backlog,
        message: Message | None,
        packet_id: int,
        position: int,
        *,
        qos: int,
        retain: bool,
        identifiers: tuple[int, ...],
        group: Group | None,
        scope: Scope | None,
        prefix: str = "",
        stamped: bool = False,
    ) -> None:
        self.backlog = backlog
        self.message = message
        self.packet_id = packet_id
        self.position = position
        self.qos = qos
        self.retain = retain
        self.identifiers = identifiers
        self.group = group
        self.scope = scope
        self.pending = True
        self.under_way = 0
        self.sent = False
        self.restored = False
        self.released = False
        self.releasing = False
        self.prefix = prefix
        self.stamped = stamped

    @property
    def may_be_with_peer(self) -> bool:
        """Whether the peer may hold it until it is released."""
        return self.qos == 2 and self.sent

    @property
    def stands(self) -> bool:
        """Whether its session still is to get it."""
        return self.backlog.deliveries.get(self.packet_id) is self

    @property
    def record(self) -> DeliveryRecord:
        """What the store keeps of it."""
        return DeliveryRecord(
            session=self.backlog.session.number,
            packet_id=self.packet_id,
            position=self.position,
            message=0 if self.message is None or self.released else self.message.number,
            qos=self.qos,
            retain=self.retain,
            released=self.released,
            identifiers=self.identifiers,
            group=self.group.name if self.group is not None else "",
            prefix=self.prefix,
            stamped=self.stamped,
        )
