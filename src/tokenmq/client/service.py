"""The three calls by which a client gets its token: create, exchange, refresh."""

from __future__ import annotations

import contextlib
import ssl
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx2

from tokenmq.client.clocks import Clock, ServerClock
from tokenmq.client.replies import is_web_address, read_json, retry_after_of, unreachable
from tokenmq.client.tokens import Token
from tokenmq.errors import InvalidRequest, TokenError

# What the published client calls the answers, by status and by `error`; 5xx is a network that fails.
_KINDS: Final = {
    (401, "token_expired"): "token_expired",
    (404, "provider_not_found"): "provider_not_found",
    401: "auth_failed",
    403: "auth_failed",
    404: "organization_not_found",
    429: "rate_limited",
}
# Longer than any limit of the service lasts; a longer wish is a mistake.
MOST_RETRY_AFTER_SECONDS: Final = 3600.0


class TokenService:
    """One token service, asked for tokens.

    Every call raises TokenError. No redirect is followed and no proxy variable is read: a key
    or a password goes to the service alone.

    Attributes:
        now: the service's clock, measured anew with each answer.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        timeout_seconds: float = 10.0,
        tls: ssl.SSLContext | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """Prepare for calls; nothing is sent yet.

        Args:
            url: where it is, as https://auth.example.
            clock: of this machine.
            timeout_seconds: for each of connecting, sending and waiting.
            tls: for https://; None checks against the system's roots.
            transport: stands in for the network in tests.

        Raises: InvalidRequest for a URL that cannot be one.
        """
        self._url = url.rstrip("/")
        if not is_web_address(self._url):
            raise InvalidRequest(("token_service_url", f"{url!r} is no address, as https://auth.example"))
        self._clock = clock
        self.now = ServerClock(clock)
        self._http = httpx2.AsyncClient(
            base_url=self._url,
            timeout=timeout_seconds,
            verify=True if tls is None else tls,
            transport=transport,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the network connections; the service is of no use afterwards."""
        await self._http.aclose()

    async def create(self, secret_key: str, **fields: Any) -> Token:
        """Make a token with a key: POST /v2/tokens."""
        return await self._ask("/v2/tokens", fields, secret_key=secret_key)

    async def exchange(self, **fields: Any) -> Token:
        """Give a token for one of ours or of an identity provider: POST /v2/tokens/exchange."""
        return await self._ask("/v2/tokens/exchange", fields)

    async def refresh(self, token: Token) -> Token:
        """Give the next password of a token's family: POST /v2/tokens/refresh.

        To be repeated as often as it takes: a repeat gives the same password again.
        """
        fields = {"token_id": token.token_id, "current_token_password": token.access_token}
        return await self._ask("/v2/tokens/refresh", fields)

    async def _ask(self, path: str, fields: dict[str, Any], *, secret_key: str | None = None) -> Token:
        body = {name: value for name, value in fields.items() if value is not None}
        headers = {"Authorization": f"Bearer {secret_key}"} if secret_key else None
        asked = self._clock.mono()
        try:
            response = await self._http.post(path, json=body, headers=headers)
        except httpx2.TransportError as error:
            raise TokenError("network", str(unreachable(error, self._url)), is_final=False) from error
        except httpx2.HTTPError as error:
            # An answer that cannot be read, as one whose Content-Encoding is not what it says.
            why = f"that is no answer of a token service: {error}"
            raise TokenError("invalid_response", why, is_final=False) from error
        self._measure(response, self._clock.mono() - asked)
        if not response.is_success:
            raise _refusal(response)
        return Token.from_answer(read_json(response.content))

    def _measure(self, response: httpx2.Response, took_seconds: float) -> None:
        with contextlib.suppress(ValueError, KeyError, OverflowError):
            date = parsedate_to_datetime(response.headers["date"]).timestamp()
            self.now.measure(date, took_seconds=took_seconds)


def _refusal(response: httpx2.Response) -> TokenError:
    status = response.status_code
    asked = retry_after_of(response)
    told = read_json(response.content)
    told = told if isinstance(told, dict) else {}
    detail = str(told.get("detail") or f"the token service answered {status} without saying why")
    is_over = status < 500 and status not in (408, 429)
    kind = _KINDS.get((status, str(told.get("error")))) or _KINDS.get(status)
    if kind is None:
        kind = "invalid_response" if is_over else "network"
    return TokenError(
        kind,
        detail,
        status=status,
        is_final=is_over,
        retry_after_seconds=None if asked is None else min(asked, MOST_RETRY_AFTER_SECONDS),
    )
