"""The client: the token service over HTTP, the broker over MQTT.

`Client` connects with a token and stays connected; `TokenSource` gives credentials to a
client of yours; `sync` has both for those without asyncio. It imports `topics` and
`errors` of ours at most, so that it can be installed alone.
"""

from tokenmq.client.aio import Client
from tokenmq.client.messages import Message, PublishResult, Status, Will
from tokenmq.client.options import Options
from tokenmq.client.presence import (
    Member,
    PresenceEvent,
    PresenceJoin,
    PresenceLeave,
    PresenceSnapshot,
    PresenceUpdate,
)
from tokenmq.client.source import TokenSource
from tokenmq.client.subscriptions import Subscription
from tokenmq.client.tokens import Token
from tokenmq.errors import ConnectError, Denied, NotDelivered, TokenError

__all__ = [
    "Client",
    "Options",
    "Message",
    "PublishResult",
    "Status",
    "Will",
    "Subscription",
    "Member",
    "PresenceEvent",
    "PresenceSnapshot",
    "PresenceJoin",
    "PresenceLeave",
    "PresenceUpdate",
    "Token",
    "TokenSource",
    "TokenError",
    "ConnectError",
    "Denied",
    "NotDelivered",
]
