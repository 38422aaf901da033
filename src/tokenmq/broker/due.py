"""The deliveries of one session that are due and have not gone out, in order, and what they hold.

A queue like a receiver's own, for messages that come one by one; `backlog` says what becomes of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenmq.broker.delivery import Delivery
    from tokenmq.broker.message import Message
    from tokenmq.broker.waiting import Share

# What a delivery takes beside its message, and a message beside its text, measured: objects and places.
ENTRY_BYTES = 512
MESSAGE_BYTES = 256


class Due:
    """Deliveries with their messages, the oldest first.

    Attributes:
        bytes: of their messages.
        weight: bytes that they hold in all, see `waiting`.
        size_class: likewise.
        give_oldest: drops the oldest, for the sake of all queues.
    """

    __slots__ = ("_items", "_share", "bytes", "give_oldest", "size_class", "weight")

    def __init__(self, share: Share, give_oldest: Callable[[], int]) -> None:
        self.give_oldest = give_oldest
        self.bytes = 0
        self.weight = self.size_class = 0
        self._share = share
        self._items: deque[tuple[Delivery, Message]] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[tuple[Delivery, Message]]:
        return iter(self._items)

    @property
    def next_bytes(self) -> int:
        """Bytes of the oldest message; there must be one."""
        return self._items[0][1].size

    def append(self, delivery: Delivery, message: Message) -> None:
        """Put a delivery behind all others; queues give if that is too much, this one too."""
        self._items.append((delivery, message))
        self.bytes += message.size
        self._share.enter(self, message, message.size + MESSAGE_BYTES, ENTRY_BYTES)

    def pop(self) -> Delivery:
        """Take out the oldest."""
        delivery, message = self._items.popleft()
        self.bytes -= message.size
        self._share.leave(self, message, message.size + MESSAGE_BYTES, ENTRY_BYTES)
        return delivery

    def clear(self) -> None:
        """Take out all."""
        while self._items:
            self.pop()
