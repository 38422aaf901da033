"""The messages of one publisher, prepared once: a circle of PUBLISH packets that is sent round and round.

Slot `i` holds packet id `i + 1` and a payload that names the slot, so consecutive messages differ. As long as
fewer messages than slots are outstanding, a lost, doubled, altered or reordered message shows in the bytes.

The circle lies in memory twice, end to end, so that any run of up to `slots` packets is one slice.
"""

from bench import wire

SIZES = (16, 40, 64, 100, 180, 300)  # payload bytes of a varied ring, in turn
TOPICS = 23  # topics of a varied ring, in turn; coprime to SIZES, so that pairs of both keep changing


class Ring:
    """Prepared packets and what a receiver must see of them.

    Attributes:
        slots: packets in the circle.
        packets: the packets, twice.
        data: the packets, as sent, twice.
        expected: as delivered at the same QoS with every packet id zeroed, twice.
        offsets: where slot i begins in `data` and `expected` (2 x slots + 1 entries).
        size: bytes of each packet, or 0 if they differ.
        id_offsets: where the packet id of slot i stands in `expected` (2 x slots entries).
        messages: slot by slot, what a parser must find.
    """

    def __init__(self, packets: list[bytes], *, version: int, qos: int) -> None:
        self.slots = len(packets)
        self.packets = packets * 2
        self.data = memoryview(b"".join(self.packets))
        self.offsets = [0]
        for one in self.packets:
            self.offsets.append(self.offsets[-1] + len(one))
        sizes = {len(one) for one in packets}
        self.size = sizes.pop() if len(sizes) == 1 else 0
        self.messages: list[wire.Delivery] = []
        self.id_offsets: list[int] = []
        blank = bytearray()
        for one in self.packets:
            found = wire.read_frame(one, 0, len(one))
            if found is None:
                raise ValueError("an incomplete packet in a ring")
            message = wire.delivery(found[0], one, found[1], found[2], version)
            self.messages.append(message)
            at = len(blank) + found[1] + 2 + len(message.topic)
            self.id_offsets.append(at)
            blank += one
            if qos:
                blank[at : at + 2] = b"\0\0"
        self.expected = bytes(blank)

    def run(self, count: int, amount: int) -> memoryview:
        """The bytes of messages `count`, `count` + 1, … `count` + `amount` - 1 of an endless round."""
        slot = count % self.slots
        return self.data[self.offsets[slot] : self.offsets[slot + amount]]


def fixed(
    topic: str,
    *,
    slots: int,
    payload_bytes: int,
    qos: int,
    version: int,
    properties: bytes = b"",
    numbered: bool = False,
    scattered: bool = False,
) -> Ring:
    """A ring whose packets all have the same size, on one topic.

    `numbered` adds correlation data to each; `scattered` gives each a topic of its own below `topic`.
    """
    return Ring(
        [
            wire.publish(
                f"{topic}/{slot:05d}" if scattered else topic, _payload(slot, payload_bytes), qos=qos,
                version=version, packet_id=slot + 1,
                properties=properties + (wire.correlation(slot) if numbered else b""),
            )
            for slot in range(slots)
        ],
        version=version,
        qos=qos,
    )  # fmt: skip


def varied(topic: str, *, slots: int, qos: int, version: int, properties: bytes = b"") -> Ring:
    """A ring whose topics (all below `topic`) and sizes differ from message to message."""
    return Ring(
        [
            wire.publish(
                f"{topic}/{slot % TOPICS}/{'level' * (slot % 3 + 1)}",
                _payload(slot, SIZES[slot % len(SIZES)]),
                qos=qos, version=version, packet_id=slot + 1, properties=properties,
            )
            for slot in range(slots)
        ],
        version=version,
        qos=qos,
    )  # fmt: skip


def _payload(slot: int, size: int) -> bytes:
    return (f"{slot:08d}".encode() * (size // 8 + 1))[:size]
