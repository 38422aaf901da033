"""The inner loop: packets that go out as the bytes they came in.

Theory of operation. Most of a broker's life is one kind of packet: a PUBLISH on a topic
that this publisher has used before, and what acknowledges it. Once the full path (`publishing`)
has handled such a message, it leaves a `Lane` under the raw bytes of the topic in the
publisher's session: *publishing is allowed, and these sessions receive it*. While the
lane is live, later packets need no packet object, no decoded topic, no decision and no
call per receiver: they are cut out of the received bytes and appended to the receivers'
outgoing lists. Properties are looked at by the session, once for the same bytes
(`Session.look_at`): *these are right, and go on as they are*.

Packets that follow each other with the same head (first byte, length, topic, properties)
make a *run* and are appended as one slice. A receiver that cannot take the run as it is
(its link is paused, something is queued, its window too small, a packet identifier in use)
gets it by `Receiver.deliver`, as from the full path.

A lane stands on a route (`routing`). Whatever could change who receives ends the route
and with it the lane (`live` becomes False); whatever could change what the publisher
may do empties the publisher's `lanes`. Everything that is not plain goes back to the
caller, who takes the full path for one packet and comes back: a length that is not
minimal, a topic without a lane, properties that are not plain, a packet identifier that
is in use or beyond the receive maximum, QoS 2 of a session that outlives its connection, any other packet.

What is passed on under a rule of the history is told to the recorder, a run at once.

Nothing outside reaches in here. What is touched on the way are bytes, ints, lists, sets and
dicts; calls are made for what is not plain alone (`look_at`, `deliver`, `acknowledged`,
`taken`), and for what is recorded.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from tokenmq.broker.blocks import PLAIN
from tokenmq.broker.recording import Run
from tokenmq.broker.runs import packet_ids_of, text_of

if TYPE_CHECKING:
    from tokenmq.access.recording import HistoryRule
    from tokenmq.broker.counters import Counters
    from tokenmq.broker.message import Expiry
    from tokenmq.broker.outbox import Outbox
    from tokenmq.broker.recording import Recorder
    from tokenmq.broker.session import Session

_PUBLISH_QOS_0 = 0x30
_PUBLISH_QOS_1 = 0x32
_PUBLISH_QOS_2 = 0x34
_PUBACK_FIRST, _PUBREC_FIRST, _PUBREL_FIRST, _PUBCOMP_FIRST = 0x40, 0x50, 0x62, 0x70
# Acknowledgements without reason code, which in 3.1.1 are all of them.
_ACKNOWLEDGEMENTS = {
    first: bytes((first, 2)) for first in (_PUBACK_FIRST, _PUBREC_FIRST, _PUBREL_FIRST, _PUBCOMP_FIRST)
}


class Lane:
    """The receivers of one topic, for publishers of one protocol version.

    Attributes:
        live: False once the route it stands on has ended.
        receivers: all sessions that receive.
        at_qos_0: of these, the ones that subscribed at QoS 0.
        at_qos_1: of these, the ones that subscribed at QoS 1.
        at_qos_2: of these, the ones that subscribed at QoS 2.
        acknowledging: those at QoS 1 and 2.
        topic: its name.
        rule: what is recorded of it; None: nothing.
    """

    __slots__ = (
        "acknowledging", "at_qos_0", "at_qos_1", "at_qos_2", "live", "receivers", "rule", "topic",
    )  # fmt: skip

    def __init__(
        self, topic: str, receivers: list[tuple[Session, int]], rule: HistoryRule | None = None
    ) -> None:
        self.topic = topic
        self.rule = rule
        self.live = True
        self.at_qos_0 = [session for session, qos in receivers if qos == 0]
        self.at_qos_1 = [session for session, qos in receivers if qos == 1]
        self.at_qos_2 = [session for session, qos in receivers if qos == 2]
        self.acknowledging = self.at_qos_1 + self.at_qos_2
        self.receivers = self.at_qos_0 + self.acknowledging

    def end(self) -> None:
        """Be of no use any more: publishers may hold this long, but not the receivers."""
        self.live = False
        self.receivers = self.acknowledging = self.at_qos_0 = self.at_qos_1 = self.at_qos_2 = []


def forward(  # noqa: C901 - one loop on purpose, see the theory of operation
    data: bytes,
    pos: int,
    session: Session,
    dirty: list[Outbox],
    counters: Counters,
    recorder: Recorder,
    max_packet_bytes: int,
) -> int:
    """Forward what has a lane and take in acknowledgements, as far as that goes.

    Args:
        data: received bytes.
        pos: where the next packet begins.
        session: the publisher.
        dirty: outboxes that have something to write; added to.
        counters: counted up.
        recorder: is told what is to be recorded.
        max_packet_bytes: larger packets are left to the full path, which refuses them.

    Returns: where the first packet begins that is not plain; `len(data)` if there is none.
    """
    end = len(data)
    lanes = session.lanes
    blocks = session.blocks
    while pos + 4 <= end:
        first = data[pos]
        if first in _ACKNOWLEDGEMENTS:
            after = _acknowledged(data, pos, end, first, session, dirty, counters)
            if after == pos:
                return pos
            pos = after
            continue
        if first != _PUBLISH_QOS_0 and first != _PUBLISH_QOS_1 and first != _PUBLISH_QOS_2:
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
        if lane.rule is not None and session.tenant.history.pending:  # ids are in the order of routing
            return pos
        block_at = topic_end if first == _PUBLISH_QOS_0 else topic_end + 2
        block = b""
        known = PLAIN
        if blocks:  # MQTT 5: where the packet ends before its length of properties, it is malformed
            if block_at >= pos + size:
                return pos
            block = data[block_at : block_at + 1 + data[block_at]]
            if block_at + 1 + data[block_at] > pos + size:
                return pos
            looked_up = blocks.get(block)
            if looked_up is None:
                looked_up = session.look_at(block)
                if looked_up is None:
                    return pos
                blocks = session.blocks
            known = looked_up
        block_end = block_at + len(block)
        if block_end > pos + size:
            return pos
        run = _run(data, pos, size, data[pos:topic_end], block, block_at - pos)
        if known.is_text:
            run = text_of(run, size, block_end - pos)
            if not run:
                return pos
        expiry = known.expiry(block_at - pos, session.now) if known.expires_after else None
        if first == _PUBLISH_QOS_0:
            _pass_on_at_qos_0(run, size, lane, expiry, dirty, counters)
        elif first == _PUBLISH_QOS_1:
            run = _pass_on_at_qos_1(run, size, topic_end - pos, session, lane, expiry, dirty, counters)
        else:
            run = _pass_on_at_qos_2(run, size, topic_end - pos, session, lane, expiry, dirty, counters)
        if not run:
            return pos
        if lane.rule is not None:
            end_at = None if expiry is None else expiry.moment
            passed_on = Run(
                lane.rule, lane.topic, first >> 1 & 3, run, size, block_end - pos, block[1:], end_at
            )
            recorder.record_run(session, passed_on)
        pos += len(run)
    return pos


def _run(data: bytes, pos: int, size: int, head: bytes, block: bytes, offset: int) -> bytes:
    """Return the packets from pos on that have this head and these properties and are there whole.

    A run ends where anything changes: what is looked at here is used, and only once.
    """
    stop = pos + size
    while data.startswith(head, stop) and data.startswith(block, stop + offset):
        stop += size
    if stop > len(data):
        stop -= size
    return data[pos:stop]


def _pass_on_at_qos_0(
    run: bytes, size: int, lane: Lane, expiry: Expiry | None, dirty: list[Outbox], counters: Counters
) -> None:
    for receiver in lane.receivers:
        if receiver.ready:
            chunks = receiver.chunks
            if not chunks:
                dirty.append(receiver.outbox)
            chunks.append(run)
        else:
            receiver.deliver(run, size, 0, expiry)
    messages = len(run) // size
    counters.received += messages
    counters.delivered += messages * len(lane.receivers)


def _pass_on_at_qos_1(
    run: bytes,
    size: int,
    offset: int,
    session: Session,
    lane: Lane,
    expiry: Expiry | None,
    dirty: list[Outbox],
    counters: Counters,
) -> bytes:
    """Pass on and acknowledge the packets up to the first with identifier 0; return them."""
    packet_ids = packet_ids_of(run, size, offset)
    if 0 in packet_ids:
        packet_ids = packet_ids[: packet_ids.index(0)]
        run = run[: len(packet_ids) * size]
    if not run:
        return run
    count = len(packet_ids)
    _share(run, size, offset, packet_ids, lane.acknowledging, expiry, dirty)
    if lane.at_qos_0:
        plain = _without_packet_ids(run, size, offset)
        short = expiry._replace(at=expiry.at and expiry.at - 2) if expiry is not None else None
        for receiver in lane.at_qos_0:
            receiver.deliver(plain, len(plain) // count, 0, short)
    _answer(session, _PUBACK_FIRST, run[offset::size], run[offset + 1 :: size], dirty)
    counters.received += count
    counters.delivered += count * len(lane.receivers)
    return run


def _pass_on_at_qos_2(
    run: bytes,
    size: int,
    offset: int,
    session: Session,
    lane: Lane,
    expiry: Expiry | None,
    dirty: list[Outbox],
    counters: Counters,
) -> bytes:
    """Pass on and answer packets, each of which is a new message; return them, none if one is not."""
    packet_ids = packet_ids_of(run, size, offset)
    unique = set(packet_ids)
    count = len(packet_ids)
    if (
        session.number
        or lane.at_qos_0
        or len(unique) < count
        or 0 in unique
        or not session.unreleased.isdisjoint(unique)
        or len(session.unreleased) + count > session.receive_maximum
    ):
        return b""
    session.unreleased |= unique
    _share(run, size, offset, packet_ids, lane.at_qos_2, expiry, dirty)
    if lane.at_qos_1:
        lowered = bytearray(run)
        lowered[::size] = bytes((_PUBLISH_QOS_1,)) * count
        _share(bytes(lowered), size, offset, packet_ids, lane.at_qos_1, expiry, dirty)
    _answer(session, _PUBREC_FIRST, run[offset::size], run[offset + 1 :: size], dirty)
    counters.received += count
    counters.delivered += count * len(lane.receivers)
    return run


def _share(
    run: bytes,
    size: int,
    offset: int,
    packet_ids: tuple[int, ...],
    receivers: list[Session],
    expiry: Expiry | None,
    dirty: list[Outbox],
) -> None:
    """Append a run with packet identifiers for everybody who can take it as it is."""
    count = len(packet_ids)
    unique = set(packet_ids)
    for receiver in receivers:
        inflight = receiver.inflight
        if (
            receiver.ready
            and len(unique) == count
            and receiver.window - len(inflight) >= count
            and inflight.isdisjoint(unique)
        ):
            inflight |= unique
            chunks = receiver.chunks
            if not chunks:
                dirty.append(receiver.outbox)
            chunks.append(run)
        else:
            receiver.deliver(run, size, offset, expiry)


def _answer(session: Session, first: int, high: bytes, low: bytes, dirty: list[Outbox]) -> None:
    """Append acknowledgements, in order; without a step of Python a packet.

    Args:
        first: their first byte.
        high: the first byte of each packet identifier.
        low: the second byte of each.
    """
    chunks = session.chunks
    if not chunks:
        dirty.append(session.outbox)
    if len(high) == 1:
        chunks.append(_ACKNOWLEDGEMENTS[first] + high + low)
        return
    answers = bytearray((first, 2, 0, 0)) * len(high)
    answers[2::4] = high
    answers[3::4] = low
    chunks.append(bytes(answers))


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


def _acknowledged(
    data: bytes,
    pos: int,
    end: int,
    first: int,
    session: Session,
    dirty: list[Outbox],
    counters: Counters,
) -> int:
    """Take in a run of one kind of acknowledgement without reason code; return where it ends."""
    head = _ACKNOWLEDGEMENTS[first]
    start = pos
    while data.startswith(head, pos):
        pos += 4
    if pos > end:  # the last one has not arrived whole
        pos -= 4
    if pos == start + 4:
        packet_ids: tuple[int, ...] = (data[start + 2] << 8 | data[start + 3],)
    else:
        packet_ids = struct.unpack_from(f">{(pos - start) // 2}H", data, start)[1::2]
    if 0 in packet_ids:
        packet_ids = packet_ids[: packet_ids.index(0)]
        pos = start + 4 * len(packet_ids)
    if not packet_ids:
        return pos
    if first == _PUBREL_FIRST:
        unique = set(packet_ids)
        if session.number or len(unique) < len(packet_ids) or not unique <= session.unreleased:
            return start
        session.unreleased -= unique
        _answer(session, _PUBCOMP_FIRST, data[start + 2 : pos : 4], data[start + 3 : pos : 4], dirty)
    elif first == _PUBREC_FIRST:
        if session.backlog is None and session.inflight.issuperset(packet_ids):
            _answer(session, _PUBREL_FIRST, data[start + 2 : pos : 4], data[start + 3 : pos : 4], dirty)
        else:
            session.taken(packet_ids)
    else:
        session.acknowledged(packet_ids)
        counters.acknowledged += len(packet_ids)
    return pos
