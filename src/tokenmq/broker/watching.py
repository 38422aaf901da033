"""How those who watch hear of it: snapshots in pages, then events in order, several in one.

Theory of operation. What happens on a watch is noted with the watch, encoded once, and goes
out to all watchers together some time after the first of it (`COLLECT_SECONDS`, kept by the
broker's owner). A watcher is in one of three states:

* *live*: it has the snapshot and all events up to now;
* *loading*: it is sent a snapshot, page by page as its link takes them; what happens meanwhile
  is held behind it, within a bound;
* *stale*: it has missed something, or nothing was sent yet. It gets a snapshot as soon as its
  link takes bytes, and is loading then.

A live watcher whose link takes no bytes when events are due becomes stale, and so does a
loading one that has more held than a snapshot is worth. So nothing waits for a slow watcher
but a list of members, it never misses an event without a new snapshot, and whoever replays
what came (a snapshot's first page begins anew) has exactly those who are present. A snapshot
begins when what was noted before it has gone out: no event comes twice, none is missing.

Events are at QoS 0 and go to the connection that there is, past the session's queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

from tokenmq.broker.message import Message
from tokenmq.broker.watch import PREFIX, Burst, State, States, Watch
from tokenmq.timestamps import rfc3339

if TYPE_CHECKING:
    from tokenmq.broker.broker import Broker
    from tokenmq.broker.presence import Member
    from tokenmq.broker.session import Session
    from tokenmq.broker.subscription import Subscription
    from tokenmq.broker.tenant import Tenant

# The wire contract: what falls within this time comes together.
COLLECT_SECONDS = 0.1
_PAGE_MEMBERS = 100
# Of a payload; less where the peer takes less.
_MOST_BYTES = 64 * 1_024
# What goes to one session before others have their turn.
_TURN_BYTES = 256 * 1_024
# What a packet and its JSON have around filter, members and events, at most.
_FRAME_BYTES = 256
# What one member takes in a page beside its user id and states, about.
_MEMBER_BYTES = 100
# Held for a watcher whatever the size of its snapshot.
_HELD_BYTES = 256 * 1_024


class Shown(msgspec.Struct, frozen=True, gc=False):
    """A member in a snapshot; `at` is when it connected."""

    member: str
    user_id: str
    at: str
    state: State | UnsetType = UNSET
    states: States | UnsetType = UNSET


class Page(msgspec.Struct, frozen=True, gc=False):
    """A part of a snapshot; `page` counts from 1."""

    event: str
    filter: str
    page: int
    pages: int
    count: int
    members: list[Shown]


class Watcher:
    """One connection that watches, by one subscription; see the states at the head.

    Attributes:
        subscription: to `$presence/` and the watched filter.
        is_live: it has all up to now.
    """

    __slots__ = (
        "_at",
        "_cuts",
        "_held",
        "_held_bytes",
        "_limit",
        "_roster",
        "is_live",
        "subscription",
        "watch",
    )

    def __init__(self, subscription: Subscription, watch: Watch) -> None:
        self.subscription = subscription
        self.watch = watch
        self.is_live = False
        topic_bytes = 2 * len(watch.topic.encode())  # once in the packet, once in the payload
        room = subscription.session.max_packet_bytes - topic_bytes - _FRAME_BYTES
        self._limit = max(1, min(_MOST_BYTES, room))
        self._be_stale()

    def _be_stale(self) -> None:
        """Begin with a new snapshot."""
        self.is_live = False
        self._roster: list[Member] | None = None
        self._cuts: list[int] = []
        self._at = 0
        self._held: deque[Burst] = deque()
        self._held_bytes = 0

    def take(self, burst: Burst) -> None:
        """Send events, or hold them, or miss them."""
        if self.is_live:
            if self.subscription.session.outbox.paused:
                self._be_stale()
            else:
                self._send_burst(burst)
        elif self._roster is not None:
            self._held.append(burst)
            self._held_bytes += burst.size
            if self._held_bytes > _HELD_BYTES + 2 * _MEMBER_BYTES * len(self._roster):
                self._be_stale()

    def go_on(self, broker: Broker) -> int:
        """Do the next step towards being live; return how many bytes went out."""
        if self._roster is None:
            self._begin(broker)
            return 0
        if self._at < len(self._cuts):
            return self._send_page(broker)
        if self._held:
            burst = self._held.popleft()
            self._held_bytes -= burst.size
            return self._send_burst(burst)
        self._roster, self._cuts = None, []
        self.is_live = True
        return 0

    def _begin(self, broker: Broker) -> None:
        watch = self.watch
        presence = self.subscription.session.tenant.presence
        if presence is not None:
            broker.turn -= presence.open(watch, broker.turn)
        if not watch.is_open:
            return
        watch.flush()
        self._roster = watch.roster()
        self._cuts = list(_cuts(watch, self._roster, self._limit))
        self._at = 0
        broker.turn -= len(self._roster) // 2

    def _send_page(self, broker: Broker) -> int:
        watch, roster = self.watch, self._roster or []
        begin = self._cuts[self._at]
        end = self._cuts[self._at + 1] if self._at + 1 < len(self._cuts) else len(roster)
        times: dict[float, str] = {}
        shown: list[Shown] = []
        for member in roster[begin:end]:
            at = times.get(member.since) or times.setdefault(member.since, rfc3339(member.since))
            shown.append(Shown(member.member_id, member.user_id, at, *watch.states_of(member)))
        page = Page("snapshot", watch.topic_filter, self._at + 1, len(self._cuts), len(roster), shown)
        broker.turn -= 2 * len(shown)
        message = Message(watch.topic, msgspec.json.encode(page), 0, 0, b"")
        sent = self._send(message, must=len(shown) > 1)
        if sent:
            self._at += 1
        else:  # states have grown since it was cut
            self._limit = max(1, self._limit // 2)
            self._be_stale()
        return sent

    def _send_burst(self, burst: Burst) -> int:
        return sum(self._send(message) for message in burst.messages(self._limit))

    def _send(self, message: Message, *, must: bool = False) -> int:
        """Send a message; what the peer does not take is left out [MQTT-3.1.2-25].

        Args:
            must: it may be sent in smaller parts instead; then 0 is returned.
        """
        session, identifier = self.subscription.session, self.subscription.identifier
        packet = message.form(session.version, 0, (identifier,) if identifier else ()).packet
        if len(packet) > session.max_packet_bytes:
            if must:
                return 0
            session.count_too_large()
            return len(packet)
        session.append_publish(packet)
        session.tenant.counters.delivered += 1
        return len(packet)


# What happens to those who watch


def begin(broker: Broker, subscription: Subscription) -> None:
    """Let a connection watch, from now on."""
    session, watched = subscription.session, subscription.watched
    if watched is None or not session.connected:
        return
    watch = session.tenant.presence_of().watch(watched)
    watcher = Watcher(subscription, watch)
    watch.watchers[session] = watcher
    if session.watchers is None:
        session.watchers = {}
    session.watchers[subscription.topic_filter] = watcher
    go_on(broker, session)


def end(session: Session, topic_filter: str) -> None:
    """Let a connection watch a filter no longer; one that it does not watch is no error."""
    watcher = session.watchers.pop(topic_filter, None) if session.watchers else None
    if watcher is None:
        return
    watch, presence = watcher.watch, session.tenant.presence
    del watch.watchers[session]
    if not watch.watchers and presence is not None:
        presence.close(watch)


def parted(session: Session, code: int | None) -> None:
    """Let a connection go that ends: it watches nothing any more, and is present nowhere.

    Args:
        code: what its client is told; None where it has gone by itself.
    """
    for topic_filter in list(session.watchers or ()):
        end(session, topic_filter)
    session.watchers = None
    presence = session.tenant.presence
    if presence is not None:
        presence.parted(session, code)


def judged(broker: Broker, session: Session) -> None:
    """Have a connection watch what its rights cover now, and be counted by what they are now."""
    if not session.connected:
        return
    standing = {
        name: one
        for name, one in session.subscriptions.items()
        if one.watched is not None and not one.suspended
    }
    for name in list(session.watchers or ()):
        if name not in standing:
            end(session, name)
    if session.tenant.presence is not None:
        session.tenant.presence.sync(session)
    for name, subscription in standing.items():
        if not session.watchers or name not in session.watchers:
            begin(broker, subscription)


def go_on(broker: Broker, session: Session) -> None:
    """Send what a connection is to get before it is up to date; the rest when its link takes it."""
    sent = 0
    for watcher in list((session.watchers or {}).values()):
        while not watcher.is_live:
            if session.outbox.paused:
                return
            if sent >= _TURN_BYTES or broker.turn <= 0:
                broker.unfinished[session] = None
                return
            sent += watcher.go_on(broker)


def is_full(tenant: Tenant, watched: str, most: int, *, asked: Iterable[str]) -> bool:
    """Tell whether an organization has as many watches as it may, and this would be one more.

    Args:
        asked: filters with their `$presence/`, and others, that are admitted but not in force yet.
    """
    watches = {} if tenant.presence is None else tenant.presence.watches
    coming = {one[len(PREFIX) :] for one in asked if one.startswith(PREFIX)}
    if watched in watches or watched in coming:
        return False
    return len(watches) + sum(one not in watches for one in coming) >= most


def _cuts(watch: Watch, roster: list[Member], limit: int) -> Iterator[int]:
    """Yield where pages begin; there is one, even if nobody is there."""
    yield 0
    begin = size = 0
    for at, member in enumerate(roster):
        more = _MEMBER_BYTES + len(member.user_id)
        if member.states:
            state, states = watch.states_of(member)
            more += len(msgspec.json.encode(states or state or None))
        if at > begin and (at - begin >= _PAGE_MEMBERS or size + more > limit):
            yield at
            begin, size = at, 0
        size += more
