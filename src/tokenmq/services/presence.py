"""Who is there: asked over HTTP, with a key of the organization or by one of its users.

A user is shown what the presence permission opens and no more: no client id, no address, and
of what others have subscribed to only what the user's own presence grants cover.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenmq.access.permission import Permission
from tokenmq.errors import Forbidden, InvalidRequest, InvalidTopic
from tokenmq.services.bearers import Bearer
from tokenmq.services.broker_views import PresenceView, PresentViews
from tokenmq.services.keys import authorise
from tokenmq.services.live import Door
from tokenmq.services.paging import Page, Position, check_limit, page_of, read_cursor
from tokenmq.services.sessions import user_of
from tokenmq.tokens.records import KeyRecord
from tokenmq.topics.filter import check_filter

_SCOPE = "presence:read"


@dataclass(frozen=True, slots=True)
class Present:
    """Who is there.

    Attributes:
        online_count: users.
        count: sessions; one user may have several.
        page: some of the sessions.
        is_redacted: client ids and addresses are not for who asked.
    """

    online_count: int
    count: int
    page: Page[PresenceView]
    is_redacted: bool


class PresenceLookup:
    """Looks into the running broker."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def on(
        self,
        topic_filter: str,
        *,
        caller: KeyRecord | Bearer,
        org_id: str,
        limit: int | None,
        cursor: str | None,
    ) -> Present:
        """Return who is present on the topics of a filter, in an order that says nothing.

        Raises: Forbidden, NotFound, InvalidRequest (filter, limit or cursor).
        """
        _admit(caller, org_id)
        try:
            check_filter(topic_filter)
        except InvalidTopic as error:
            raise InvalidRequest(("topic", error.reason)) from None
        if isinstance(caller, Bearer):
            decision = caller.scope.on_filter(Permission.PRESENCE, topic_filter)
            if not decision.allowed:
                raise Forbidden(decision.rule)
        size, listing = check_limit(limit), ("presence", org_id, topic_filter)
        found = self._door.live.present(
            org_id, topic_filter, after=_member_of(read_cursor(listing, cursor)), limit=size + 1
        )
        return _present(found, caller, size, listing)

    def of(
        self,
        name: str,
        *,
        caller: KeyRecord | Bearer,
        org_id: str,
        limit: int | None,
        cursor: str | None,
    ) -> Present:
        """Return where one user is connected; to another user only what that one may see.

        A user of whom nothing may be seen is as one who is not there.

        Args:
            name: the user's id, or the MQTT username in its one spelling.
            caller: who asks.
            org_id: from `Organizations.resolve`, or the token's.
            limit: most sessions of a page.
            cursor: of the page before.

        Raises: Forbidden, NotFound, InvalidRequest (limit or cursor).
        """
        _admit(caller, org_id)
        user_id = user_of(name, org_id)
        size, listing = check_limit(limit), ("presence of", org_id, user_id)
        after = _member_of(read_cursor(listing, cursor))
        seen = self._door.live.present_user(org_id, user_id)
        if isinstance(caller, Bearer):
            seen = [view for view in seen if shown_topics(view, caller)]
        rest = [view for view in seen if view.member > after]
        return _present(PresentViews(int(bool(seen)), len(seen), rest), caller, size, listing)


def shown_topics(view: PresenceView, caller: KeyRecord | Bearer) -> list[str]:
    """Return what a caller may know of what a session has subscribed to."""
    if not isinstance(caller, Bearer):
        return [topic_filter for topic_filter, _ in view.subscriptions]
    covered = (
        inner for _, inner in view.subscriptions if caller.scope.on_filter(Permission.PRESENCE, inner).allowed
    )
    return list(dict.fromkeys(covered))


def _admit(caller: KeyRecord | Bearer, org_id: str) -> None:
    if not isinstance(caller, Bearer):
        authorise(caller, _SCOPE, org_id)
    elif not any(Permission.PRESENCE in grant.permissions for grant in caller.identity.grants):
        raise Forbidden("the token has no presence permission")


def _present(found: PresentViews, caller: KeyRecord | Bearer, size: int, listing: Sequence[str]) -> Present:
    page = page_of(found.views, size, listing, _position)
    return Present(found.online_count, found.count, page, isinstance(caller, Bearer))


def _position(view: PresenceView) -> Position:
    """Return the place of a session in lists: not its client id, which a cursor would tell."""
    return 0, view.member


def _member_of(position: Position | None) -> str:
    return "" if position is None else position[1]
