"""QoS 2 on one connection: deliveries to a receiver, acknowledgements to a publisher, counted and checked.

Theory of operation. As in `streams`, but two kinds of packet come mixed: a message and its PUBREL to a
receiver, PUBREC and PUBCOMP to a publisher. A read is cut into runs of packets that begin alike
(`wire.runs`); messages are compared with the ring run by run, and packet ids with those that are next. MQTT
has PUBREC, PUBREL and PUBCOMP each come in the order of the messages (MQTT 5, 4.6), so a queue of ids is
all that must be kept. A lost, doubled, altered or reordered message, a PUBREL for what did not come or was
released before, a packet id given out again before its PUBREL: each is an error.
"""

from bench import wire
from bench.ring import Ring
from bench.wire import BadStream, Run

_PUBLISH, _PUBREC, _PUBREL, _PUBCOMP = 0x34, 0x50, 0x62, 0x70
_ZEROS = bytearray(1 << 16)


class ExactReceiver:
    """Deliveries of one publisher's ring to one subscription at QoS 2.

    Attributes:
        count: messages received whole.
        parsed: how many of them had to be parsed.
        answer: PUBRECs and PUBCOMPs to write, replaced by every `take`.
        tail: bytes of an incomplete packet.
    """

    __slots__ = ("_awaited", "_ring", "_strict", "_version", "answer", "count", "parsed", "tail")

    def __init__(self, ring: Ring, *, version: int, strict: bool = False) -> None:
        self._ring = ring
        self._version = version
        self._strict = strict
        self._awaited = bytearray()  # packet ids whose PUBREL is to come
        self.count = 0
        self.parsed = 0
        self.answer: bytes | bytearray = b""
        self.tail = b""

    @property
    def settled(self) -> bool:
        """Whether every message was released."""
        return not self._awaited

    def take(self, buffer: bytearray, view: memoryview, stop: int) -> int:
        """Take `buffer[:stop]`, which begins with `tail`; return how many messages are complete.

        `view` is a memoryview of `buffer`. The buffer's bytes may be changed.
        """
        before = self.count
        answer = bytearray()
        position = 0
        for run in wire.runs(buffer, 0, stop):
            if run.first == _PUBREL:
                answer += self._release(buffer, run)
            elif run.first == _PUBLISH:
                answer += self._receive(buffer, view, run)
            else:
                raise BadStream(f"a receiver at QoS 2 got a packet that begins {run.first:#04x}")
            position = run.stop
        self.tail = bytes(buffer[position:stop])
        self.answer = answer
        return self.count - before

    def _receive(self, buffer: bytearray, view: memoryview, run: Run) -> bytearray:
        topic_bytes = int.from_bytes(buffer[run.start + run.head : run.start + run.head + 2], "big")
        at = run.start + run.head + 2 + topic_bytes
        if at + 2 > run.start + run.size:
            raise BadStream("a PUBLISH whose topic is longer than itself")
        ids = wire.packet_ids(buffer, at, run)
        if not self._fits(buffer, view, run, at):
            buffer[at : run.stop : run.size], buffer[at + 1 : run.stop : run.size] = ids[0::2], ids[1::2]
            self._parse(buffer, run)
        self.count += run.amount
        self._awaited += ids
        open_ids = memoryview(self._awaited).cast("H")
        if len(set(open_ids)) != len(open_ids) or 0 in open_ids:
            raise BadStream("a packet id is 0, or was given out again before its PUBREL")
        return wire.acknowledgements(_PUBREC, ids)

    def _fits(self, buffer: bytearray, view: memoryview, run: Run, at: int) -> bool:
        """Whether a run is what the ring has next, byte for byte; takes the packet ids out of the buffer."""
        ring, size = self._ring, run.size
        if self._strict or size != ring.size or run.amount > ring.slots:
            return False
        buffer[at : run.stop : size] = buffer[at + 1 : run.stop : size] = _ZEROS[: run.amount]
        return ring.expected.startswith(view[run.start : run.stop], self.count % ring.slots * size)

    def _parse(self, buffer: bytearray, run: Run) -> None:
        """Hold a run against the ring message by message."""
        ring = self._ring
        for index in range(run.amount):
            start = run.start + index * run.size
            got = wire.delivery(run.first, buffer, start + run.head, start + run.size, self._version)
            want = ring.messages[(self.count + index) % ring.slots]
            if got.topic != want.topic or got.payload != want.payload or got.properties != want.properties:
                raise BadStream(f"message {self.count + index} should be {want!r:.120}, is {got!r:.120}")
        self.parsed += run.amount

    def _release(self, buffer: bytearray, run: Run) -> bytearray:
        ids = wire.packet_ids(buffer, run.start + run.head, run)
        _raise_refusals(buffer, run)
        if not self._awaited.startswith(ids):
            raise BadStream(
                f"released were packets {ids.hex(' ', 2)}, awaited {self._awaited.hex(' ', 2):.80}"
            )
        del self._awaited[: len(ids)]
        return wire.acknowledgements(_PUBCOMP, ids)


class ExactAcknowledgements:
    """Answers to one publisher at QoS 2: PUBREC, then PUBCOMP.

    Attributes:
        count: messages completed by PUBCOMP.
        answer: PUBRELs to write, replaced by every `take`.
        tail: bytes of an incomplete packet.
    """

    __slots__ = ("_expected", "_received", "_slots", "answer", "count", "tail")

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._received = 0
        self._expected = b"".join((slot + 1).to_bytes(2, "big") for slot in range(slots)) * 2
        self.count = 0
        self.answer: bytes | bytearray = b""
        self.tail = b""

    settled = True  # its count says all

    def take(self, buffer: bytearray, view: memoryview, stop: int) -> int:
        """Take `buffer[:stop]`, which begins with `tail`; return how many messages are now complete."""
        del view
        before = self.count
        answer = bytearray()
        position = 0
        for run in wire.runs(buffer, 0, stop):
            if run.first not in (_PUBREC, _PUBCOMP):
                raise BadStream(f"a publisher at QoS 2 got a packet that begins {run.first:#04x}")
            _raise_refusals(buffer, run)
            ids = wire.packet_ids(buffer, run.start + run.head, run)
            done = self._received if run.first == _PUBREC else self.count
            if run.amount > self._slots or not self._expected.startswith(ids, done % self._slots * 2):
                wanted = done % self._slots + 1
                raise BadStream(f"acknowledged were packets {ids.hex(' ', 2):.80}, the next one is {wanted}")
            if run.first == _PUBREC:
                self._received += run.amount
                answer += wire.acknowledgements(_PUBREL, ids)
            else:
                self.count += run.amount
                if self.count > self._received:
                    raise BadStream("PUBCOMP for a message without PUBREC")
            position = run.stop
        self.tail = bytes(buffer[position:stop])
        self.answer = answer
        return self.count - before


def _raise_refusals(buffer: bytearray, run: Run) -> None:
    """Raise BadStream for a reason code that refuses (0x80 and above), if the packets have one."""
    if run.size - run.head < 2:
        raise BadStream("an acknowledgement without packet id")
    if run.size - run.head > 2:
        worst = max(buffer[run.start + run.head + 2 : run.stop : run.size])
        if worst >= 0x80:
            raise BadStream(f"a message was refused with {worst:#04x}")
