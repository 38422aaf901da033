"""The door into the running broker, as the services see it.

`server/hub` implements it, `app` wires it. All methods are synchronous: they run in the
step of the event loop in which a commit became known, so that nothing can come between
what is stored and what is connected. None of them fails for an id that it does not know.
Those whose outcome is known later are to be awaited in the same step: they begin then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Iterator
from typing import Protocol

from tokenmq.access.identity import Identity, Renewal
from tokenmq.broker.refusals import Refusal
from tokenmq.errors import Unavailable
from tokenmq.services.broker_views import PresenceView, PresentViews, RetainedView, SessionView
from tokenmq.tokens.records import OrganizationRecord


class Live(Protocol):
    """What the services ask of, and tell, the running broker."""

    def connected(self, org_id: str, token_ids: Collection[str]) -> set[str]:
        """Return those of these families that have a live connection now."""
        ...

    def opened_by(self, org_id: str, client_id: str) -> str | None:
        """Return the family whose token opened the session of this client id, if there is one."""
        ...

    def revoke(self, org_id: str, token_ids: Collection[str], *, reason: str, keep_retained: bool) -> int:
        """Close the connections of these families (0x87, will dropped); return the sessions ended.

        Their retained messages go too, unless they are to be kept.
        """
        ...

    def renew(self, org_id: str, token_id: str, renewal: Renewal) -> int:
        """Move the live connections of a family to its newest password; return how many there were."""
        ...

    def displace(self, org_id: str, token_ids: Collection[str], *, reason: str) -> int:
        """Close the connections of these families (0x98); return the sessions ended."""
        ...

    def end_key(self, org_id: str, key_id: str, *, reason: str) -> int:
        """Close the server connections of a key (0x87); return the sessions ended."""
        ...

    def limit_key(self, org_id: str, key_id: str, ends_at: float) -> None:
        """Close the server connections of a key at this moment (0xA0), unless they end before it."""
        ...

    def end_organization(self, org_id: str) -> int:
        """Close every connection of an organization (0x87); return the sessions ended."""
        ...

    def organization_changed(self, organization: OrganizationRecord) -> None:
        """Take an organization's new name, settings, policy and rules of history into use."""
        ...

    def sessions(
        self, org_id: str, *, user_id: str | None, after: str | None, limit: int
    ) -> list[SessionView]:
        """Return sessions in the order of their client ids, at most `limit`, those behind `after`."""
        ...

    def end_session(self, org_id: str, client_id: str, *, reason: str) -> Awaitable[bool]:
        """End a session for good (0x98), durably; the outcome is whether there was one.

        Raises: NotKept.
        """
        ...

    def end_user(self, org_id: str, user_id: str, *, reason: str) -> Awaitable[int]:
        """End all sessions of a user for good (0x98), durably; the outcome is how many there were.

        Raises: NotKept.
        """
        ...

    def present(self, org_id: str, topic_filter: str, *, after: str, limit: int) -> PresentViews:
        """Return who is present on a filter, in the order of `member`, at most `limit` behind `after`."""
        ...

    def present_user(self, org_id: str, user_id: str) -> list[PresenceView]:
        """Return the connected sessions of a user, in the order of `member`."""
        ...

    def retained(self, org_id: str, topic_filter: str) -> Iterator[RetainedView | None]:
        """Yield the retained messages that a filter matches, and None for what else is looked at.

        Whoever asks may stop at any of them and go on later.
        """
        ...

    def clear_retained(self, org_id: str, topic: str) -> Awaitable[bool]:
        """Remove a topic's retained message, durably; the outcome is whether there was one.

        Raises: NotKept.
        """
        ...

    def publish(
        self, publisher: Identity, topic: str, payload: bytes, *, qos: int, retain: bool
    ) -> Awaitable[Refusal | None]:
        """Publish a message that came by no connection, in the name of its publisher.

        It is judged by the publisher's rights and the rules of its organization. The outcome
        is None once it is kept where it must be and routed, else why it is not taken.
        """
        ...

    def history_flushed(self, org_id: str) -> Awaitable[None]:
        """Have everything recorded that an organization's publishers sent so far and that waits for it.

        What was acknowledged before this call is seen by whoever reads the store after it.

        Raises: NotKept.
        """
        ...


class NothingLive:
    """A broker without connections: for a process that runs none (`init`)."""

    def connected(self, org_id: str, token_ids: Collection[str]) -> set[str]:  # noqa: ARG002
        """Return nothing."""
        return set()

    def opened_by(self, org_id: str, client_id: str) -> str | None:  # noqa: ARG002
        """Return None."""
        return None

    def revoke(
        self,
        org_id: str,  # noqa: ARG002
        token_ids: Collection[str],  # noqa: ARG002
        *,
        reason: str,  # noqa: ARG002
        keep_retained: bool,  # noqa: ARG002
    ) -> int:
        """Close nothing."""
        return 0

    def renew(self, org_id: str, token_id: str, renewal: Renewal) -> int:  # noqa: ARG002
        """Move nothing."""
        return 0

    def displace(self, org_id: str, token_ids: Collection[str], *, reason: str) -> int:  # noqa: ARG002
        """Close nothing."""
        return 0

    def end_key(self, org_id: str, key_id: str, *, reason: str) -> int:  # noqa: ARG002
        """Close nothing."""
        return 0

    def limit_key(self, org_id: str, key_id: str, ends_at: float) -> None:
        """Do nothing."""

    def end_organization(self, org_id: str) -> int:  # noqa: ARG002
        """Close nothing."""
        return 0

    def organization_changed(self, organization: OrganizationRecord) -> None:
        """Do nothing."""

    def sessions(
        self,
        org_id: str,  # noqa: ARG002
        *,
        user_id: str | None,  # noqa: ARG002
        after: str | None,  # noqa: ARG002
        limit: int,  # noqa: ARG002
    ) -> list[SessionView]:
        """Return nothing."""
        return []

    async def end_session(self, org_id: str, client_id: str, *, reason: str) -> bool:  # noqa: ARG002
        """End nothing."""
        return False

    async def end_user(self, org_id: str, user_id: str, *, reason: str) -> int:  # noqa: ARG002
        """End nothing."""
        return 0

    def present(self, org_id: str, topic_filter: str, *, after: str, limit: int) -> PresentViews:  # noqa: ARG002
        """Return nobody."""
        return PresentViews(0, 0, [])

    def present_user(self, org_id: str, user_id: str) -> list[PresenceView]:  # noqa: ARG002
        """Return nothing."""
        return []

    def retained(self, org_id: str, topic_filter: str) -> Iterator[RetainedView | None]:  # noqa: ARG002
        """Yield nothing."""
        return iter(())

    async def clear_retained(self, org_id: str, topic: str) -> bool:  # noqa: ARG002
        """Remove nothing."""
        return False

    async def publish(
        self,
        publisher: Identity,  # noqa: ARG002
        topic: str,  # noqa: ARG002
        payload: bytes,  # noqa: ARG002
        *,
        qos: int,  # noqa: ARG002
        retain: bool,  # noqa: ARG002
    ) -> Refusal | None:
        """Take no message.

        Raises: Unavailable.
        """
        raise Unavailable("no broker runs in this process")

    async def history_flushed(self, org_id: str) -> None:
        """Do nothing: nothing waits."""


class Door:
    """Where the services find the running broker, which comes into being after them.

    Attributes:
        live: the broker; until one is put in place, one without connections.
    """

    def __init__(self) -> None:
        self.live: Live = NothingLive()
