"""Count and check what arrives on one connection: deliveries to a receiver, acknowledgements to a publisher.

QoS 0 and 1; `exact` does the same for QoS 2.

Theory of operation. A stream is fed the bytes of one read in a shared buffer, after what was left over of the
last one. The usual case is settled by arithmetic: whole packets = bytes // size, and one comparison
(`bytes.startswith` with an offset, a memcmp) of everything that came with the place in the ring where it must
stand. Packet ids, which the broker chooses, are first sliced out with a stride, both into the
acknowledgements and out of the comparison. Whatever does not fit (properties put in another order, say) is
parsed frame by frame and held against the ring message by message; what fits neither is an error. No message
is ever counted unseen.
"""

from bisect import bisect_right
from typing import Protocol

from bench import wire
from bench.ring import Ring
from bench.wire import BadStream

MAX_RUN = 65536 // 4
_PUBACKS = b"\x40\x02\0\0" * MAX_RUN
_ZEROS = bytearray(MAX_RUN)


class Stream(Protocol):
    """What the loop over connections needs of a stream.

    Attributes:
        count: messages received whole, or acknowledged for good.
        answer: what is to be written, replaced by every `take`.
        tail: bytes of an incomplete packet.
    """

    count: int
    answer: bytes | bytearray
    tail: bytes

    @property
    def settled(self) -> bool:
        """Whether nothing more is to come for what was counted."""
        ...

    def take(self, buffer: bytearray, view: memoryview, stop: int) -> int:
        """Take `buffer[:stop]`, which begins with `tail`; return by how much `count` grew.

        `view` is a memoryview of `buffer`. The buffer's bytes may be changed.
        """
        ...


class Receiver:
    """Deliveries of one publisher's ring to one subscription.

    Attributes:
        count: messages received whole.
        parsed: how many of them had to be parsed.
        answer: acknowledgements to write, replaced by every `take`.
        tail: bytes of an incomplete packet.
    """

    __slots__ = ("_offset", "_qos", "_ring", "_strict", "_version", "answer", "count", "parsed", "tail")

    def __init__(self, ring: Ring, *, qos: int, version: int, strict: bool = False) -> None:
        self._ring = ring
        self._qos = qos
        self._version = version
        self._strict = strict
        self._offset = ring.id_offsets[0]
        self.count = 0
        self.parsed = 0
        self.answer: bytes | bytearray = b""
        self.tail = b""

    settled = True  # a message is done when it has come

    def take(self, buffer: bytearray, view: memoryview, stop: int) -> int:
        """Take what was read; return how many messages are complete."""
        ring = self._ring
        if self._strict:
            return self._parse(buffer, stop)
        if ring.size == 0:
            return self._take_varied(buffer, view, stop)
        size = ring.size
        amount = stop // size
        whole = amount * size
        if not amount:
            self.tail = bytes(buffer[:stop])
            return 0
        if amount > ring.slots:
            raise BadStream("more messages in one read than can be outstanding")
        if self._qos:
            at = self._offset
            high, low = buffer[at:whole:size], buffer[at + 1 : whole : size]
            buffer[at:whole:size] = buffer[at + 1 : whole : size] = _ZEROS[:amount]
        if not ring.expected.startswith(view[:whole], self.count % ring.slots * size):
            if self._qos:
                buffer[at:whole:size], buffer[at + 1 : whole : size] = high, low
            return self._parse(buffer, stop)
        if self._qos:
            self.answer = acks = bytearray(_PUBACKS[: 4 * amount])
            acks[2::4], acks[3::4] = high, low
        self.tail = bytes(buffer[whole:stop]) if whole != stop else b""
        self.count += amount
        return amount

    def _take_varied(self, buffer: bytearray, view: memoryview, stop: int) -> int:
        """As `take`, for packets of different sizes."""
        ring = self._ring
        offsets = ring.offsets
        slot = self.count % ring.slots
        start = offsets[slot]
        after = bisect_right(offsets, start + stop) - 1
        amount = after - slot
        whole = offsets[after] - start
        if not amount:
            self.tail = bytes(buffer[:stop])
            return 0
        ids = bytearray()
        if self._qos:
            for at in ring.id_offsets[slot:after]:
                at -= start
                ids += buffer[at : at + 2]
                buffer[at : at + 2] = b"\0\0"
        if not ring.expected.startswith(view[:whole], start):
            for index, at in enumerate(ring.id_offsets[slot:after] if self._qos else ()):
                buffer[at - start : at - start + 2] = ids[2 * index : 2 * index + 2]
            return self._parse(buffer, stop)
        if self._qos:
            self.answer = acks = bytearray(_PUBACKS[: 4 * amount])
            acks[2::4], acks[3::4] = ids[0::2], ids[1::2]
        self.tail = bytes(buffer[whole:stop])
        self.count += amount
        return amount

    def _parse(self, buffer: bytearray, stop: int) -> int:
        """As `take`, frame by frame."""
        ring = self._ring
        before = self.count
        answer = bytearray()
        position = 0
        for first, start, end in wire.frames(buffer, 0, stop):
            position = end
            if first != 0x30 | self._qos << 1:
                raise BadStream(f"a receiver at QoS {self._qos} got a packet that begins {first:#04x}")
            got = wire.delivery(first, buffer, start, end, self._version)
            want = ring.messages[self.count % ring.slots]
            if got.topic != want.topic or got.payload != want.payload or got.properties != want.properties:
                raise BadStream(f"message {self.count} should be {want!r:.120}, is {got!r:.120}")
            if self._qos:
                if not got.packet_id:
                    raise BadStream("packet id 0")
                answer += b"\x40\x02" + got.packet_id.to_bytes(2, "big")
            self.count += 1
        self.tail = bytes(buffer[position:stop])
        self.answer = answer
        self.parsed += self.count - before
        return self.count - before


class Acknowledgements:
    """PUBACKs to one publisher; at QoS 0 (no `slots`) nothing may come.

    MQTT has them come in the order of the messages, so they too are compared with a ring.

    Attributes:
        count: messages acknowledged.
        answer: always empty.
        tail: bytes of an incomplete packet.
    """

    __slots__ = ("_expected", "_slots", "answer", "count", "tail")

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._expected = b"".join(b"\x40\x02" + (slot + 1).to_bytes(2, "big") for slot in range(slots)) * 2
        self.count = 0
        self.answer: bytes | bytearray = b""
        self.tail = b""

    settled = True  # its count says all

    def take(self, buffer: bytearray, view: memoryview, stop: int) -> int:
        """Take what was read; return how many messages are now acknowledged."""
        whole = stop & ~3
        amount = whole >> 2
        if 0 < amount <= self._slots and self._expected.startswith(
            view[:whole], self.count % self._slots * 4
        ):
            self.tail = bytes(buffer[whole:stop]) if whole != stop else b""
            self.count += amount
            return amount
        return self._parse(buffer, stop)

    def _parse(self, buffer: bytearray, stop: int) -> int:
        before = self.count
        position = 0
        for first, start, end in wire.frames(buffer, 0, stop):
            position = end
            if first != 0x40 or not self._slots:
                raise BadStream(f"a publisher got a packet that begins {first:#04x}")
            if end - start > 2 and buffer[start + 2] >= 0x80:
                raise BadStream(f"a message was refused with {buffer[start + 2]:#04x}")
            packet_id = int.from_bytes(buffer[start : start + 2], "big")
            wanted = self.count % self._slots + 1
            if packet_id != wanted:
                raise BadStream(f"acknowledged was packet {packet_id}, the next one is {wanted}")
            self.count += 1
        self.tail = bytes(buffer[position:stop])
        return self.count - before
