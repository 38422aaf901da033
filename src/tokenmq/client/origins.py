"""Where a client's first token comes from, and its next when no refresh gives one.

There are four origins, and exactly one is named: a key with a user, another token to be
exchanged, a function of the caller's that asks their own backend, or a key alone, which
is no token: it connects as `server@org_…` and has no life to renew.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

from tokenmq.client.service import TokenService
from tokenmq.client.tokens import Token
from tokenmq.errors import InvalidRequest, TokenError

T = TypeVar("T")

# For a function of the caller's that is async: people may have to sign in meanwhile.
LONGEST_ASK_SECONDS: Final = 120.0
# What a backend passes on: the answer of POST /v2/tokens as it came, a token's text, or a Token.
Given = Token | str | dict[str, Any]
GetToken = Callable[[], Given | Awaitable[Given]]
ExternalToken = str | Callable[[], str | Awaitable[str]]


class Origin(Protocol):
    """Gives a token that is no refresh of another one; raises TokenError.

    Attributes:
        is_refreshed: its tokens are renewed by refreshing them first.
    """

    is_refreshed: bool

    async def ask(self) -> Token:
        """Return one."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What a token is to be, for the service; None leaves it to the service.

    Attributes:
        ttl: seconds.
        client_id: the token is to be bound to it.
    """

    user_id: str | None = None
    user_email: str | None = None
    permissions: list[str] | None = None
    topics: list[str] | None = None
    ttl: int | None = None
    client_id: str | None = None
    integration_id: str | None = None
    replace_existing: bool | None = None
    metadata: dict[str, Any] | None = None
    provider: str | None = None


class KeyOrigin:
    """Makes tokens with a key, each a family of its own."""

    is_refreshed = True

    def __init__(
        self, service: TokenService, organization_id: str | None, secret_key: str, wanted: Wanted
    ) -> None:
        self._service = service
        self._secret_key = secret_key
        fields = dataclasses.asdict(wanted)
        fields.pop("provider")
        self._fields = {"organization_id": organization_id, **fields}

    async def ask(self) -> Token:
        """Create a token."""
        return await self._service.create(self._secret_key, **self._fields)


class ExchangeOrigin:
    """Exchanges another token; a callable is asked for a new one each time."""

    is_refreshed = True

    def __init__(
        self, service: TokenService, organization_id: str, external_token: ExternalToken, wanted: Wanted
    ) -> None:
        self._service = service
        self._external_token = external_token
        self._fields = {
            "organization_id": organization_id,
            "integration_id": wanted.integration_id,
            "provider": wanted.provider,
        }

    async def ask(self) -> Token:
        """Exchange a token."""
        token = self._external_token
        if not isinstance(token, str):
            token = await _asked(token, "external_token")
        return await self._service.exchange(token=token, **self._fields)


class GetTokenOrigin:
    """Asks the caller's own backend each time."""

    is_refreshed = False

    def __init__(self, get_token: GetToken) -> None:
        self._get_token = get_token

    async def ask(self) -> Token:
        """Ask, and take what came: a Token, an answer of the service, or a token's text."""
        given = await _asked(self._get_token, "get_token")
        match given:
            case Token():
                return given
            case str():
                return Token.from_text(given)
            case _:
                return Token.from_answer(given)


async def _asked(function: Callable[[], T | Awaitable[T]], name: str) -> T:
    """Call what may be plain or async; whatever it raises is a backend that fails for a while.

    A TokenError of its own says itself whether it is final.
    """
    try:
        async with asyncio.timeout(LONGEST_ASK_SECONDS):
            given = function()
            if inspect.isawaitable(given):
                given = await given
    except TokenError:
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # It was not we who were cancelled: something in there was.
        raise TokenError("network", f"{name} was cancelled", is_final=False) from error
    except TimeoutError as error:
        why = str(error) or "it gives no answer"
        raise TokenError("network", f"{name} has failed: {why}", is_final=False) from error
    except Exception as error:
        why = str(error) or type(error).__name__
        raise TokenError("network", f"{name} has failed: {why}", is_final=False) from error
    return given


def origin_of(
    service: TokenService | None,
    *,
    organization_id: str | None,
    secret_key: str | None,
    external_token: ExternalToken | None,
    get_token: GetToken | None,
    wanted: Wanted,
) -> Origin:
    """Return the one origin that is named.

    Raises: InvalidRequest when none or several are, or when one lacks what it needs.
    """
    named = [
        name
        for name, value in (
            ("secret_key", secret_key),
            ("external_token", external_token),
            ("get_token", get_token),
        )
        if value
    ]
    if len(named) != 1:
        got = " and ".join(named) or "none"
        raise InvalidRequest(
            ("", f"exactly one of secret_key, external_token and get_token is needed, got {got}")
        )
    if not secret_key:
        _check_rights_are_told_by_a_key(wanted, named[0])
    if get_token:
        return GetTokenOrigin(get_token)
    if service is None:
        raise InvalidRequest(("token_service_url", f"is needed with {named[0]}"))
    if secret_key:
        if not (wanted.user_id or wanted.user_email):
            raise InvalidRequest(
                ("user_id", "or user_email is needed with secret_key, for a token has a user")
            )
        return KeyOrigin(service, organization_id, secret_key, wanted)
    if not organization_id:
        raise InvalidRequest(("organization_id", "is needed with external_token"))
    assert external_token
    return ExchangeOrigin(service, organization_id, external_token, wanted)


def _check_rights_are_told_by_a_key(wanted: Wanted, named: str) -> None:
    """Rights that are asked for and not given would be a surprise. Raises: InvalidRequest."""
    for name in ("permissions", "topics", "ttl", "replace_existing", "metadata"):
        if getattr(wanted, name) is not None:
            raise InvalidRequest((name, f"is for tokens that are made with secret_key, not with {named}"))
