"""Packets of MQTT 3.1.1 and 5 as bytes, right ones and such as are nearly right.

A `Maker` draws from small pools of topics, packet identifiers and client ids, so that the
packets of one connection meet one another: acknowledgements of what was sent, QoS 2 in and
out of order, aliases used again, subscriptions taken over. What only a server may send and
packets that do not exist are made too. It draws from one `Random` alone, so a seed gives the
same packets everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

MAX_VARIABLE: Final = 268_435_455

_BYTE, _TWO, _FOUR, _VARIABLE, _TEXT, _BINARY, _PAIR, _TOPIC = range(8)
# MQTT 5, table 2-4: identifier to data type. Those with a topic are texts that mean one.
_KINDS: Final = {
    0x01: _BYTE, 0x02: _FOUR, 0x03: _TEXT, 0x08: _TOPIC, 0x09: _BINARY, 0x0B: _VARIABLE, 0x11: _FOUR,
    0x12: _TEXT, 0x13: _TWO, 0x15: _TEXT, 0x16: _BINARY, 0x17: _BYTE, 0x18: _FOUR, 0x19: _BYTE, 0x1A: _TEXT,
    0x1C: _TEXT, 0x1F: _TEXT, 0x21: _TWO, 0x22: _TWO, 0x23: _TWO, 0x24: _BYTE, 0x25: _BYTE, 0x26: _PAIR,
    0x27: _FOUR, 0x28: _BYTE, 0x29: _BYTE, 0x2A: _BYTE,
}  # fmt: skip
_MESSAGE = (0x01, 0x02, 0x03, 0x08, 0x09, 0x26)
# What a client may put where; AUTHENTICATION METHOD and DATA are added on purpose only.
_OF_CONNECT = (0x11, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27)
_OF_WILL = (*_MESSAGE, 0x18)
_OF_ANSWER = (0x1F, 0x26)
_OF_SUBSCRIBE = (0x0B, 0x26)
_OF_DISCONNECT = (0x11, 0x1F, 0x26)
_OF_AUTH = (0x15, 0x16, 0x1F, 0x26)

_LEVELS = ("a", "b", "c", "x", "", "ä", "\N{GRINNING FACE}", "a b")
_STRANGE_TEXTS: Final = (
    b"", b"\x00", b"a\x00b", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xc0\x80", b"\xe0\x80\x80", b"\xff\xfe",
    b"\xf4\x90\x80\x80", b"\xef\xbb\xbfa", b"\xef\xbf\xbf", b"\x01\x1f", b"\x7f", b"\xc2\x80", b"\xc3",
    b"a" * 300, b"<script>", b"\r\n", b"%s%n", b"../../etc",
)  # fmt: skip
_STRANGE_TOPICS: Final = (
    b"", b"/", b"//", b"#", b"+", b"fuzz/#/a", b"fuzz/a#", b"fuzz/+a", b"$SYS/broker", b"$SYS/#",
    b"$auth/events", b"$share", b"$share/", b"$share//a", b"$share/g", b"$share/g/", b"$share/+/fuzz/a",
    b"$share/g/#", b"$share/g/$share/h/fuzz/a", b"$queue/fuzz/a", b"$delayed/1/fuzz/a", b"$CONTROL/x", b"$",
    b"fuzz", b"other/a", b"fuzz/" + b"/" * 200, b"fuzz/" + b"x" * 2000, b"/" * 5000, b"+/" * 40 + b"#",
)  # fmt: skip
_REASONS_OF: Final = {
    0x40: (0, 0, 128, 131, 135, 144, 151, 153), 0x50: (0, 0, 0, 128, 135, 151), 0x62: (0, 0, 146),
    0x70: (0, 0, 146), 0xE0: (0, 0, 4, 4, 128, 129, 130, 148, 152),
}  # fmt: skip
_REASONS = (0, 1, 2, 4, 16, 24, 25, 128, 131, 135, 139, 144, 145, 146, 151, 153, 162, 255)
# Few, so that sessions are taken over and taken up again.
_CLIENTS_OF_A_USER = 12
# What fields that count something usually hold.
_USUAL_TWO = (1, 5, 16, 100, 65_535)
_USUAL_FOUR = (1, 60, 3_600, 65_536, 0xFFFF_FFFF)
# Bounds of the fields that count something, and what lies beside them.
_NUMBERS = (0, 1, 2, 5, 16, 17, 100, 255, 256, 1_000, 65_535, 65_536, 0x7FFF_FFFF, 0xFFFF_FFFF)


@dataclass(frozen=True, slots=True)
class Credential:
    """What opens a connection: a token, or a key."""

    username: bytes
    password: bytes


def variable(number: int) -> bytes:
    """Write a variable byte integer."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def two(number: int) -> bytes:
    """Write a two byte integer, cut to its bits."""
    return (number & 0xFFFF).to_bytes(2, "big")


