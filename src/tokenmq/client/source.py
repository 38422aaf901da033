"""A source of tokens: fetches the first, renews it in time, and always has the newest.

Theory of operation. The newest token is in `Renewal`, which says when the next is due;
this module does what is due. A task looks at both clocks at least every half minute
(a machine that slept has missed its timer) and renews. Whoever is to connect asks
`current()`: a token that is past, or that a broker has refused (`renew`), is renewed
before it is handed out. There is one renewal at a time, and all who wait share it. While
the service wants to be left alone (`Retry-After`), nobody who asks here gets through to it.

Renewing is refreshing where the origin's tokens are refreshed; when the service refuses
that for good, the origin is asked for a token of a new family. The listeners of
`renewed` learn which of the two it was: a refresh moves live connections by itself, a
new family has to be shown to the broker.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import httpx2

from tokenmq.client.clocks import Clock, ServerClock
from tokenmq.client.events import Callback, Events, logger
from tokenmq.client.origins import ExternalToken, GetToken, Origin, Wanted, origin_of
from tokenmq.client.renewal import Renewal
from tokenmq.client.service import TokenService
from tokenmq.client.tokens import Token
from tokenmq.errors import InvalidRequest, TokenError

LONGEST_SLEEP_SECONDS: Final = 30.0
# By so much two clocks of ours may disagree on the same wait.
CLOCK_SECONDS: Final = 0.05


class TokenSource:
    """Credentials that are always good, for a client of yours.

    Give exactly one of `secret_key` (with `user_id` or `user_email`), `external_token` (a token of
    ours or of an identity provider, or a function that returns one) and `get_token` (a function that
    asks your backend; what it returns is a token's text, the answer of `POST /v2/tokens`, or a Token).
    Functions are plain or async.

        async with TokenSource(get_token=ask_my_backend) as source:
            username, password = source.credentials

    In `async with` the token is renewed in time until the end; without it call `token()` before each
    connection.
    """

    def __init__(
        self,
        *,
        token_service_url: str | None = None,
        organization_id: str | None = None,
        secret_key: str | None = None,
        external_token: ExternalToken | None = None,
        get_token: GetToken | None = None,
        user_id: str | None = None,
        user_email: str | None = None,
        permissions: list[str] | None = None,
        topics: list[str] | None = None,
        ttl: int | None = None,
        client_id: str | None = None,
        integration_id: str | None = None,
        replace_existing: bool | None = None,
        metadata: dict[str, Any] | None = None,
        provider: str | None = None,
        timeout_seconds: float = 10.0,
        tls: ssl.SSLContext | None = None,
        clock: Clock | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        chance: Callable[[], float] | None = None,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            token_service_url: needed with all but `get_token`.
            organization_id: needed with `external_token`.
            ttl: life in seconds that is asked for with a key.
            client_id: the token that is made with a key is bound to it.
            replace_existing: earlier tokens of the user are to be renewed no more (with a key).
            provider: of `external_token`, where its issuer does not tell.
            timeout_seconds: for each of connecting, sending and waiting.
            tls: for a service with https://; None checks against the system's roots.
            clock, transport, chance: stand in for this machine's in tests.

        Raises: InvalidRequest for a source that is none.
        """
        self._clock = clock or Clock()
        service = None
        if token_service_url is not None:
            service = TokenService(
                token_service_url,
                self._clock,
                timeout_seconds=timeout_seconds,
                tls=tls,
                transport=transport,
            )
        wanted = Wanted(
            user_id=user_id,
            user_email=user_email,
            permissions=permissions,
            topics=topics,
            ttl=ttl,
            client_id=client_id,
            integration_id=integration_id,
            replace_existing=replace_existing,
            metadata=metadata,
            provider=provider,
        )
        self._origin: Origin = origin_of(
            service,
            organization_id=organization_id,
            secret_key=secret_key,
            external_token=external_token,
            get_token=get_token,
            wanted=wanted,
        )
        self._service = service
        self._now: ServerClock = service.now if service else ServerClock(self._clock)
        self._renewal = Renewal(chance=chance) if chance else Renewal()
        self._events = Events()
        self._lock = asyncio.Lock()
        self._is_closed = False
        # What the service has said last with a Retry-After, and until when that counts (monotonic).
        self._left_alone: tuple[TokenError, float] | None = None
        self._stirred = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.token()
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def credentials(self) -> tuple[str, str]:
        """Username and password of the newest token, without waiting.

        Raises: InvalidRequest while there is none.
        """
        if self._renewal.token is None:
            raise InvalidRequest(("token", "none was fetched yet: enter the source, or await token()"))
        return self._renewal.token.mqtt_credentials

    @property
    def newest(self) -> Token | None:
        """The newest token, past or not; None before the first."""
        return self._renewal.token

    @property
    def seconds_left(self) -> float:
        """How long the newest token lives yet, by the server's clock; 0 where there is none."""
        token = self._renewal.token
        return max(token.expires_at - self._now.now(), 0.0) if token else 0.0

    def on_token_expiring(self, callback: Callback) -> Callback:
        """Call it with the seconds that are left when a token is about to be renewed."""
        self._events.add("expiring", callback)
        return callback

    def on_token_refreshed(self, callback: Callback) -> Callback:
        """Call it with each Token after the first."""
        self._events.add("refreshed", callback)
        return callback

    def on_token_error(self, callback: Callback) -> Callback:
        """Call it with a TokenError and its kind whenever a renewal fails.

        The kind is `refresh_failed` when it will not be tried again by itself.
        """
        self._events.add("error", callback)
        return callback

    def on_renewed(self, callback: Callback) -> None:
        """Call it with each Token after the first, and whether it is of a new family."""
        self._events.add("renewed", callback)

    async def token(self) -> Token:
        """Return the newest token; fetch or renew it first where there is none to connect with.

        Raises: TokenError.
        """
        token = self._renewal.token
        if token is not None and not self._renewal.is_past(self._now.now()):
            return token
        return await self.renew(token)

    async def renew(self, seen: Token | None = None, *, is_refused: bool = False) -> Token:
        """Return a newer token than the one that was seen; ask for one if there is none yet.

        Args:
            is_refused: a broker has refused the one that was seen. What was made of it since is of the
                same family, so it is no other; and if there is no other, that is final.

        Raises: TokenError; InvalidRequest after `close`.
        """
        async with self._lock:
            if self._is_closed:
                raise InvalidRequest(("", "this source of tokens is closed"))
            newest = self._renewal.token
            is_newer = newest is not None and seen is not None and newest is not seen
            is_another = newest is not None and seen is not None and newest.token_id != seen.token_id
            if newest is not None and (is_another if is_refused else is_newer):
                return newest
            self._check_left_alone()
            try:
                token, is_new_family = await self._next(newest)
                _check_is_other(token, newest, is_refused=is_refused)
            except TokenError as error:
                self._leave_alone(error)
                self._renewal.failed(error, now=self._now.now())
                self._stirred.set()
                if newest is not None:
                    self._events.tell("error", error, "refresh_failed" if error.is_final else error.kind)
                raise
            self._take(token)
            if newest is not None:
                self._events.tell("refreshed", token)
                self._events.tell("renewed", token, is_new_family)
            return token

    async def _next(self, newest: Token | None) -> tuple[Token, bool]:
        """Refresh, or ask the origin; returns whether the token is of a new family."""
        if newest is not None and self._origin.is_refreshed and newest.is_refreshable and self._service:
            try:
                return await self._service.refresh(newest), False
            except TokenError as error:
                if not error.is_final:
                    raise
                logger.info("a refresh was refused, so a new token is asked for: %s", error)
        token = await self._origin.ask()
        return token, newest is not None and token.token_id != newest.token_id

    def _leave_alone(self, error: TokenError) -> None:
        seconds = 0.0 if error.is_final else error.retry_after_seconds or 0.0
        self._left_alone = (error, self._clock.mono() + seconds) if seconds else None

    def _check_left_alone(self) -> None:
        """Raise again what the service has said, as long as it wants nothing to be asked."""
        if self._left_alone is None:
            return
        error, until = self._left_alone
        left = until - self._clock.mono()
        if left > CLOCK_SECONDS:
            raise TokenError(
                error.kind, str(error), status=error.status, is_final=False, retry_after_seconds=left
            )
        self._left_alone = None

    def _take(self, token: Token) -> None:
        if not (self._origin.is_refreshed and self._now.is_measured):
            if token.expires_in is not None:
                self._now.measure(token.expires_at - token.expires_in, took_seconds=0.0)
            else:
                self._now.suppose(issued_at=token.issued_at, expires_at=token.expires_at)
        self._renewal.took(token, now=self._now.now(), is_measured=self._now.is_measured)
        self._stirred.set()

    def start(self, *, renews: bool = True) -> None:
        """Renew in time from now on, until `close`; or, without `renews`, only tell when it would be time."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(renews=renews))

    async def _keep(self, *, renews: bool) -> None:
        while True:
            self._stirred.clear()
            now = self._now.now()
            if self._renewal.is_due(now):
                token = self._renewal.token
                if not self._renewal.failures:
                    self._events.tell("expiring", self.seconds_left)
                if not renews:
                    self._renewal.park()
                    continue
                await self._renew_in_time(token)
                continue
            due = self._renewal.renew_at
            wait = LONGEST_SLEEP_SECONDS if due is None else min(due - now, LONGEST_SLEEP_SECONDS)
            await self._sleep(wait)

    async def _renew_in_time(self, token: Token | None) -> None:
        try:
            await self.renew(token)
        except TokenError:
            # Its listeners have been told.
            return
        except Exception as error:
            # A defect of ours: without this the renewing would end, and nobody would know.
            logger.exception("a token cannot be renewed")
            failure = TokenError(
                "invalid_response", f"the client itself has failed: {error!r}", is_final=False
            )
            self._renewal.failed(failure, now=self._now.now())
            self._events.tell("error", failure, failure.kind)

    async def _sleep(self, seconds: float) -> None:
        """Wait so long, or until something has changed."""
        sleeping = asyncio.ensure_future(self._clock.sleep(max(seconds, 0.0)))
        stirred = asyncio.ensure_future(self._stirred.wait())
        try:
            await asyncio.wait((sleeping, stirred), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            stirred.cancel()

    async def close(self) -> None:
        """End the renewing and the network connections; the newest token stays."""
        self._is_closed = True
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        await self._events.close()
        if self._service is not None:
            await self._service.close()


def _check_is_other(token: Token, before: Token | None, *, is_refused: bool) -> None:
    """A source that gives the same token again has none. Raises: TokenError."""
    if before is None or token.access_token != before.access_token:
        return
    if is_refused:
        raise TokenError("auth_failed", "the broker has refused the token, and its source gives it again")
    raise TokenError(
        "invalid_response", "the source of tokens gives the one again that is to be renewed", is_final=False
    )
