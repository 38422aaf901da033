"""The inner loop: packets that go out as the bytes they came in.

Theory of operation. Most of a broker's life is one kind of packet: a PUBLISH at QoS 0
or 1, on a topic that this publisher has used before, with properties that it has used
before, or none. Once the full path (`publishing`) has handled such a message, it leaves
a `Lane` under the raw bytes of the topic in the publisher's session: *publishing is
allowed, and these sessions receive it*; and the raw bytes of the properties in `blocks`:
*these were checked, and go on as they are*. While the lane is live, later packets need
no packet object, no decoded topic, no decision and no call per receiver: they are cut
out of the received bytes and appended to the receivers' outgoing lists.

Packets that follow each other with the same head (first byte, length, topic, properties)
make a *run* and are appended as one slice. At QoS 1 a receiver keeps the publisher's packet
identifier where it is free there, else takes its own next one, so that most runs need
no patching either; the full path uses the same rule, and so produces the same bytes.

A lane stands on a route (`routing`). Whatever could change who receives ends the route
and with it the lane (`live` becomes False); whatever could change what the publisher
may do empties the publisher's `lanes`. Everything that is not plain goes back to the
caller, who takes the full path for one packet and comes back: a receiver that is not
`ready` (paused or with a queue), a full in-flight window, a length that is not minimal,
an unknown topic or property block, any other packet.

Nothing outside reaches in here, and only bytes, ints, lists, sets and dicts are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenmq.broker.counters import Counters
    from tokenmq.broker.outbox import Outbox
    from tokenmq.broker.session import Session

_PUBLISH_QOS_0 = 0x30
_PUBLISH_QOS_1 = 0x32
_PUBACK = 0x40
_PUBACK_HEAD = b"\x40\x02"
_NO_PACKET_ID = b"\x00\x00"
# Room of a lane without receivers at QoS 1: no window limits the run.
_UNLIMITED = 1 << 30


class Lane:
    """The receivers of one topic, for publishers of one protocol version.

    Attributes:
        live: False once the route it stands on has ended.
        receivers: all sessions that receive, in the order of the route.
        at_qos_0: of these, the ones that subscribed at QoS 0.
        at_qos_1: of these, the ones that subscribed at QoS 1 or 2.
    """

    __slots__ = ("at_qos_0", "at_qos_1", "live", "receivers")

    def __init__(self, at_qos_0: list[Session], at_qos_1: list[Session]) -> None:
        self.live = True
        self.receivers = at_qos_0 + at_qos_1
        self.at_qos_0 = at_qos_0
        self.at_qos_1 = at_qos_1


def forward(  # noqa: C901 - one loop on purpose, see the theory of operation
    data: bytes, pos: int, session: Session, dirty: list[Outbox], counters: Counters, max_packet_bytes: int
) -> int:
    """Forward what has a lane and take in acknowledgements, as far as that goes.

    Args:
        data: received bytes.
        pos: where the next packet begins.
        session: the publisher.
        dirty: outboxes that have something to write; added to.
        counters: counted up.
        max_packet_bytes: larger packets are left to the full path, which refuses them.

    Returns: where the first packet begins that is not plain; `len(data)` if there is none.
    """
    end = len(data)
    lanes = session.lanes
    blocks = session.blocks
    while pos + 4 <= end:
        first = data[pos]
        if first == _PUBACK:
            after = _acknowledged(data, pos, end, session, counters)
            if after == pos:
                return pos
            pos = after
            continue
        if first != _PUBLISH_QOS_0 and first != _PUBLISH_QOS_1:
            return pos
        remaining = data[pos + 1]
        body = pos + 2
        if remaining > 127:
            second = data[body]
            body += 1
            if second > 127:
                third = data[body]
                body += 1
                if third == 0 or third > 127:
                    return pos
                remaining = (remaining & 127) | (second & 127) << 7 | third << 14
            elif second == 0:
                return pos
            else:
                remaining = (remaining & 127) | second << 7
        size = body - pos + remaining
        if pos + size > end or size > max_packet_bytes or remaining < 3:
            return pos
        topic_end = body + 2 + (data[body] << 8 | data[body + 1])
        lane = lanes.get(data[body + 2 : topic_end])
        if lane is None:
            return pos
        if not lane.live:
            del lanes[data[body + 2 : topic_end]]
            return pos
        block_at = topic_end if first == _PUBLISH_QOS_0 else topic_end + 2
        block = b""
        if blocks:  # MQTT 5: where the packet ends before its length of properties, it is malformed
            if block_at >= pos + size:
                return pos
            block = data[block_at : block_at + 1 + data[block_at]]
            if block not in blocks:
                return pos
        block_end = block_at + len(block)
        if block_end > pos + size:
            return pos
        if first == _PUBLISH_QOS_0:
            after = _run_at_qos_0(data, pos, size, block_end, lane, dirty, counters)
        else:
            after = _run_at_qos_1(data, pos, size, topic_end, block, session, lane, dirty, counters)
        if after == pos:
            return pos
        pos = after
    return pos


def _run_at_qos_0(
    data: bytes, pos: int, size: int, head_end: int, lane: Lane, dirty: list[Outbox], counters: Counters
) -> int:
    for receiver in lane.receivers:
        if not receiver.ready:
            return pos
    head = data[pos:head_end]
    start = pos
    pos += size
    while data.startswith(head, pos):
        pos += size
    if pos > len(data):  # the last one has not arrived whole
        pos -= size
    run = data[start:pos]
    for receiver in lane.receivers:
        chunks = receiver.chunks
        if not chunks:
            dirty.append(receiver.outbox)
        chunks.append(run)
    messages = (pos - start) // size
    counters.received += messages
    counters.delivered += messages * len(lane.receivers)
    return pos


def _run_at_qos_1(
    data: bytes,
    pos: int,
    size: int,
    topic_end: int,
    block: bytes,
    session: Session,
    lane: Lane,
    dirty: list[Outbox],
    counters: Counters,
) -> int:
    room = _room(lane, session)
    if room <= 0:
        return pos
    start = pos
    packet_ids = _packet_ids(data, pos, size, topic_end - pos, block, room)
    if not packet_ids:
        return pos
    pos += size * len(packet_ids)
    run = data[start:pos]
    unique = set(packet_ids)
    for receiver in lane.at_qos_1:
        chunks = receiver.chunks
        if not chunks:
            dirty.append(receiver.outbox)
        if len(unique) == len(packet_ids) and receiver.inflight.isdisjoint(unique):
            receiver.inflight |= unique
            chunks.append(run)
        else:
            _renumber(run, size, topic_end - start, packet_ids, receiver)
    if lane.at_qos_0:
        plain = _without_packet_ids(run, size, topic_end - start)
        for receiver in lane.at_qos_0:
            chunks = receiver.chunks
            if not chunks:
                dirty.append(receiver.outbox)
            chunks.append(plain)
    chunks = session.chunks
    if not chunks:
        dirty.append(session.outbox)
    chunks.append(_PUBACK_HEAD + _PUBACK_HEAD.join(packet_ids))
    counters.received += len(packet_ids)
    counters.delivered += len(packet_ids) * len(lane.receivers)
    return pos


def _room(lane: Lane, session: Session) -> int:
    """Return how many messages every receiver can take now; 0 asks for the full path."""
    room = _UNLIMITED
    for receiver in lane.receivers:
        if not receiver.ready:
            return 0
        if receiver is session:
            room = min(room, 1)  # its own message stands before its acknowledgement
    for receiver in lane.at_qos_1:
        room = min(room, receiver.window - len(receiver.inflight))
    return room


def _packet_ids(data: bytes, pos: int, size: int, offset: int, block: bytes, room: int) -> list[bytes]:
    """Return the packet identifiers of the run that begins at pos."""
    head = data[pos : pos + offset]
    end = len(data)
    packet_ids: list[bytes] = []
    while True:
        at = pos + offset
        packet_id = data[at : at + 2]
        if packet_id == _NO_PACKET_ID or not data.startswith(block, at + 2):
            return packet_ids
        packet_ids.append(packet_id)
        pos += size
        if len(packet_ids) == room or pos + size > end or not data.startswith(head, pos):
            return packet_ids


def _renumber(run: bytes, size: int, offset: int, packet_ids: list[bytes], receiver: Session) -> None:
    """Append a run to a receiver that has some of its packet identifiers in use."""
    append = receiver.chunks.append
    inflight = receiver.inflight
    start = 0
    for packet_id in packet_ids:
        if packet_id in inflight:
            append(run[start : start + offset])
            append(receiver.take_packet_id())
            append(run[start + offset + 2 : start + size])
        else:
            inflight.add(packet_id)
            append(run[start : start + size])
        start += size


def _without_packet_ids(run: bytes, size: int, offset: int) -> bytes:
    """Rewrite a run of QoS 1 packets for receivers at QoS 0."""
    body = 2
    while run[body - 1] > 127:
        body += 1
    remaining = size - body - 2
    length = bytearray()
    while remaining > 127:
        length.append(remaining & 127 | 128)
        remaining >>= 7
    length.append(remaining)
    head = b"\x30" + bytes(length) + run[body:offset]
    tails = [run[start + offset + 2 : start + size] for start in range(0, len(run), size)]
    return head + head.join(tails)


def _acknowledged(data: bytes, pos: int, end: int, session: Session, counters: Counters) -> int:
    """Take in a run of PUBACKs without reason code; return where it ends."""
    start = pos
    acknowledged: list[bytes] = []
    while data.startswith(_PUBACK_HEAD, pos) and pos + 4 <= end:
        packet_id = data[pos + 2 : pos + 4]
        if packet_id == _NO_PACKET_ID:
            break
        acknowledged.append(packet_id)
        pos += 4
    session.inflight.difference_update(acknowledged)
    counters.acknowledged += (pos - start) // 4
    if session.queue:
        session.drain()
    return pos
