"""What the core asks to have kept, and gets back at the start: plain values.

Everything that outlives a connection is a record under a key of its own. A change is a
record to put (in place of what stood under its key) or a key to drop; changes are made in
the order given, and what is given together is kept together or not at all. So the store
needs to know nothing of MQTT, and a change that is made twice does no harm.

Only what is needed to go on is kept: a message once, however many sessions wait for it.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import msgspec

from tokenmq.access.identity import Identity


class Will(msgspec.Struct, frozen=True):
    """A will as its CONNECT gave it (MQTT 5 §3.1.2.5).

    Attributes:
        forward: encoded MQTT 5 properties that go on to receivers, without their length.
        delay_seconds: Will Delay Interval, within our limits.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    forward: bytes
    expiry_seconds: int | None
    delay_seconds: int


class SessionRecord(msgspec.Struct, frozen=True):
    """A session that outlives its connection.

    Attributes:
        number: names it, never used again while anything of it is kept.
        identity: who owns it, and the rights that it goes on under.
        expiry_seconds: how long it outlives its connection; 0: not any more.
        left_at: unix seconds at which its connection ended; None while it has one.
        will: what is to be published if its connection is lost, or was and is due later.
    """

    number: int
    client_id: str
    identity: Identity
    expiry_seconds: int
    left_at: float | None
    will: Will | None

    @property
    def key(self) -> int:
        """Return what the record is found by."""
        return self.number


class SubscriptionRecord(msgspec.Struct, frozen=True):
    """One subscription of such a session.

    Attributes:
        topic_filter: as it was asked for, `$share/group/` or `$history/count/` included.
        history: what it delivers says under which id it is recorded.
    """

    session: int
    topic_filter: str
    qos: int
    no_local: bool
    retain_as_published: bool
    identifier: int
    history: bool = False

    @property
    def key(self) -> tuple[int, str]:
        """Return what the record is found by."""
        return (self.session, self.topic_filter)


class MessageRecord(msgspec.Struct, frozen=True):
    """An application message for which at least one such session waits.

    Attributes:
        number: names it, and grows from one message to the next.
        forward: encoded MQTT 5 properties that go on to receivers, without their length.
        expires_at: unix seconds (MQTT 5 §3.3.2.3.3); None: it does not expire.
        stamp: encoded MQTT 5 properties that say under which id it is recorded; empty: it is not.
    """

    number: int
    org_id: str
    topic: str
    payload: bytes
    forward: bytes
    expires_at: float | None
    stamp: bytes = b""

    @property
    def key(self) -> int:
        """Return what the record is found by."""
        return self.number


class DeliveryRecord(msgspec.Struct, frozen=True):
    """A message that such a session is still to get, or has not acknowledged.

    Attributes:
        packet_id: Packet Identifier under which it is sent, for good.
        position: orders the deliveries of a session.
        message: its number; 0 if `released`.
        qos: 1 or 2.
        retain: as the receiver shall see it.
        released: PUBREL is what is sent (QoS 2 only).
        identifiers: Subscription Identifiers.
        group: the `$share` group and filter that it came by, empty for none.
        prefix: what stands before its topic: `$history/count/`, else nothing.
        stamped: it goes out with the message's `stamp`.
    """

    session: int
    packet_id: int
    position: int
    message: int
    qos: int
    retain: bool
    released: bool
    identifiers: tuple[int, ...]
    group: str
    prefix: str = ""
    stamped: bool = False

    @property
    def key(self) -> tuple[int, int]:
        """Return what the record is found by."""
        return (self.session, self.packet_id)


class ReceivedRecord(msgspec.Struct, frozen=True):
    """A Packet Identifier of a QoS 2 message taken in, until its PUBREL."""

    session: int
    packet_id: int

    @property
    def key(self) -> tuple[int, int]:
        """Return what the record is found by."""
        return (self.session, self.packet_id)


class RetainedRecord(msgspec.Struct, frozen=True):
    """The retained message of a topic, and who left it there.

    Attributes:
        forward: encoded MQTT 5 properties that go on to receivers, without their length.
        stored_at: unix seconds.
        expires_at: unix seconds.
        user_id, client_id, attrs: whose it is, for the policy; a client id of None: not known.
        token_id: the publisher's family; None: a key published it.
        history_id: under which it is recorded; 0: it is not.
    """

    org_id: str
    topic: str
    payload: bytes
    qos: int
    forward: bytes
    stored_at: float
    expires_at: float
    user_id: str
    token_id: str | None
    client_id: str | None = None
    attrs: dict[str, Any] | None = None
    history_id: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """Return what the record is found by."""
        return (self.org_id, self.topic)


class HistoryRecord(msgspec.Struct, frozen=True):
    """One recorded message, and who published it.

    Attributes:
        id: names it for good, and grows from one message to the next.
        retain: as its publisher asked for.
        forward: encoded MQTT 5 properties that go on to receivers, without their length.
        at: unix seconds at which the broker took it in.
        expires_at: unix seconds (MQTT 5 §3.3.2.3.3); None: it does not expire.
        user_id: whose token published it; `server` for a key.
        most: how many messages of its topic are recorded at most, this one included.
        lost: the newest id of its topic that was let go before it was stored; 0: none was.
    """

    id: int
    org_id: str
    topic: str
    payload: bytes
    qos: int
    retain: bool
    forward: bytes
    at: float
    expires_at: float | None
    user_id: str
    most: int
    lost: int = 0

    @property
    def size(self) -> int:
        """Bytes that its message takes while it waits, about."""
        return len(self.topic) + len(self.payload) + len(self.forward)

    @property
    def key(self) -> int:
        """Return what the record is found by."""
        return self.id


Record: TypeAlias = (
    SessionRecord
    | SubscriptionRecord
    | MessageRecord
    | DeliveryRecord
    | ReceivedRecord
    | RetainedRecord
    | HistoryRecord
)


Key: TypeAlias = int | tuple[int, int] | tuple[int, str] | tuple[str, str]


class Change(NamedTuple):
    """One record put, or dropped.

    Dropping a session drops its subscriptions, deliveries and received identifiers too.

    Attributes:
        kind: the record's class.
        key: what it is found by.
        record: None where it is dropped.
    """

    kind: type[Record]
    key: Key
    record: Record | None


def put(record: Record) -> Change:
    """Return the change that puts a record."""
    return Change(type(record), record.key, record)


class Kept(NamedTuple):
    """Everything that is kept, as it is read at the start."""

    sessions: list[SessionRecord]
    subscriptions: list[SubscriptionRecord]
    messages: list[MessageRecord]
    deliveries: list[DeliveryRecord]
    received: list[ReceivedRecord]
    retained: list[RetainedRecord]
