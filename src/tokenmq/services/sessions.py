"""The sessions of an organization: listed, ended by hand.

Whoever is thrown out may come back: to keep a user out, revoke the tokens.
"""

from __future__ import annotations

import base64

from tokenmq.errors import BadCredentials, NotFound
from tokenmq.services.auditing import NO_TRACE, USER, Action, Trace, entry, of_key
from tokenmq.services.broker_views import SessionView
from tokenmq.services.keys import authorise
from tokenmq.services.live import Door
from tokenmq.services.paging import Page, Position, check_limit, page_of, read_cursor
from tokenmq.stores.audit import AuditStore
from tokenmq.tokens.records import KeyRecord
from tokenmq.tokens.subjects import split_username

_SCOPE = "sessions"
_REMOVED = "session removed by an operator"


class Sessions:
    """The sessions in the running broker, those without a connection too."""

    def __init__(self, door: Door, trail: AuditStore) -> None:
        self._door = door
        self._trail = trail

    def list(
        self, org_id: str, *, key: KeyRecord, user_id: str | None, limit: int | None, cursor: str | None
    ) -> Page[SessionView]:
        """Return the sessions of an organization or of one user, in the order of their client ids.

        Raises: Forbidden, NotFound, InvalidRequest (limit or cursor).
        """
        authorise(key, _SCOPE, org_id)
        size = check_limit(limit)
        listing = ("sessions", org_id, user_id)
        after = read_cursor(listing, cursor)
        found = self._door.live.sessions(
            org_id, user_id=user_id, after=None if after is None else _client_id(after), limit=size + 1
        )
        return page_of(found, size, listing, _position)

    async def end(
        self, client_id: str, *, key: KeyRecord, org_id: str, now: float, trace: Trace = NO_TRACE
    ) -> None:
        """End one session for good, with what waits for it; durable before it returns.

        Its connection is closed (0x98), its will goes out.

        Raises: Forbidden, NotFound, NotKept.
        """
        authorise(key, _SCOPE, org_id)
        if not await self._door.live.end_session(org_id, client_id, reason=_REMOVED):
            raise NotFound("there is no such session")
        about = f"session:{client_id}"
        told = entry(Action.SESSION_DELETED, about, actor=of_key(key), org_id=org_id, now=now, trace=trace)
        self._trail.note((told,))

    async def end_user(
        self, name: str, *, key: KeyRecord, org_id: str, now: float, trace: Trace = NO_TRACE
    ) -> int:
        """End all sessions of a user for good, as `end` does; return how many there were.

        Args:
            name: the user's id, or the MQTT username in its one spelling.
            key: the caller's.
            org_id: from `Organizations.resolve`.
            now: unix seconds.
            trace: where the request came from.

        Raises: Forbidden, NotFound, NotKept.
        """
        authorise(key, _SCOPE, org_id)
        user_id = user_of(name, org_id)
        count = await self._door.live.end_user(org_id, user_id, reason=_REMOVED)
        if count:
            told = entry(
                Action.USER_TERMINATED,
                USER,
                actor=of_key(key),
                org_id=org_id,
                user_id=user_id,
                now=now,
                trace=trace,
                sessions=count,
            )
            self._trail.note((told,))
        return count


def user_of(name: str, org_id: str) -> str:
    """Return the user id that a user id, or a username of this organization, means."""
    if not name.endswith(f"@{org_id}"):
        return name
    try:
        return split_username(name)[0]
    except BadCredentials:
        return name


def _position(session: SessionView) -> Position:
    return 0, base64.urlsafe_b64encode(session.client_id.encode()).decode("ascii").rstrip("=")


def _client_id(position: Position) -> str:
    """Return the client id that a cursor of ours names; nobody else can have made it."""
    text = position[1]
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
