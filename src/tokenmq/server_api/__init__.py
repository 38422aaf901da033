"""The backend's half: make and revoke tokens, publish, presence, history; in one typed object.

`ServerApi` without asyncio, `AsyncServerApi` with it; they are the same calls. It needs
nothing of the service to be installed.
"""

from tokenmq.client.answers import (
    HistoryMessage,
    HistoryPage,
    HistoryRule,
    HistoryRules,
    Presence,
    PresentUser,
    Published,
)
from tokenmq.server_api.aio import AsyncServerApi
from tokenmq.server_api.sync import ServerApi

__all__ = [
    "ServerApi",
    "AsyncServerApi",
    "Published",
    "Presence",
    "PresentUser",
    "HistoryMessage",
    "HistoryPage",
    "HistoryRule",
    "HistoryRules",
]
