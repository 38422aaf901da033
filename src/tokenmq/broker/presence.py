"""Who is present on the topics that somebody watches (the wire contract, "Presence").

Theory of operation. A connected session is present on a filter while one of its counting
subscriptions overlaps it: active, of a user, its inner filter not beginning with a wildcard
and in no tree of the broker's own. A *watch* is one filter that is watched, by however many
(`watching`); it is told who joins and leaves, in order, and knows how many are there.

Subscriptions that have the same inner filter overlap the same watches, so the sessions that
have one are held together, as an *audience*: a watch has audiences, an audience has watches,
and to join costs a look at the watches of one audience, whatever the number of members. A
session in several audiences of a watch joins it with the first and leaves it with the last.

Where nobody watches there is no `Presence` at all (`Tenant.presence` is None) and nothing is
counted: a watch that begins finds its members in the tree of subscriptions, some in a turn; a
snapshot goes out when it has them all. From then on it is told of each change. `audiences` of
a member are what was counted, so what is taken away is what was added, and `sync` brings both
together where much has changed at once.

A client that takes over its own session is not gone in between. If it goes on with the
session, its membership just stays; if it begins anew, what it was present on is *held* for
some seconds, in which it may subscribe again: only what it did not then is left.

A member's *states* are JSON that it has published for single topics (`stating`). They are gone
with its last subscription that matches the topic.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from tokenmq.access.permission import Permission
from tokenmq.broker.watch import Watch
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.topics.filter import matches
from tokenmq.topics.tree import FilterTree

if TYPE_CHECKING:
    from tokenmq.access.identity import Identity
    from tokenmq.broker.broker import Broker
    from tokenmq.broker.session import Session
    from tokenmq.broker.subscription import Subscription
    from tokenmq.broker.tenant import Tenant

# How long a client that has taken over its own session may take to subscribe again.
HOLD_SECONDS = 5.0
# What a new watch's look at a session costs, beside its subscriptions (`retaining.TURN`).
_LOOK_COST = 15
# Of a digest: no two sessions of an organization have the same, and nobody finds one that has.
_ID_BYTES = 12

DISCONNECTED = "disconnected"
UNSUBSCRIBED = "unsubscribed"
_REASONS = {
    int(ReasonCode.MAXIMUM_CONNECT_TIME): "expired",
    int(ReasonCode.KEEP_ALIVE_TIMEOUT): "timeout",
}


def member_id(salt: bytes, org_id: str, owner: tuple[str, str], client_id: str) -> str:
    """Return the name under which others see a session; nothing of it can be read from that.

    Args:
        salt: secret, of this process.
        org_id: its organization.
        owner: whose session it is.
        client_id: of the session; has no NUL, as no MQTT string has.
    """
    text = "\0".join((org_id, *owner, client_id)).encode()
    digest = hashlib.blake2b(text, key=salt, digest_size=_ID_BYTES).digest()
    return base64.urlsafe_b64encode(digest).decode("ascii")


class Audience:
    """The members that have counting subscriptions with one inner filter, where somebody watches.

    Attributes:
        members: in the order in which they came.
        watches: those whose filters it overlaps.
    """

    __slots__ = ("members", "topic_filter", "watches")

    def __init__(self, topic_filter: str) -> None:
        self.topic_filter = topic_filter
        self.members: dict[Member, None] = {}
        self.watches: dict[Watch, None] = {}


class Member:
    """A session as it is counted; a snapshot that is under way may have it after that.

    Attributes:
        session: is let go of when it counts no more, so that no slow watcher holds what has ended.
        member_id, user_id, since: what a snapshot shows of it; `since` when it connected, unix seconds.
        audiences: how many subscriptions put it there; 0 where it is only held.
        is_held: its client has begun anew, and is given time to subscribe again.
        held: the audiences that it stays in until then.
        states: JSON by topic.
    """

    __slots__ = ("audiences", "held", "is_held", "member_id", "session", "since", "states", "user_id")

    def __init__(self, session: Session) -> None:
        self.stand_for(session)
        self.audiences: dict[Audience, int] = {}
        self.is_held = False
        self.held: set[Audience] = set()
        self.states: dict[str, bytes] = {}

    def stand_for(self, session: Session) -> None:
        """Be this session from now on, as it is now."""
        self.session = session
        self.member_id, self.user_id = session.member_id, session.identity.user_id
        self.since = session.opened_at


class Presence:
    """The watches of one organization, and who is present on them.

    Attributes:
        watches: by filter.
        members: by session; only those who are in an audience or have a state.
    """

    __slots__ = ("_audience_tree", "_audiences", "_tenant", "_tree", "members", "watches")

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self.watches: dict[str, Watch] = {}
        self._tree: FilterTree[Watch] = FilterTree()
        self._audiences: dict[str, Audience] = {}
        self._audience_tree: FilterTree[Audience] = FilterTree()
        self.members: dict[Session, Member] = {}

    # Watches

    def watch(self, topic_filter: str) -> Watch:
        """Return the watch of a filter; a new one is to be opened before it is told anything."""
        watch = self.watches.get(topic_filter)
        if watch is None:
            watch = self.watches[topic_filter] = Watch(topic_filter, self._tenant.due)
        return watch

    def open(self, watch: Watch, turn: int) -> int:
        """Find who is present on a new watch, as far as that goes in a turn; return how much was looked at.

        Who comes and goes meanwhile is counted as ever; the watch is told of nothing before it is open.
        """
        if watch.unlooked is None:
            watch.unlooked = self._list(watch)
        looked = 0
        while watch.unlooked and looked < turn:
            session = self._tenant.sessions.get(watch.unlooked.pop())
            if session is not None and session.connected:
                looked += len(session.subscriptions)
                self.sync(session)
            looked += _LOOK_COST
        if not watch.is_open and not watch.unlooked:
            watch.is_open = True
            watch.count = len(watch.roster())
        return looked

    def close(self, watch: Watch) -> None:
        """Forget a watch that nobody watches any more."""
        del self.watches[watch.topic_filter]
        self._tree.remove(watch.topic_filter, watch)
        self._tenant.due.pop(watch, None)
        for audience in watch.audiences:
            del audience.watches[watch]
            if not audience.watches:
                self._drop(audience)
                for member in audience.members:
                    del member.audiences[audience]
                    member.held.discard(audience)
                    self._rest(member)
        self._rest()

    # What happens to sessions

    def entered(self, subscription: Subscription) -> None:
        """Count a subscription that has come into force."""
        if not subscription.is_counted:
            return
        audience = self._audience(subscription)
        if audience is not None:
            self._add(self._member(subscription.session), audience)

    def left(self, subscription: Subscription) -> None:
        """Count a subscription no longer: its session has ended it, or has another in its place."""
        member = self.members.get(subscription.session)
        if member is None or not subscription.is_counted:
            return
        audience = self._audiences.get(subscription.inner_filter)
        if audience is not None and audience in member.audiences:
            member.audiences[audience] -= 1
            member.held.discard(audience)  # its client has said what it wants
            self._leave_if_over(member, audience, UNSUBSCRIBED)
        self._forget_states(member)
        self._rest(member)

    def sync(self, session: Session) -> None:
        """Count what a session has now, after its rights or its connection have become others."""
        wanted: dict[str, int] = {}
        for subscription in session.subscriptions.values():
            if subscription.is_counted:
                wanted[subscription.inner_filter] = wanted.get(subscription.inner_filter, 0) + 1
                audience = self._audience(subscription)
                if audience is not None:
                    member = self._member(session)
                    if audience not in member.audiences:
                        self._add(member, audience)
        counted = self.members.get(session)
        if counted is None:
            return
        counted.stand_for(session)  # it may have another connection
        for audience in list(counted.audiences):
            counted.audiences[audience] = wanted.get(audience.topic_filter, 0)
            self._leave_if_over(counted, audience, UNSUBSCRIBED)
        self._forget_states(counted)
        self._rest(counted)

    def parted(self, session: Session, code: int | None) -> None:
        """Let a session go that loses its connection; `code` is what its client is told, or None."""
        member = self.members.get(session)
        if member is None:
            return
        reason = "revoked" if session.disowned else _REASONS.get(code or 0, DISCONNECTED)
        member.is_held = False
        member.held.clear()
        for audience in list(member.audiences):
            self._leave(member, audience, reason)
        member.states.clear()
        self._rest(member)

    def put_back(self, member: Member, session: Session) -> None:
        """Have a session be the member that was taken out (`take`); `sync` it soon."""
        member.stand_for(session)
        self.members[session] = member

    def release(self, session: Session) -> None:
        """Let a session leave what it was held in and has not subscribed to again."""
        member = self.members.get(session)
        if member is None:
            return
        member.is_held = False
        held, member.held = member.held, set()
        for audience in held:
            self._leave_if_over(member, audience, UNSUBSCRIBED)
        self._forget_states(member)
        self._rest(member)

    # States

    def set_state(self, session: Session, topic: str, state: bytes | None) -> None:
        """Set or clear what a session says of itself on a topic that it is present on."""
        member = self._member(session)
        if member.states.get(topic) == state:
            self._rest(member)
            return
        if state is None:
            del member.states[topic]
        else:
            member.states[topic] = state
        self._tell_state(member, topic)
        self._rest(member)

    def _forget_states(self, member: Member) -> None:
        """Forget the states of topics that a member is not present on any more, or has no right to."""
        if not member.states or member.is_held:
            return
        for topic in list(member.states):
            if not may_state(member.session, topic):
                del member.states[topic]
                self._tell_state(member, topic)

    def _tell_state(self, member: Member, topic: str) -> None:
        for watch in self._tree.matching(topic):
            if watch.has(member):
                watch.updated(member, topic)

    # Audiences

    def _list(self, watch: Watch) -> list[str]:
        """Let a new watch be in force; return the client ids of those who may not be counted yet."""
        self._tree.insert(watch.topic_filter, watch)
        counted: set[str] = set()
        for audience in self._audience_tree.overlapping(watch.topic_filter):
            if any(other.is_open for other in audience.watches):
                counted.add(audience.topic_filter)
            _link(audience, watch)
        found = self._tenant.routes.overlapping(watch.topic_filter)
        missing = (one for one in found if one.is_counted and one.inner_filter not in counted)
        return list(dict.fromkeys(one.session.client_id for one in missing))[::-1]

    def _member(self, session: Session) -> Member:
        member = self.members.get(session)
        if member is None:
            member = self.members[session] = Member(session)
        return member

    def _audience(self, subscription: Subscription) -> Audience | None:
        """Return the audience that a subscription belongs to; None where nobody watches it."""
        audience = self._audiences.get(subscription.inner_filter)
        if audience is None and (watches := self._tree.overlapping(subscription.inner_filter)):
            audience = self._begin(subscription)
            for watch in watches:
                _link(audience, watch)
        return audience

    def _begin(self, subscription: Subscription) -> Audience:
        topic_filter = subscription.inner_filter
        audience = self._audiences[topic_filter] = Audience(topic_filter)
        self._audience_tree.insert(topic_filter, audience)
        return audience

    def _drop(self, audience: Audience) -> None:
        del self._audiences[audience.topic_filter]
        self._audience_tree.remove(audience.topic_filter, audience)

    def _add(self, member: Member, audience: Audience) -> None:
        """Count one more subscription."""
        if _count(member, audience):
            for watch in audience.watches:
                if not watch.has(member, beside=audience):
                    watch.joined(member)

    def _leave_if_over(self, member: Member, audience: Audience, reason: str) -> None:
        if member.audiences.get(audience) == 0 and audience not in member.held:
            self._leave(member, audience, reason)

    def _leave(self, member: Member, audience: Audience, reason: str) -> None:
        del member.audiences[audience]
        del audience.members[member]
        for watch in audience.watches:
            if not watch.has(member):
                watch.left(member, reason)
        if not audience.members:
            self._drop(audience)
            for watch in audience.watches:
                del watch.audiences[audience]

    def _rest(self, member: Member | None = None) -> None:
        """Forget a member that counts nowhere, and all of this once there is nothing in it."""
        if member is not None and not member.audiences and not member.states:
            self.members.pop(member.session, None)
            del member.session
        if not self.watches and not self.members:
            self._tenant.presence = None


def take(session: Session, newcomer: Identity) -> Member | None:
    """Take a session out of what it is present on, if its own user takes it over; else None.

    So its end is not told; `give` or `hold` puts back what there was.
    """
    presence = session.tenant.presence
    if presence is None or session.identity.owner != newcomer.owner:
        return None
    return presence.members.pop(session, None)


def give(member: Member | None, session: Session) -> None:
    """Have a session that goes on over another connection be present as before; `sync` it soon."""
    if member is not None:
        session.tenant.presence_of().put_back(member, session)


def hold(broker: Broker, member: Member | None, session: Session) -> None:
    """Have a session that is begun anew be present as before, until it has had time to subscribe."""
    if member is not None and (member.audiences or member.states):
        member.is_held = True
        member.held = set(member.audiences)
        member.audiences = dict.fromkeys(member.audiences, 0)
        give(member, session)
        broker.holds.add(broker.moment.now + HOLD_SECONDS, session)


def may_state(session: Session, topic: str) -> bool:
    """Tell whether a session may say something of itself on a topic: it has the right and is there."""
    return is_present(session, topic) and session.scope.on_topic(Permission.PRESENCE, topic).allowed


def is_present(session: Session, topic: str) -> bool:
    """Tell whether a session is present on a topic."""
    return any(one.is_counted and matches(one.inner_filter, topic) for one in session.subscriptions.values())


def _link(audience: Audience, watch: Watch) -> None:
    audience.watches[watch] = None
    watch.audiences[audience] = None


def _count(member: Member, audience: Audience) -> bool:
    """Count one more subscription; return whether the member was not there before."""
    before = member.audiences.get(audience)
    member.audiences[audience] = (before or 0) + 1
    audience.members[member] = None
    return before is None
