"""What a CONNECT shows, held against our limits before anybody looks at it."""

from __future__ import annotations

from tokenmq.config import BrokerSettings
from tokenmq.errors import BadCredentials, ClientIdNotPermitted, InvalidToken
from tokenmq.mqtt.packets import Connect


def check(packet: Connect, settings: BrokerSettings) -> None:
    """Hold client id, username and token against their limits, in bytes of UTF-8.

    Raises: ClientIdNotPermitted, BadCredentials, InvalidToken.
    """
    size, limit = len(packet.client_id.encode()), settings.max_client_id_bytes
    if size > limit:
        raise ClientIdNotPermitted(f"client id has {size} bytes, at most {limit} are accepted")
    size, limit = len((packet.username or "").encode()), settings.max_username_bytes
    if size > limit:
        raise BadCredentials(f"username has {size} bytes, at most {limit} are accepted")
    limit = settings.max_password_bytes
    for what, shown in (("password", packet.password), ("token", packet.authentication_data)):
        if shown is not None and len(shown) > limit:
            raise InvalidToken(f"{what} has {len(shown)} bytes, at most {limit} are accepted")
