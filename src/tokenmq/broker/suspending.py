"""What a change of rights does to a session: subscriptions are suspended and revive, what waits goes.

Theory of operation. A subscription stands as long as the rights *cover* it; when they do not
any more it is suspended: it stays with its session, but no route has it. It needs no row in
the store: rights and policy say whether it is, at the start too. What is delivered is judged
by topic besides, as ever, so a message that waits goes if its topic is not allowed any more,
or if only suspended subscriptions match it.

Nobody goes deaf unawares: a connection that listens to its own events is told which
subscriptions are suspended, one that does not is closed with the reason (the wire contract,
"Staying connected"). Who comes back to a session with suspended subscriptions is told in
CONNACK, and stays.

The rights of all sessions that a change touches must be the new ones before any of this is
done: what one member of a shared subscription may not have any more goes to another.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from tokenmq.access.permission import Permission
from tokenmq.broker import replaying, retaining, sharing, watch, watching, wills
from tokenmq.broker.asking import split_history
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.topics.filter import matches

if TYPE_CHECKING:
    from tokenmq.access.decide import Scope
    from tokenmq.broker.broker import Broker
    from tokenmq.broker.session import Session
    from tokenmq.broker.shared import Group
    from tokenmq.broker.subscription import Subscription
    from tokenmq.broker.tenant import Tenant

# User property of CONNACK, one for each suspended subscription (the wire contract, section 3).
SUSPENDED = "tokenmq-suspended"


class Narrowed:
    """A session that has lost subscriptions.

    Attributes:
        suspended: their filters as they were subscribed to, and why.
    """

    __slots__ = ("session", "suspended")

    def __init__(self, session: Session, suspended: list[tuple[str, str]]) -> None:
        self.session = session
        self.suspended = suspended


def why_not(tenant: Tenant, scope: Scope, topic_filter: str, *, reads: bool = False) -> str | None:
    """Say why a plain filter may not be subscribed to, None where it may [MQTT-3.8.4-7].

    One that begins with `$presence/` asks for the presence on what follows, all of it.

    Args:
        reads: its history is wanted, too.
    """
    permission = Permission.SUBSCRIBE
    if topic_filter.startswith(watch.PREFIX):
        permission, topic_filter = Permission.PRESENCE, topic_filter[len(watch.PREFIX) :]
    if not tenant.knows(topic_filter):
        return f"nobody can subscribe to {topic_filter.partition('/')[0]}"
    decision = scope.on_filter(permission, topic_filter)
    if decision.allowed and reads:
        decision = scope.on_filter(Permission.HISTORY, topic_filter)
    return None if decision.allowed else decision.rule


def may_not(session: Session, scope: Scope, subscription: Subscription) -> str | None:
    """Say why a subscription of a session may not deliver, None where it may."""
    reads = bool(subscription.prefix)
    return why_not(session.tenant, scope, subscription.inner_filter, reads=reads)


def left_out(session: Session, scope: Scope) -> list[str]:
    """Return the subscriptions of a session that it would go on with suspended under other rights."""
    return [
        subscription.topic_filter
        for subscription in session.subscriptions.values()
        if may_not(session, scope, subscription) is not None
    ]


def judge(session: Session) -> list[tuple[str, str]]:
    """Suspend what the rights do not cover, and let revive what they do; return what was suspended."""
    suspended: list[tuple[str, str]] = []
    for subscription in session.subscriptions.values():
        why = may_not(session, session.scope, subscription)
        if why is not None and not subscription.suspended:
            suspended.append((subscription.topic_filter, why))
            if session.replays:
                session.replays.pop(subscription.topic_filter, None)
        elif why is None and subscription.suspended:
            subscription.since = session.tenant.history.newest
        subscription.suspended = why is not None
    session.tenant.routes.end_of(session.subscriptions.values())
    return suspended


def _stop_replays(broker: Broker, session: Session) -> None:
    """End replays that may not go on; what is retained follows where its subscription stands."""
    for reading in list(session.readings or ()):
        subscription = reading.subscription
        if why_not(session.tenant, session.scope, subscription.inner_filter, reads=True) is None:
            continue
        replaying.stop(session, reading, flows=False)
        if reading.retains and not subscription.suspended:
            retaining.begin(broker, subscription, seam=reading.seam, replayed=reading.replayed)


def apply(broker: Broker, sessions: Collection[Session]) -> list[Narrowed]:
    """Have everything of these sessions feel the rights that they have now.

    Effects: subscriptions are suspended or revive, their routes end; what waits for a session
        and may not be had any more goes, to another member where it was shared; a will that
        is not allowed any more is dropped.

    Returns: who has lost subscriptions by it; `tell` them.
    """
    narrowed: list[Narrowed] = []
    for session in sessions:
        suspended = judge(session)
        _stop_replays(broker, session)
        if suspended:
            narrowed.append(Narrowed(session, suspended))
    for session in sessions:
        watching.judged(broker, session)
    for session in sessions:
        _withhold(broker, session)
        wills.judge_anew(broker, session)
    return narrowed


def tell(broker: Broker, narrowed: Iterable[Narrowed]) -> None:
    """Tell connections of the subscriptions that they have lost; who does not listen is closed."""
    for one in narrowed:
        session, suspended = one.session, one.suspended
        if not session.connected:
            continue
        topic_filter, why = suspended[0]
        broker.report(
            "narrowed",
            org_id=session.tenant.org_id,
            client_id=session.client_id,
            user_id=session.identity.user_id,
            topic_filter=topic_filter[:256],
            reason=why,
            count=len(suspended),
        )
        if session.listens and broker.events.narrowed(session, [name for name, _ in suspended]):
            continue
        others = f"; and {len(suspended) - 1} more" if len(suspended) > 1 else ""
        text = f"subscription {topic_filter} is suspended: {why}{others}"
        broker.disconnect(session.outbox, ReasonCode.ADMINISTRATIVE_ACTION, text)


def _withhold(broker: Broker, session: Session) -> None:
    """Let go of what waits for a session and may not be had any more."""
    subscriptions = session.subscriptions.values()
    everything = [(one.prefix, one.inner_filter, one.suspended) for one in subscriptions]
    session.withhold(_judgement(session, everything))
    backlog = session.backlog
    if backlog is None or not backlog.deliveries:
        return
    plain = [(one.prefix, one.inner_filter, one.suspended) for one in subscriptions if one.group is None]
    may_have = _judgement(session, plain)
    may_receive = _judgement(session, [])

    def may_go(group: Group | None, topic: str) -> bool:
        if group is None:
            return may_have(topic)
        shared = session.subscriptions.get(group.name)
        return (shared is None or not shared.suspended) and may_receive(topic)

    sharing.pass_on(broker, session.tenant, backlog.withhold(may_go))


def _judgement(session: Session, filters: list[tuple[str, str, bool]]) -> Callable[[str], bool]:
    """Return what tells of a topic whether a message that waits on it may go out; asked once a topic.

    Args:
        filters: subscriptions that it may have come by: what stands before their topics, their
            filters, and whether each is suspended. What came by one that is not there any more
            is judged by its topic alone.
    """
    known: dict[str, bool] = {}
    suspended = [(prefix, topic_filter) for prefix, topic_filter, is_suspended in filters if is_suspended]
    standing = [(prefix, topic_filter) for prefix, topic_filter, is_suspended in filters if not is_suspended]

    def may_go(told: str) -> bool:
        found = known.get(told)
        if found is None:
            prefix, topic = split_history(told)
            found = known[told] = (
                session.scope.on_topic(Permission.SUBSCRIBE, topic).allowed
                and (not prefix or session.scope.on_topic(Permission.HISTORY, topic).allowed)
                and (not _holds(suspended, prefix, topic) or _holds(standing, prefix, topic))
            )
        return found

    return may_go


def _holds(filters: list[tuple[str, str]], prefix: str, topic: str) -> bool:
    return any(before == prefix and matches(topic_filter, topic) for before, topic_filter in filters)
