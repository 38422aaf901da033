"""What a connection is opened with: the newest token of a source, or a name and secret that stay."""

from __future__ import annotations

import dataclasses
from typing import Protocol

from tokenmq.client.keeper import Credentials
from tokenmq.client.source import TokenSource
from tokenmq.client.tokens import Token
from tokenmq.errors import TokenError


class Login(Credentials, Protocol):
    """Credentials, some of which the broker can be given in place."""

    @property
    def is_outdated(self) -> bool:
        """There is a token of another family than the one that the connection was opened with."""
        ...


class TokenLogin:
    """Connects with the newest token of a source."""

    is_renewable = True

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self._used: Token | None = None

    async def current(self) -> tuple[str, str]:
        """Return what the newest token says."""
        self._used = await self._source.token()
        return self._used.mqtt_credentials

    async def renew(self, *, is_refused: bool) -> None:
        """Get a newer token than the one that was used last."""
        await self._source.renew(self._used, is_refused=is_refused)

    @property
    def is_outdated(self) -> bool:
        """There is a token of another family than the one that was used last."""
        used, newest = self._used, self._source.newest
        return used is not None and newest is not None and used.token_id != newest.token_id


@dataclasses.dataclass(frozen=True, slots=True)
class FixedLogin:
    """A username and a password, or a server's key, that nobody renews."""

    username: str
    password: str = dataclasses.field(repr=False)
    is_renewable: bool = dataclasses.field(default=False, init=False)
    is_outdated: bool = dataclasses.field(default=False, init=False)

    async def current(self) -> tuple[str, str]:
        """Return them."""
        return self.username, self.password

    async def renew(self, *, is_refused: bool) -> None:  # noqa: ARG002
        """There are no others. Raises: TokenError."""
        raise TokenError("auth_failed", f"the broker does not accept the credentials of {self.username}")
