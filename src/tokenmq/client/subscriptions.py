"""What a client is subscribed to, and the way of a message to those who want it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Final

from paho.mqtt.subscribeoptions import SubscribeOptions

from tokenmq.client.inbox import Delivery, Mailbox, MessageCallback, Reader
from tokenmq.client.messages import HISTORY_GAP
from tokenmq.client.replays import RECORDED, Replay
from tokenmq.client.wire import Received
from tokenmq.topics.filter import matches, split_share
from tokenmq.topics.tree import FilterTree

CAPACITY: Final = 10_000


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Subscription:
    """A filter that was subscribed to.

    Attributes:
        topic_filter: as it was given, `$share/group/` included.
        qos: what the broker has granted.
        user_properties: of the answer (MQTT 5).
    """

    topic_filter: str
    qos: int
    user_properties: tuple[tuple[str, str], ...] = ()

    @property
    def is_recorded(self) -> bool | None:
        """Whether anything is recorded there; None where the broker was not asked for history."""
        told = dict(self.user_properties).get(RECORDED)
        return None if told is None else told == "true"


@dataclasses.dataclass(slots=True, eq=False)
class Wish:
    """What is subscribed to again on each new session."""

    topic_filter: str
    options: SubscribeOptions
    mailbox: Mailbox
    reader: Reader | None = None
    history: Replay | None = None

    def asked(self) -> list[tuple[str, str]]:
        """Return the user properties to subscribe with."""
        return [] if self.history is None else self.history.asked()


class Subscriptions:
    """Subscriptions by filter, and everything that was received and is not done with."""

    def __init__(
        self,
        *,
        acknowledge: Callable[[Received], bool],
        on_dropped: Callable[[int], None],
        receive_maximum: int,
        capacity: int = CAPACITY,
    ) -> None:
        """Begin.

        Args:
            acknowledge: tells the broker that a message of QoS 1 was taken; returns whether it could.
            on_dropped: told how many messages were dropped here.
            receive_maximum: messages in the mailbox that nobody reads.
            capacity: messages in one mailbox.
        """
        self._acknowledge = acknowledge
        self._on_dropped = on_dropped
        self._unread_limit = receive_maximum // 2 + 1
        self._capacity = capacity
        self._wishes: dict[str, Wish] = {}
        self._mailboxes: FilterTree[Mailbox] = FilterTree()
        self._for_all: dict[MessageCallback, Reader] = {}
        self._unacknowledged: dict[int, Delivery] = {}
        # Packet identifiers of messages that were done with while there was no connection.
        self._unsaid: set[int] = set()
        self.messages = Mailbox()

    def __iter__(self) -> Iterator[Wish]:
        return iter(tuple(self._wishes.values()))

    def add(
        self,
        topic_filter: str,
        options: SubscribeOptions,
        callback: MessageCallback | None,
        history: Replay | None = None,
    ) -> Wish:
        """Remember a subscription, before it is asked for: its messages may overtake the answer."""
        before = self._wishes.get(topic_filter)
        reader = Reader(callback) if callback else None
        wish = Wish(topic_filter, options, reader.mailbox if reader else self.messages, reader, history)
        if before is not None:
            self._leave(before)
        self._mailboxes.insert(split_share(topic_filter)[1], wish.mailbox)
        self._wishes[topic_filter] = wish
        return wish

    def remove(self, topic_filter: str) -> None:
        """Forget a subscription."""
        if (wish := self._wishes.pop(topic_filter, None)) is not None:
            self._leave(wish)

    def forget(self, wish: Wish) -> None:
        """Forget a subscription that was refused, unless another one has taken its place."""
        if self._wishes.get(wish.topic_filter) is wish:
            self.remove(wish.topic_filter)

    def add_for_all(self, callback: MessageCallback) -> None:
        """Call it with every message, whatever it was subscribed by; again is nothing."""
        if callback not in self._for_all:
            self._for_all[callback] = Reader(callback)

    def remove_for_all(self, callback: MessageCallback) -> None:
        """Call it no more."""
        if (reader := self._for_all.pop(callback, None)) is not None:
            reader.end()

    def received(self, one: Received) -> None:
        """Hand out a message that has come."""
        if one.message.qos == 1:
            known = self._unacknowledged.get(one.packet_id)
            if known is not None and one.message.dup:
                known.received = one
                return
            if one.packet_id in self._unsaid:
                self._unsaid.discard(one.packet_id)
                if one.message.dup:
                    self._say(one)
                    return
        mailboxes = self._wanting(one.message.topic)
        if one.message.user_properties and (number := one.message.history_id) is not None:
            mailboxes, one = self._new_to(mailboxes, one, number)
            if not mailboxes:
                self._acknowledge(one)
                return
        delivery = Delivery(one, len(mailboxes), self._finished)
        if one.message.qos == 1:
            self._unacknowledged[one.packet_id] = delivery
        for mailbox in mailboxes:
            self._put(mailbox, delivery)

    def wants(self, topic: str) -> bool:
        """Whether any subscription matches a topic."""
        return any(True for _ in self._mailboxes.matching(topic))

    def connected(self, *, session_present: bool) -> None:
        """Without the session of before, the broker repeats nothing and waits for nothing."""
        for wish in self:
            if wish.history is not None:
                wish.history.begins(session_present=session_present)
        if not session_present:
            self._unacknowledged.clear()
            self._unsaid.clear()

    async def close(self) -> None:
        """End all callbacks, and be done with what `messages` gave last."""
        self.messages.release()
        readers = [wish.reader for wish in self if wish.reader] + list(self._for_all.values())
        for reader in readers:
            await reader.close()

    def _new_to(self, mailboxes: list[Mailbox], one: Received, number: int) -> tuple[list[Mailbox], Received]:
        """Leave out those whose history has had this message before; what it told of a gap is told later."""
        had: dict[Mailbox, bool] = {}
        is_after_gap = False
        for wish in self:
            if matches(split_share(wish.topic_filter)[1], one.message.topic):
                is_new = wish.history is None or wish.history.takes(
                    number, is_after_gap=one.message.history_gap
                )
                if is_new and wish.history is not None:
                    is_after_gap = wish.history.takes_gap() or is_after_gap
                had[wish.mailbox] = had.get(wish.mailbox, True) and not is_new
        if had and all(had.values()):
            return [], one
        if is_after_gap and not one.message.history_gap:
            told = (*one.message.user_properties, (HISTORY_GAP, "true"))
            message = dataclasses.replace(one.message, user_properties=told)
            one = dataclasses.replace(one, message=message)
        return [mailbox for mailbox in mailboxes if not had.get(mailbox)], one

    def _wanting(self, topic: str) -> list[Mailbox]:
        """Return who gets a message: nobody twice, and somebody always."""
        found = dict.fromkeys(self._mailboxes.matching(topic)) or {self.messages: None}
        if self._for_all and not self.messages.is_read:
            found.pop(self.messages, None)
        return [*found, *(reader.mailbox for reader in self._for_all.values())]

    def _put(self, mailbox: Mailbox, delivery: Delivery) -> None:
        if mailbox is self.messages and len(mailbox) >= self._unread_limit and self._harms_others():
            mailbox.drop_oldest()
            self._on_dropped(1)
        if len(mailbox) >= self._capacity:
            delivery.finish()
            self._on_dropped(1)
        else:
            mailbox.put(delivery)

    def _harms_others(self) -> bool:
        """Nobody has ever read `messages`, and what is held back there holds up callbacks."""
        has_callbacks = bool(self._for_all) or any(wish.reader for wish in self)
        return has_callbacks and not self.messages.is_read

    def _finished(self, delivery: Delivery) -> None:
        one = delivery.received
        if self._unacknowledged.get(one.packet_id) is delivery:
            del self._unacknowledged[one.packet_id]
            self._say(one)

    def _say(self, one: Received) -> None:
        """Acknowledge it, now or when the broker asks by repeating it."""
        if not self._acknowledge(one):
            self._unsaid.add(one.packet_id)

    def _leave(self, wish: Wish) -> None:
        """Take a wish out of the tree; its callback is called no more."""
        others = (one for one in self if one is not wish)
        inner = split_share(wish.topic_filter)[1]
        if not any(
            one.mailbox is wish.mailbox and split_share(one.topic_filter)[1] == inner for one in others
        ):
            self._mailboxes.remove(inner, wish.mailbox)
        if wish.reader is not None:
            wish.reader.end()
