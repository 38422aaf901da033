"""Messages that say that something is missing before them, which cannot be had any more.

Theory of operation. A *mark* is made where messages are lost to one who reads history (a replay
ends early, a queue overflows while older messages are sent). The next message on a topic of which
it is true carries it: one that is queued already, or else the next that comes; until then the
receiver is not `ready`, so that the one is looked for at all. Only MQTT 5 has words for it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from tokenmq.broker import stamping
from tokenmq.broker.barrier import Barrier
from tokenmq.broker.queued import Queued
from tokenmq.broker.runs import Waiting
from tokenmq.broker.waiting import Share

# What tells of a topic, with whatever stands before it, whether a mark goes with its message.
Mark = Callable[[str], bool]


class Marking(Queued):
    """The queue of one receiver, and the marks that are to go with what it receives next.

    Attributes:
        connected: there is a connection.
        ready: the next message may go out as it is.
        version: of the protocol.
        max_packet_bytes: the largest packet that the peer takes.
        marks: by whose account they are.
    """

    __slots__ = ("connected", "marks", "max_packet_bytes", "ready", "version")

    connected: bool
    ready: bool
    version: int
    max_packet_bytes: int

    def __init__(self, *, max_queued_messages: int, max_queued_bytes: int, share: Share) -> None:
        super().__init__(
            max_queued_messages=max_queued_messages, max_queued_bytes=max_queued_bytes, share=share
        )
        self.marks: dict[object, Mark] = {}

    @abstractmethod
    def _drain(self) -> None:
        """Send what waits and may go."""

    def mark_next(self, what: object, mark: Mark) -> None:
        """Have the next message on a topic of which this is true say that something is missing.

        Args:
            what: on whose account, for `unmark`.
        """
        if self.connected and self.version == 5:
            self.marks[what] = mark
            self.ready = False

    def unmark(self, what: object) -> None:
        """Have no message say so any more on an account."""
        if self.marks.pop(what, None) is not None:
            self._drain()

    def take_mark(self, packet: bytes, topic: str, qos: int) -> bytes:
        """Return a PUBLISH that goes out next on a topic, saying so if it is to and is not too large then."""
        left = self._marks_without(topic)
        if len(left) == len(self.marks):
            return packet
        marked = stamping.marked(packet, qos, self.max_packet_bytes)
        if marked is not packet:
            self.marks = left
            self._drain()
        return marked

    def mark_queued(self, mark: Mark) -> bool:
        """Have the first such message that is queued say so; tell whether there is one that can."""
        if self.version != 5:
            return False
        for at, one in enumerate(self.queue):
            if isinstance(one, Barrier) or not mark(one.topic):
                continue
            marked = one.first_marked()
            if marked.size > self.max_packet_bytes:
                return False
            self.pass_on(one, one.start + one.size)
            if not one.bytes_left:
                self.take_out(one)
            self.enqueue(marked, at)
            return True
        return False

    def enqueue_marked(self, waiting: Waiting) -> None:
        """Queue a run, its first message marked if one of the marks is for it."""
        left = self._marks_without(waiting.topic)
        if len(left) < len(self.marks):
            marked = waiting.first_marked()
            if marked.size <= self.max_packet_bytes:
                self.marks = left
                self.enqueue(marked)
                waiting.start += waiting.size
        if waiting.bytes_left:
            self.enqueue(waiting)

    def _marks_without(self, topic: str) -> dict[object, Mark]:
        return {what: mark for what, mark in self.marks.items() if not mark(topic)}
