"""The deliveries of one session that are due and have not gone out, in order, and what they hold.

A queue like a receiver's own, for messages that come one by one; `backlog` says what becomes of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tokenmq.broker.barrier import Barrier

if TYPE_CHECKING:
    from tokenmq.broker.delivery import Delivery
    from tokenmq.broker.message import Message
    from tokenmq.broker.waiting import Share

# What a delivery takes beside its message, and a message beside its text, measured: objects and places.
ENTRY_BYTES = 512
MESSAGE_BYTES = 256


class Due:
    """Deliveries with their messages, the oldest first, and barriers among them.

    Attributes:
        bytes: of their messages.
        weight: bytes that they hold in all, see `waiting`.
        size_class: likewise.
        give_oldest: drops the oldest, for the sake of all queues.
    """

    __slots__ = ("_count", "_items", "_share", "bytes", "give_oldest", "size_class", "weight")

    def __init__(self, share: Share, give_oldest: Callable[[], int]) -> None:
        self.give_oldest = give_oldest
        self.bytes = 0
        self.weight = self.size_class = 0
        self._share = share
        self._count = 0
        self._items: deque[tuple[Delivery, Message] | Barrier] = deque()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[Delivery, Message]]:
        return (item for item in self._items if not isinstance(item, Barrier))

    @property
    def is_empty(self) -> bool:
        """Whether nothing is due, and nothing would be held up."""
        return not self._items

    @property
    def next_bytes(self) -> int | None:
        """Bytes of the oldest message; None where there is none, or a barrier holds it up."""
        if not self._items:
            return None
        item = self._items[0]
        return None if isinstance(item, Barrier) else item[1].size

    def append(self, delivery: Delivery, message: Message) -> None:
        """Put a delivery behind all others; queues give if that is too much, this one too."""
        self._items.append((delivery, message))
        self._count += 1
        self.bytes += message.size
        self._share.enter(self, message, message.size + MESSAGE_BYTES, ENTRY_BYTES)

    def pop(self) -> Delivery:
        """Take out the oldest, whatever holds it up; there must be one."""
        for at, item in enumerate(self._items):
            if not isinstance(item, Barrier):
                del self._items[at]
                return self._count_out(*item)
        raise IndexError("nothing is due")

    def drop_what_ended(self) -> None:
        """Take out what is not to be sent any more."""
        items, self._items = self._items, deque()
        for item in items:
            if isinstance(item, Barrier) or (item[0].stands and not item[0].released):
                self._items.append(item)
            else:
                self._count_out(*item)

    def clear(self) -> None:
        """Take out all, barriers too."""
        while self._count:
            self.pop()
        self._items.clear()

    # What holds it up

    def hold_up(self, barrier: Barrier) -> None:
        """Have what becomes due from now on wait until the barrier is taken away."""
        self._items.append(barrier)

    def stands_at(self, barrier: Barrier) -> bool:
        """Tell whether everything before a barrier has gone out."""
        return bool(self._items) and self._items[0] is barrier

    def let_through(self, barrier: Barrier) -> None:
        """Take a barrier away, if it is there."""
        if barrier in self._items:
            self._items.remove(barrier)

    def let_all_through(self) -> None:
        """Take all barriers away: there is no connection any more."""
        self._items = deque(item for item in self._items if not isinstance(item, Barrier))

    def end(self) -> None:
        """Take out all, for good."""
        self.clear()
        # Whoever gives holds this: only the garbage collector would free them.
        self.give_oldest = _nothing

    def _count_out(self, delivery: Delivery, message: Message) -> Delivery:
        self._count -= 1
        self.bytes -= message.size
        self._share.leave(self, message, message.size + MESSAGE_BYTES, ENTRY_BYTES)
        return delivery


def _nothing() -> int:
    return 0
