"""One MQTT session: who it is, what it may do, what it subscribed to.

How messages reach it is `receiver`'s affair.
"""

from __future__ import annotations

from sys import getsizeof
from typing import TYPE_CHECKING

from tokenmq.access.decide import Scope
from tokenmq.access.identity import Identity
from tokenmq.broker.outbox import Outbox
from tokenmq.broker.receiver import Receiver
from tokenmq.config import BrokerSettings
from tokenmq.errors import ProtocolError
from tokenmq.mqtt import properties
from tokenmq.mqtt.codes import PacketType
from tokenmq.mqtt.packets import Publish

if TYPE_CHECKING:
    from tokenmq.broker.lane import Lane
    from tokenmq.broker.publishing import Refusal
    from tokenmq.broker.tenant import Tenant

# User properties whose names begin so are the broker's own (the wire contract, section 3).
_RESERVED = "tokenmq-"
# Topics of one session whose judgement is kept; enough for a client's working set.
_MAX_JUDGEMENTS = 1_024
# Lanes of one session that are kept, for the same reason.
_MAX_LANES = 1_024
# What the topics among these may take, each of the two: they may be long. Whatever was
# forgotten since it was last emptied still counts, so it is emptied too soon at worst.
_MAX_REMEMBERED_BYTES = 128 * 1_024
# Property blocks of one session that are kept: most clients send the same few.
_MAX_BLOCKS = 64
# MQTT 5 §1.5.5: longer ones have a length of two bytes or more.
_MAX_BLOCK_BYTES = 127
# The block of a PUBLISH without properties.
_NO_PROPERTIES = b"\x00"


def reserved_name(packet: Publish) -> str | None:
    """Return the name of a user property that only the broker may set, None if there is none."""
    for name, _ in packet.user_properties:
        if name.startswith(_RESERVED):
            return name
    return None


class Subscription:
    """One subscription of one session (MQTT 5 §3.8.3.1).

    Attributes:
        topic_filter: as it was asked for.
        qos: the maximum that was granted, 0 or 1.
        no_local: do not send back what this session publishes.
        retain_as_published: kept and told; it has no effect without retained messages.
        identifier: the Subscription Identifier, 0 for none.
    """

    __slots__ = ("identifier", "no_local", "qos", "retain_as_published", "session", "topic_filter")

    def __init__(
        self,
        session: Session,
        topic_filter: str,
        *,
        qos: int,
        no_local: bool,
        retain_as_published: bool,
        identifier: int,
    ) -> None:
        self.session = session
        self.topic_filter = topic_filter
        self.qos = qos
        self.no_local = no_local
        self.retain_as_published = retain_as_published
        self.identifier = identifier


class Session(Receiver):
    """A session and the connection that it lives with.

    Attributes:
        tenant: the organization that it belongs to.
        identity: who is connected.
        scope: what that identity may do.
        version: protocol version of its connection, 4 or 5.
        judgements: why publishing to a topic is refused, None where it is not.
        lanes: by the raw bytes of a topic, see `lane`.
        blocks: raw property blocks, with their length, that were looked at and go on as they
            are, and whether they say that the payload is UTF-8; empty in 3.1.1.
        listens: it has subscribed to its own events.
        denied_told_at: when it was last told of a refusal, unix seconds.
        expiry_second: its place in the wheel of expiries, None if it does not expire.
        warning_second: likewise in the wheel of warnings.
        opened_at: unix seconds.
    """

    __slots__ = (
        "_judged_bytes",
        "_lane_bytes",
        "blocks",
        "client_id",
        "denied_told_at",
        "expiry_second",
        "identity",
        "judgements",
        "lanes",
        "listens",
        "opened_at",
        "scope",
        "subscriptions",
        "tenant",
        "version",
        "warning_second",
    )

    def __init__(
        self,
        tenant: Tenant,
        outbox: Outbox,
        identity: Identity,
        client_id: str,
        *,
        settings: BrokerSettings,
        now: float,
    ) -> None:
        super().__init__(
            outbox,
            window=min(settings.max_inflight, outbox.connection.peer_receive_maximum),
            max_queued_messages=settings.max_queued_messages,
            max_queued_bytes=settings.max_queued_bytes,
            dirty=tenant.dirty,
            overflowed=tenant.overflowed,
            counters=tenant.counters,
        )
        self.tenant = tenant
        self.identity = identity
        policy = None if identity.is_server else tenant.rules.policy
        self.scope = Scope(identity, policy=policy, client_id=client_id)
        self.client_id = client_id
        self.version = outbox.connection.version
        self.opened_at = now
        self.listens = False
        self.denied_told_at = 0.0
        self.expiry_second: int | None = None
        self.warning_second: int | None = None
        self.subscriptions: dict[str, Subscription] = {}
        self.judgements: dict[str, Refusal | None] = {}
        self.lanes: dict[bytes, Lane] = {}
        self._judged_bytes = 0
        self._lane_bytes = 0
        self.blocks: dict[bytes, bool] = {_NO_PROPERTIES: False} if self.version == 5 else {}

    def keep_judgement(self, topic: str, refusal: Refusal | None) -> None:
        """Remember what publishing to a topic comes to."""
        size = getsizeof(topic) + (0 if refusal is None else getsizeof(refusal.text))
        self._judged_bytes += size
        if len(self.judgements) >= _MAX_JUDGEMENTS or self._judged_bytes > _MAX_REMEMBERED_BYTES:
            self.judgements.clear()
            self._judged_bytes = size
        self.judgements[topic] = refusal

    def keep_lane(self, topic: bytes, lane: Lane) -> None:
        """Remember the lane of a topic that this session publishes to."""
        self._lane_bytes += len(topic)
        if len(self.lanes) >= _MAX_LANES or self._lane_bytes > _MAX_REMEMBERED_BYTES:
            self.lanes.clear()
            self._lane_bytes = len(topic)
        self.lanes[topic] = lane

    def look_at(self, block: bytes) -> bool | None:
        """Look at the properties of a PUBLISH, so that the same ones need no second look.

        Args:
            block: raw, with its length, which must be of one byte.

        Returns: whether they say that the payload is UTF-8; None where something is wrong
            with them or they do not go on as they are: that is for the full path.
        """
        if block[0] > _MAX_BLOCK_BYTES:
            return None
        packet = Publish("")
        limits = self.outbox.connection.user_property_limits
        try:
            properties.read(packet, PacketType.PUBLISH, block, 1, len(block), limits)
        except ProtocolError:
            return None
        if packet.topic_alias is not None or packet.subscription_identifiers or reserved_name(packet):
            return None
        if len(self.blocks) >= _MAX_BLOCKS:
            self.blocks = {_NO_PROPERTIES: False}
        is_text = self.blocks[block] = bool(packet.payload_format_indicator)
        return is_text