def text(raw: bytes) -> bytes:
    """Write a string or binary field, cut to what one can hold."""
    raw = raw[:65_535]
    return two(len(raw)) + raw


def packet(first: int, body: bytes) -> bytes:
    """Put a fixed header before a body."""
    return bytes((first,)) + variable(len(body)) + body


class Maker:
    """Makes the packets of one connection.

    Args:
        random: where every choice comes from.
        version: 4 is MQTT 3.1.1, 5 is 5.
        credentials: what may be shown in a CONNECT; they open something.
        strange: probability that one field is not as it should be.

    Attributes:
        kinds: the methods that make the packets of this connection, with their weights. What a
            service may refuse by closing is left out of most connections, so that these get far.
    """

    def __init__(self, random: Random, version: int, credentials: Sequence[Credential], strange: float):
        self.random = random
        self.version = version
        self._credentials = credentials
        self._strange = strange
        self._aliases: set[int] = set()
        self._exactly_once = random.random() < 0.5
        self._retains = random.random() < 0.5
        self._wills = random.random() < 0.25
        self._shares = random.random() < 0.5
        self.kinds: dict[Callable[[Maker], bytes], int] = {
            Maker.publish: 40, Maker.acknowledgement: 10, Maker.subscribe: 14, Maker.unsubscribe: 6,
            Maker.pingreq: 4,
        }  # fmt: skip
        if self._exactly_once:
            self.kinds[Maker.exactly_once] = 15
        for kind in (Maker.auth, Maker.disconnect, Maker.connect, Maker.foreign):
            if random.random() < 0.1:
                self.kinds[kind] = 3

    # Packets

    def connect(self) -> bytes:
        """Make a CONNECT, with everything that one can have."""
        random = self.random
        flags = 0
        if random.random() < 0.7:
            flags |= 0x02
        credential = self._credential()
        client_id = self._client_id(credential)
        if not client_id and not self._odd():
            flags |= 0x02
        tail = text(client_id)
        # A session that nobody can take up again is not kept: what a run leaves behind is bounded.
        properties = self.properties(_OF_CONNECT if client_id else _OF_CONNECT[1:])
        if self._wills:
            flags |= 0x04 | random.choice(self._qualities()) << 3 | self._retain() << 5
            will = self.block(self.properties(_OF_WILL))
            tail += will + text(self.topic()) + text(self.payload())
        if self.version == 5 and random.random() < 0.1:
            # Enhanced authentication: the token stands in the data.
            method = random.choice((b"JWT", b"OAUTH2-JWT", b"CUSTOM-JWT", b"JWT", b"SCRAM-SHA-1"))
            properties += b"\x15" + text(method) + b"\x16" + text(credential.password)
        else:
            flags |= 0xC0
            tail += text(credential.username) + text(credential.password)
        if self._odd():
            flags ^= 1 << random.randrange(8)
        version = random.choice((3, 4, 5, 6, 0x84)) if self._odd() else self.version
        name = random.choice((b"MQIsdp", b"", b"mqtt", b"MQTT\x00")) if self._odd() else b"MQTT"
        keep_alive = random.choice((0, 1, 5, 60, 300, 65_535))
        head = text(name) + bytes((version, flags)) + two(keep_alive)
        return packet(0x10, head + self.block(properties) + tail)

    def publish(self) -> bytes:
        """Make a PUBLISH of any QoS."""
        random = self.random
        qos = 3 if self._odd() else random.choice(self._qualities())
        retain = self._retain()
        dup = (qos > 0 and random.random() < 0.1) or self._odd()
        properties = self.properties(_MESSAGE)
        topic = self.topic()
        if self.version == 5 and random.random() < 0.15:
            alias = random.choice((0, 3, 16, 17, 65_535)) if self._odd() else random.choice((1, 2))
            if alias in self._aliases and random.random() < 0.7:
                topic = b""
            self._aliases.add(alias)
            properties += b"\x23" + two(alias)
        body = text(topic) + (two(self.packet_id()) if qos else b"")
        return packet(0x30 | dup << 3 | qos << 1 | retain, body + self.block(properties) + self.payload())

    def subscribe(self) -> bytes:
        """Make a SUBSCRIBE of one filter or several."""
        random = self.random
        count = random.choice((1, 1, 1, 2, 3, 8)) if not self._odd() else random.choice((0, 150))
        filters = [self.topic_filter() for _ in range(count)]
        body = b"".join(text(one) + bytes((self._options(one),)) for one in filters)
        return packet(0x82, two(self.packet_id()) + self.block(self.properties(_OF_SUBSCRIBE)) + body)

    def unsubscribe(self) -> bytes:
        """Make an UNSUBSCRIBE."""
        count = self.random.choice((0, 150)) if self._odd() else self.random.choice((1, 1, 2, 5))
        body = b"".join(text(self.topic_filter()) for _ in range(count))
        return packet(0xA2, two(self.packet_id()) + self.block(self.properties((0x26,))) + body)

    def acknowledgement(self) -> bytes:
        """Make a PUBACK, PUBREC, PUBREL or PUBCOMP, of something or of nothing."""
        random = self.random
        first = random.choice((0x40, 0x50, 0x62, 0x62, 0x70) if self._exactly_once else (0x40,))
        body = two(self.packet_id())
        if self.version == 5 and random.random() < 0.4:
            body += bytes((self._reason(first),))
            if random.random() < 0.5:
                body += self.block(self.properties(_OF_ANSWER))
        return packet(first, body)

    def exactly_once(self) -> bytes:
        """Make the beginning of a QoS 2 exchange, or all that a client says in one."""
        random = self.random
        packet_id = two(self.packet_id())
        body = text(self.topic()) + packet_id + self.block(b"") + self.payload()
        parts = [packet(0x34, body), packet(0x62, packet_id)]
        if random.random() < 0.5:
            parts.insert(1, packet(0x3C, body))
        if random.random() < 0.2:
            random.shuffle(parts)
        return b"".join(parts[: random.randint(1, len(parts))])

    def pingreq(self) -> bytes:
        """Make a PINGREQ."""
        return b"\xc0\x00"

    def disconnect(self) -> bytes:
        """Make a DISCONNECT: with its will, without, with a reason that is none."""
        if self.version == 4 or self.random.random() < 0.3:
            return b"\xe0\x00"
        body = bytes((self._reason(0xE0),))
        if self.random.random() < 0.5:
            body += self.block(self.properties(_OF_DISCONNECT))
        return packet(0xE0, body)

    def auth(self) -> bytes:
        """Make an AUTH, in a place where one may come or where none may."""
        reason = self.random.choice((0x00, 0x18, 0x19, 0x19, 0x80))
        properties = self.properties(_OF_AUTH)
        if self.random.random() < 0.7:
            properties = b"\x15" + text(b"JWT") + b"\x16" + text(self._credential().password)
        return packet(0xF0, bytes((reason,)) + self.block(properties))

    def foreign(self) -> bytes:
        """Make what no client may send: a server's packet, or a type that is forbidden."""
        first = self.random.choice((0x00, 0x20, 0x90, 0xB0, 0xD0, 0xF0))
        return packet(first, self.random.randbytes(self.random.choice((0, 0, 2, 3, 12))))

    # Fields

    def packet_id(self) -> int:
        """Choose a packet identifier; few, so that they meet again."""
        return self.random.choice((0, 65_535, 300)) if self._odd() else self.random.randint(1, 6)

    def topic(self) -> bytes:
        """Choose a topic name, mostly one that the token allows."""
        if self._odd():
            return self.random.choice((*_STRANGE_TOPICS, *_STRANGE_TEXTS))
        return f"fuzz/{self.random.choice(_LEVELS)}/{self.random.choice(_LEVELS)}".encode()

    def topic_filter(self) -> bytes:
        """Choose a topic filter, mostly one that the token allows; a share at times."""
        random = self.random
        if self._odd():
            return random.choice((*_STRANGE_TOPICS, *_STRANGE_TEXTS))
        plain = random.choice((b"fuzz/#", b"fuzz/+/a", b"fuzz/a/+", b"fuzz/+/#", b"fuzz/a/b", self.topic()))
        return (
            random.choice((b"$share/g/", b"$share/h/")) + plain
            if self._shares and random.random() < 0.4
            else plain
        )

    def payload(self) -> bytes:
        """Choose a payload: small, empty, and large now and then."""
        random = self.random
        size = random.choice((0, 1, 8, 8, 30, 120))
        if random.random() < 0.004:
            size = random.choice((5_000, 65_535, 70_000))
        return random.randbytes(size) if self._odd() else b"payload " * (size // 8)

    def properties(self, allowed: tuple[int, ...]) -> bytes:
        """Make the properties of a packet, mostly such as it may have, mostly once each."""
        random = self.random
        if self.version == 4 or random.random() < 0.6:
            return b""
        chosen = random.sample(allowed, random.randint(1, min(3, len(allowed))))
        if self._odd():
            chosen += random.choices(list(_KINDS), k=random.choice((1, 2, 40)))
        if 0x26 in chosen and random.random() < 0.3:
            chosen += [0x26] * (40 if self._odd() else random.choice((1, 5)))
        return b"".join(bytes((identifier,)) + self._value(_KINDS[identifier]) for identifier in chosen)

    def block(self, properties: bytes) -> bytes:
        """Put the length before properties; nothing in 3.1.1."""
        if self.version == 4:
            return b""
        length = len(properties)
        if self._odd():
            length = self.random.choice((0, length + 1, max(0, length - 1), length + 200, MAX_VARIABLE))
        return variable(length) + properties

    def _value(self, kind: int) -> bytes:
        random = self.random
        if kind == _BYTE:
            return bytes((random.choice((0, 1, 1, 2, 255)) if self._odd() else random.choice((0, 1)),))
        if kind == _TWO:
            return two(random.choice(_NUMBERS if self._odd() else _USUAL_TWO))
        if kind == _FOUR:
            return random.choice(_NUMBERS if self._odd() else _USUAL_FOUR).to_bytes(4, "big")
        if kind == _VARIABLE:
            return variable(0 if self._odd() else random.choice((1, 2, 127, 128, MAX_VARIABLE)))
        if kind == _BINARY:
            return text(random.randbytes(random.choice((0, 4, 300))))
        if kind == _TOPIC:
            return text(self.topic())
        return text(self._text()) + (text(self._text()) if kind == _PAIR else b"")

    def _text(self) -> bytes:
        return self.random.choice(_STRANGE_TEXTS) if self._odd() else self.random.choice((b"", b"k", b"text"))

    def _client_id(self, credential: Credential) -> bytes:
        """Choose one of a user's client ids, or another's."""
        random = self.random
        if self._odd():
            return random.choice((*_STRANGE_TEXTS, *_STRANGE_TOPICS, b"fuzz-0-0"))
        return (
            b""
            if random.random() < 0.05
            else credential.username.partition(b"@")[0] + b"-%d" % random.randrange(_CLIENTS_OF_A_USER)
        )

    def _reason(self, first: int) -> int:
        return self.random.choice(_REASONS if self._odd() else _REASONS_OF[first])

    def _credential(self) -> Credential:
        right = self.random.choice(self._credentials)
        if not self._odd():
            return right
        other = self.random.choice(self._credentials)
        at = self.random.randrange(len(right.password))
        bent = right.password[:at] + b"A" + right.password[at + 1 :]
        return self.random.choice(
            (
                Credential(right.username, bent),
                Credential(right.username, right.password[:at]),
                Credential(other.username, right.password),
                Credential(b"server@" + right.username.partition(b"@")[2], b"sk_" + right.password[:60]),
                Credential(b"", right.password),
                Credential(self.random.choice(_STRANGE_TEXTS), self.random.randbytes(50)),
            )
        )

    def _options(self, topic_filter: bytes) -> int:
        random = self.random
        if self._odd():
            return random.randrange(256)
        qos = random.choice((0, 1, 2))
        if self.version == 4:
            return qos
        # No local on a share is a protocol error.
        no_local = 0 if topic_filter.startswith(b"$share/") else 0x04
        return qos | random.choice((0x00, no_local, 0x08, 0x10, 0x20))

    def _qualities(self) -> tuple[int, ...]:
        return (0, 1, 2, 2) if self._exactly_once else (0, 1)

    def _retain(self) -> bool:
        return self._retains and self.random.random() < 0.4

    def _odd(self) -> bool:
        return self.random.random() < self._strange
