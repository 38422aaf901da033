"""The ledger: what the clients asked for, what was acknowledged, and what each of them got. Append-only.

Times are monotonic seconds of this process. A *life* is a session as its client knows it: from the CONNACK
that says there was none before, until the client itself ends it.
"""

import time
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from tokenmq.mqtt.packets import Publish, Subscribe, Unsubscribe

FOREVER = float("inf")
# Only topics below this are ever cleared by an empty message.
CLEARED = "kept/"
# How a connection ended: the client dropped it, or the server went.
End = Literal["dropped", "lost"]


class Step(NamedTuple):
    """Something that happened to a message on the wire."""

    at: float
    client: str
    what: str
    packet_id: int


@dataclass(slots=True, eq=False)
class Will:
    """When a message is a will: the connection that it stands for.

    Attributes:
        delay_seconds: until it is due.
        established: the server must have kept it.
        ended_at: when the connection was gone; FOREVER while it is there.
        challenged_at: when the next CONNECT went out, which the server may have seen.
        resumed_at: when one was accepted.
    """

    delay_seconds: float
    established: bool = False
    ended_at: float = FOREVER
    challenged_at: float = FOREVER
    resumed_at: float = FOREVER


@dataclass(slots=True, eq=False)
class Message:
    """A message as its publisher knows it.

    Attributes:
        life: which session of its publisher it belongs to: within one, messages on a topic come in the order
            of their numbers.
        invoked: when PUBLISH was first sent; of a will, its CONNECT.
        acknowledged: when PUBACK or PUBREC came.
        given_up: when the publisher forgot it without an answer: nothing of it comes into the server later
            than the end of that process.
    """

    number: int
    publisher: str
    life: int
    topic: str
    payload: bytes
    qos: int
    retain: bool
    invoked: float
    will: Will | None = None
    acknowledged: float = FOREVER
    given_up: float = FOREVER
    refused: int = 0
    history: list[Step] = field(default_factory=list)


class Delivery(NamedTuple):
    """A message as it was handed up."""

    at: float
    number: int
    qos: int
    retain: bool


@dataclass(slots=True, eq=False)
class Subscribed:
    """A subscription: asked for, in force for sure from `since` to `until`, surely over at `gone`."""

    topic_filter: str
    qos: int
    asked: float
    since: float = FOREVER
    until: float = FOREVER
    gone: float = FOREVER


@dataclass(slots=True, eq=False)
class Life:
    """A session.

    Attributes:
        ended: when its client, or a revocation, began to end it.
        uncertain: that revocation was never answered: the session may be there, unread.
    """

    client: str
    began: float
    ended: float = FOREVER
    uncertain: bool = False
    subscriptions: list[Subscribed] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)


class Up(NamedTuple):
    """A process that served: ready from, gone at."""

    ready: float
    gone: float


class Ledger:
    """Everything that was seen.

    Attributes:
        round: the one that is going on, from 1.
        faults: what is wrong whatever comes: by round.
        ups: when the server was there.
        readings: number of the retained message that stood on each topic at the end; none, no entry.
    """

    def __init__(self) -> None:
        self.round = 0
        self.messages: dict[int, Message] = {}
        self.lives: list[Life] = []
        self.faults: list[tuple[int, str]] = []
        self.ups: list[Up] = []
        self.readings: dict[str, int] = {}

    def message(
        self, publisher: str, life: int, packet: Publish, *, size: int | None = 0, will: Will | None = None
    ) -> Message:
        """Enter a message and make its payload: its number and `size` bytes; None makes it empty.

        Empty ones clear retained topics; who receives one cannot tell it from others.
        """
        number = len(self.messages) + 1
        packet.payload = b"" if size is None else b"%d:" % number + b"x" * size
        message = Message(
            number, publisher, life, packet.topic, packet.payload, packet.qos, packet.retain, now(), will
        )
        self.messages[number] = message
        return message

    def fault(self, text: str) -> None:
        """Enter what is wrong."""
        self.faults.append((self.round, text))


def now() -> float:
    """Read the ledger's clock."""
    return time.monotonic()


class Page:
    """One client's part of the ledger; the `Book` of its protocol state."""

    def __init__(self, ledger: Ledger, client: str) -> None:
        self._ledger = ledger
        self._client = client
        self.life: Life | None = None
        self.lives = 0

    def began(self) -> None:
        self.lives += 1
        self.life = Life(self._client, now())
        self._ledger.lives.append(self.life)

    def resumed(self) -> None:
        if self.life is None:
            self.began()

    def ending(self) -> None:
        """The client is about to end its session."""
        if self.life is not None:
            self.life.ended = min(self.life.ended, now())

    def note(self, message: int, what: str, packet_id: int) -> None:
        self._ledger.messages[message].history.append(Step(now(), self._client, what, packet_id))

    def acknowledged(self, message: int) -> None:
        self._ledger.messages[message].acknowledged = now()

    def refused(self, message: int, code: int) -> None:
        self._ledger.messages[message].refused = code
        self._ledger.fault(f"message {message} of {self._client} was refused with {code:#04x}")

    def abandoned(self, message: int) -> None:
        self._ledger.messages[message].given_up = now()

    def seen(self, packet: Publish, what: str) -> None:
        message = self._ledger.messages.get(number_of(packet))
        if message is not None:
            message.history.append(
                Step(now(), self._client, f"{what}{' with DUP' if packet.dup else ''}", packet.packet_id)
            )

    def handed_up(self, packet: Publish) -> None:
        if not packet.payload and packet.topic.startswith(CLEARED):
            return
        message = self._ledger.messages.get(number_of(packet))
        if message is None or (message.topic, message.payload) != (packet.topic, packet.payload):
            self.wrong(f"{packet!r:.120} was never published")
        elif self.life is not None:
            self.life.deliveries.append(Delivery(now(), message.number, packet.qos, packet.retain))

    def asked(self, subscribe: Subscribe | Unsubscribe) -> None:
        if self.life is None:
            return
        if isinstance(subscribe, Unsubscribe):
            for topic_filter in subscribe.topic_filters:
                for subscribed in self._of(topic_filter):
                    subscribed.until = min(subscribed.until, now())
            return
        self.life.subscriptions += [
            Subscribed(wanted.topic_filter, wanted.qos, now()) for wanted in subscribe.subscriptions
        ]

    def granted(self, topic_filter: str, code: int) -> None:
        for subscribed in self._of(topic_filter):
            if code == subscribed.qos:
                subscribed.since = min(subscribed.since, now())
            else:
                self.wrong(f"subscribing to {topic_filter} at QoS {subscribed.qos} was answered {code:#04x}")

    def ended(self, topic_filter: str) -> None:
        for subscribed in self._of(topic_filter):
            subscribed.gone = min(subscribed.gone, now())

    def wrong(self, text: str) -> None:
        self._ledger.fault(f"{self._client}: {text}")

    def _of(self, topic_filter: str) -> list[Subscribed]:
        """Return those with this filter that are not over."""
        if self.life is None:
            return []
        return [
            subscribed
            for subscribed in self.life.subscriptions
            if subscribed.topic_filter == topic_filter and subscribed.gone == FOREVER
        ]


def number_of(packet: Publish) -> int:
    """Return the number that a payload begins with; 0 if it is none of ours."""
    head = packet.payload.partition(b":")[0]
    return int(head) if head.isdigit() else 0
