"""What is asked about presence over HTTP, and answered."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tokenmq.api.schemas.answers import UtcTime
from tokenmq.api.schemas.requests import PageQuery


class PresenceQuery(PageQuery, kw_only=True):
    """GET /v2/utilities/presence."""

    topic: Annotated[str, Meta(min_length=1)] = "#"


class PresentUser(msgspec.Struct, frozen=True):
    """One connection of a user; one user may have several."""

    username: str
    display_name: str | None
    connected_since: UtcTime
    subscribed_topics: list[str]
    client_id: str | UnsetType = UNSET
    peer_host: str | UnsetType | None = UNSET


class PresenceList(msgspec.Struct, frozen=True):
    """Who is there."""

    online_count: int
    count: int
    users: list[PresentUser]
    next: str | None
