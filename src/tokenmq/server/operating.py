"""The half of `services.live.Live` that operators and servers call: sessions, retained, publish.

Each method is one entry into the core. Where the answer must wait for the store it is a
future, which is settled in the step in which the store has answered.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, TypeVar

from tokenmq.access.identity import Identity
from tokenmq.broker import operating
from tokenmq.broker.broker import Broker
from tokenmq.broker.refusals import Refusal
from tokenmq.broker.session import Session
from tokenmq.errors import NotKept
from tokenmq.mqtt.packets import Publish
from tokenmq.server.peer import Peer
from tokenmq.services.broker_views import (
    PresenceView,
    PresentViews,
    RetainedView,
    SessionView,
    SubscriptionView,
)

Outcome = TypeVar("Outcome")

_PROTOCOLS: dict[int, Literal["3.1.1", "5.0"]] = {4: "3.1.1", 5: "5.0"}


class Operating(abc.ABC):
    """What an owner of the core does for operators and servers.

    Attributes:
        broker: the core.
    """

    broker: Broker

    @abc.abstractmethod
    def settle(self) -> None:
        """Write and perform what an entry into the core has left."""

    @abc.abstractmethod
    def enter(self, org_id: str) -> None:
        """Tell the core what time it is, and have it know an organization."""

    @abc.abstractmethod
    def after_saves(self, step: Callable[[], None]) -> None:
        """Do something when everything recorded so far is in the store, or could not be stored."""

    def sessions(
        self, org_id: str, *, user_id: str | None, after: str | None, limit: int
    ) -> list[SessionView]:
        """Return sessions in the order of their client ids."""
        tenant = self.broker.tenants.get(org_id)
        if tenant is None:
            return []
        found = operating.sessions_of(tenant, user_id=user_id, after=after, limit=limit)
        return [_view(session) for session in found]

    async def end_session(self, org_id: str, client_id: str, *, reason: str) -> bool:
        """End one session."""
        tenant = self.broker.tenants.get(org_id)
        session = tenant.sessions.get(client_id) if tenant is not None else None
        return session is not None and await self._end(org_id, [session], reason) > 0

    async def end_user(self, org_id: str, user_id: str, *, reason: str) -> int:
        """End the sessions of a user."""
        tenant = self.broker.tenants.get(org_id)
        sessions = tenant.sessions.values() if tenant is not None else ()
        theirs = [session for session in sessions if session.identity.user_id == user_id]
        return await self._end(org_id, theirs, reason)

    def present(self, org_id: str, topic_filter: str, *, after: str, limit: int) -> PresentViews:
        """Return who is present on a filter."""
        tenant = self.broker.tenants.get(org_id)
        there = [] if tenant is None else operating.present_on(tenant, topic_filter)
        first = operating.first_members(there, after=after, limit=limit)
        users = {session.identity.user_id for session in there}
        return PresentViews(len(users), len(there), [_presence(session) for session in first])

    def present_user(self, org_id: str, user_id: str) -> list[PresenceView]:
        """Return where a user is connected."""
        tenant = self.broker.tenants.get(org_id)
        there = [] if tenant is None else operating.present_user(tenant, user_id)
        found = operating.first_members(there, after="", limit=len(there))
        return [_presence(session) for session in found]

    def retained(self, org_id: str, topic_filter: str) -> Iterator[RetainedView | None]:
        """Yield what is retained."""
        tenant = self.broker.tenants.get(org_id)
        if tenant is None:
            return
        for topic in tenant.retained.walk(topic_filter):
            retained = None if topic is None else tenant.retained.get(topic)
            if retained is None or self.broker.moment.now >= retained.record.expires_at:
                yield None
            else:
                record = retained.record
                yield RetainedView(record.topic, len(record.payload), record.stored_at)

    async def clear_retained(self, org_id: str, topic: str) -> bool:
        """Clear a topic."""
        tenant = self.broker.tenants.get(org_id)
        if tenant is None:
            return False
        self.enter(org_id)
        was_there = operating.clear_retained(self.broker, tenant, topic)
        return await self._once_kept(was_there, waits=was_there)

    def publish(
        self, publisher: Identity, topic: str, payload: bytes, *, qos: int, retain: bool
    ) -> asyncio.Future[Refusal | None]:
        """Publish a message."""
        future: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()

        def told(refusal: Refusal | None) -> None:
            # Whoever asked may be gone; the message goes its way all the same.
            with contextlib.suppress(asyncio.InvalidStateError):
                future.set_result(refusal)

        self.enter(publisher.org_id)
        # A packet identifier as good as any: receivers give it one that is free with them.
        packet = Publish(topic, payload, qos, retain, packet_id=1 if qos else 0)
        operating.post(self.broker, publisher, packet, told)
        self.settle()
        return future

    def history_flushed(self, org_id: str) -> asyncio.Future[None]:  # noqa: ARG002 - of all of them
        """Have everything recorded so far stored."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settled() -> None:
            with contextlib.suppress(asyncio.InvalidStateError):
                future.set_result(None)

        self.after_saves(settled)
        return future

    async def _end(self, org_id: str, sessions: Iterable[Session], reason: str) -> int:
        self.enter(org_id)
        count, waits = operating.end_sessions(self.broker, sessions, reason)
        return await self._once_kept(count, waits=waits)

    def _once_kept(self, outcome: Outcome, *, waits: bool) -> asyncio.Future[Outcome]:
        """Settle the core; the outcome comes when the store has what it is to have."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def settled(*, kept: bool) -> None:
            with contextlib.suppress(asyncio.InvalidStateError):
                if kept:
                    future.set_result(outcome)
                else:
                    future.set_exception(NotKept("it is done, but not stored yet: a crash might undo it"))

        if waits:
            self.broker.keeping.when_kept(settled)
        else:
            settled(kept=True)
        self.settle()
        return future


def _view(session: Session) -> SessionView:
    identity = session.identity
    peer: Peer | None = session.outbox.owner.peer if session.connected else None
    left_at = session.left_at
    return SessionView(
        client_id=session.client_id,
        user_id=identity.user_id,
        username=identity.username,
        token_id=identity.token_id,
        key_id=identity.key_id,
        address=None if peer is None else peer.address,
        transport=None if peer is None else peer.transport,
        protocol=_PROTOCOLS.get(session.version),
        since=session.opened_at if left_at is None else left_at,
        expires_at=identity.expires_at,
        ends_at=None if left_at is None else left_at + session.expiry_seconds,
        expiry_seconds=session.expiry_seconds,
        subscriptions=tuple(
            SubscriptionView(subscription.topic_filter, subscription.qos)
            for subscription in session.subscriptions.values()
        ),
        queue=operating.queue_of(session),
    )


def _presence(session: Session) -> PresenceView:
    identity = session.identity
    peer: Peer | None = session.outbox.owner.peer if session.connected else None
    name = (identity.attrs or {}).get("name")
    return PresenceView(
        member=session.member_id,
        client_id=session.client_id,
        user_id=identity.user_id,
        username=identity.username,
        name=name if isinstance(name, str) else None,
        address=None if peer is None else peer.address,
        since=session.opened_at,
        subscriptions=tuple(
            (one.topic_filter, one.inner_filter)
            for one in session.subscriptions.values()
            if one.watched is None and not one.suspended
        ),
    )
