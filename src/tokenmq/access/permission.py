"""The four things that a grant can allow."""

from __future__ import annotations

from enum import StrEnum


class Permission(StrEnum):
    """What may be done with the topics of a grant, spelled as on the wire."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    PRESENCE = "presence"
    HISTORY = "history"
