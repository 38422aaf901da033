"""Keeps a connection: opens it, opens it again, and knows when not to.

Theory of operation. Each connection is opened with the newest credentials
(`Credentials.current`), which are renewed first when they are past. How it ends says what
is next:

    nothing was said, or a code that passes      open again, after backoff
    0xA0: the token's life is over               renew, open again at once
    0x86, 0x87: not authorised, revoked          renew once, open again; then TokenError
    taken over, not our client id, not our MQTT  ConnectError

A connection that has held for a while forgives the one refusal and begins backoff anew:
one that is taken and at once closed again is no success. A renewal that fails for a while
is tried again with backoff, one that is refused ends it all. So nobody replays a refused
password, and a service that is away for hours is waited for.

A planned move is the same without the backoff: what is under way is acknowledged first. If
there is no connection to be had then, it is a lost connection like others.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Sequence
from typing import Final, Protocol

from tokenmq.client.clocks import Backoff, Clock
from tokenmq.client.events import logger
from tokenmq.client.wire import Connack, Outcome
from tokenmq.errors import ConnectError, TokenError

HELD_SECONDS: Final = 30.0
# MQTT 5 §2.4. Another try would not change these, or would take the session from who has it now.
_FINAL: Final = frozenset({0x84, 0x85, 0x8A, 0x8C, 0x8E})
_REFUSED: Final = frozenset({0x86, 0x87})
_OVER: Final = frozenset({0xA0})


class Verdict(enum.Enum):
    """What an end or a refusal leads to."""

    AGAIN = "again"
    RENEW = "renew"
    REFUSED = "refused"
    FINAL = "final"


def judge(outcome: Outcome | None) -> Verdict:
    """Say what is next after this CONNACK or DISCONNECT; None is an end without a word."""
    code = None if outcome is None else outcome.reason_code
    if code in _FINAL:
        return Verdict.FINAL
    if code in _REFUSED:
        return Verdict.REFUSED
    return Verdict.RENEW if code in _OVER else Verdict.AGAIN


class Connecting(Protocol):
    """Opens connections, one after the other; `link.Link` is one."""

    async def open(self, username: str, password: str) -> Connack:
        """Connect; returns the answer, which may be a refusal. Raises: ConnectError without one."""
        ...

    async def close(self, *, session_expiry_seconds: int | None = None) -> None:
        """Disconnect, if there is a connection."""


class Credentials(Protocol):
    """What to connect with. Both functions raise TokenError."""

    @property
    def is_renewable(self) -> bool:
        """There may be others than those that were refused."""
        ...

    async def current(self) -> tuple[str, str]:
        """Return username and password that are good now."""
        ...

    async def renew(self, *, is_refused: bool) -> None:
        """Get others than those that `current` returned last; a broker may have refused those."""


class User(Protocol):
    """Whose connection it is."""

    async def connected(self, connack: Connack) -> None:
        """There is one; an error of the connection's end may be raised from here."""

    def disconnected(self, outcome: Outcome | None) -> None:
        """The connection has ended; None: without a word."""

    def reconnecting(self, attempt: int) -> None:
        """It is tried again, for the so-manieth time in a row."""

    async def before_move(self) -> None:
        """The connection will be closed and opened again: let what is under way end."""

    def failed(self, error: TokenError | ConnectError) -> None:
        """It is over: nothing is tried again."""


class Keeper:
    """Keeps one connection of one user."""

    def __init__(
        self,
        links: Sequence[Connecting],
        credentials: Credentials,
        user: User,
        *,
        clock: Clock,
        backoff: Backoff,
        max_attempts: int = 0,
        reconnects: bool = True,
    ) -> None:
        """Prepare.

        Args:
            links: what to try at first, in this order; the first that gets an answer is kept.
            max_attempts: failed ones in a row after which it gives up; 0: never.
            reconnects: open again at all.
        """
        self._links = list(links)
        self._credentials = credentials
        self._user = user
        self._clock = clock
        self._backoff = backoff
        self._max_attempts = max_attempts
        self._reconnects = reconnects
        self._refusals = 0
        # Failed attempts since the last connection.
        self._failures = 0
        # Once there is no wait before a renewal; again after a connection that has held.
        self._may_hurry = True
        self._since = 0.0
        self._wake = asyncio.Event()
        self._lost: list[Outcome | None] = []
        self._moves = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect, and keep it from then on.

        Raises: TokenError, ConnectError; then nothing goes on.
        """
        while True:
            connack = await self._open_any()
            if judge(connack.outcome) is Verdict.REFUSED:
                self._count_refusal(connack.outcome, _refused(connack.outcome))
                await self._credentials.renew(is_refused=True)
            elif connack.outcome.is_failure:
                raise _refused(connack.outcome)
            else:
                break
        try:
            await self._settled(connack)
        except ConnectError as error:
            if self._lost:
                raise _ended(self._lost[0]) from error
            raise
        self._task = asyncio.create_task(self._keep())

    def lost(self, outcome: Outcome | None) -> None:
        """The connection has ended."""
        self._lost.append(outcome)
        self._wake.set()

    def move(self) -> None:
        """Close the connection and open it again with the newest credentials."""
        self._moves = True
        self._wake.set()

    async def stop(self, *, session_expiry_seconds: int | None = None) -> None:
        """Disconnect, and keep nothing any more."""
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for link in self._links:
            await link.close(session_expiry_seconds=session_expiry_seconds)

    async def _open_any(self) -> Connack:
        """Open the first link that gets an answer, and keep that alone."""
        failures: list[ConnectError] = []
        self._lost.clear()
        username, password = await self._credentials.current()
        for link in self._links:
            try:
                connack = await link.open(username, password)
            except ConnectError as error:
                failures.append(error)
                continue
            self._links = [link]
            return connack
        raise ConnectError("; ".join(map(str, failures))) from failures[0]

    async def _settled(self, connack: Connack) -> None:
        self._since = self._clock.mono()
        self._failures = 0
        await self._user.connected(connack)

    async def _keep(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._lost:
                    await self._open_again(self._lost.pop(0))
                elif self._moves:
                    await self._user.before_move()
                    await self._links[0].close()
                    await self._open_again(None, is_planned=True)
        except (TokenError, ConnectError) as error:
            self._user.failed(error)
        except Exception as error:
            # A defect of ours: whoever waits must learn of it, or they would wait for ever.
            logger.exception("a connection cannot be kept")
            self._user.failed(ConnectError(f"the client itself has failed: {error!r}"))
            await self._links[0].close()

    async def _open_again(self, outcome: Outcome | None, *, is_planned: bool = False) -> None:
        """Go on until there is a connection. Raises: TokenError, ConnectError when there will be none."""
        if self._clock.mono() - self._since >= HELD_SECONDS:
            self._refusals, self._may_hurry = 0, True
            self._backoff.succeeded()
        needs_renewal, wait = False, 0.0
        if not is_planned:
            self._tell_lost(outcome)
            needs_renewal = self._judged(outcome, _ended(outcome))
            wait = self._pause(hurries=needs_renewal)
        connack = None
        while connack is None:
            await self._clock.sleep(wait)
            if not is_planned:
                self._user.reconnecting(self._failures + 1)
            connack, needs_renewal, wait = await self._attempt(needs_renewal=needs_renewal)
            if connack is None and is_planned:
                is_planned = False
                self._tell_lost(None)
        self._moves = False
        try:
            await self._settled(connack)
        except ConnectError:
            if not self._lost:
                # It has not ended: it is of no use.
                await self._links[0].close()
                self._lost.append(None)
            self._wake.set()

    def _tell_lost(self, outcome: Outcome | None) -> None:
        """Tell the user. Raises: ConnectError when it is not to be opened again."""
        self._user.disconnected(outcome)
        if not self._reconnects:
            raise _ended(outcome)

    def _pause(self, *, hurries: bool) -> float:
        """Return the seconds before the next attempt: none where other credentials are all it takes."""
        if hurries and self._may_hurry:
            self._may_hurry = False
            return 0.0
        return self._backoff.failed()

    async def _attempt(self, *, needs_renewal: bool) -> tuple[Connack | None, bool, float]:
        """Try once: the answer if there is a connection, whether to renew first, seconds to wait."""
        try:
            if needs_renewal:
                await self._credentials.renew(is_refused=self._refusals > 0)
                needs_renewal = False
            connack = await self._open_any()
        except TokenError as error:
            if error.is_final:
                raise
            return None, needs_renewal, self._failed(error, error.retry_after_seconds)
        except ConnectError as error:
            return None, needs_renewal, self._failed(error)
        if not connack.outcome.is_failure:
            return connack, False, 0.0
        needs_renewal = self._judged(connack.outcome, _refused(connack.outcome))
        if needs_renewal:
            return None, True, self._pause(hurries=True)
        return None, False, self._failed(_refused(connack.outcome))

    def _judged(self, outcome: Outcome | None, error: ConnectError) -> bool:
        """Return whether the credentials are to be renewed. Raises: where there is nothing to hope for."""
        verdict = judge(outcome)
        if verdict is Verdict.FINAL or (verdict is Verdict.RENEW and not self._credentials.is_renewable):
            raise error
        if verdict is Verdict.REFUSED:
            assert outcome is not None
            self._count_refusal(outcome, error)
        return verdict is not Verdict.AGAIN

    def _count_refusal(self, outcome: Outcome, error: ConnectError) -> None:
        if not self._credentials.is_renewable:
            raise TokenError("auth_failed", str(error)) from error
        self._refusals += 1
        if self._refusals > 1:
            raise TokenError("auth_failed", f"the broker refuses a fresh token too: {outcome}")

    def _failed(self, error: TokenError | ConnectError, retry_after_seconds: float | None = None) -> float:
        """Count a failed attempt; return the seconds to wait. Raises: ConnectError when it was the last."""
        wait = self._backoff.failed(retry_after_seconds)
        self._failures += 1
        if self._max_attempts and self._failures >= self._max_attempts:
            raise ConnectError(f"given up after {self._max_attempts} attempts: {error}") from error
        return wait


def _refused(outcome: Outcome) -> ConnectError:
    return ConnectError(f"the broker refused the connection: {outcome}", reason_code=outcome.reason_code)


def _ended(outcome: Outcome | None) -> ConnectError:
    if outcome is None:
        return ConnectError("the broker closed the connection", reason_code=0x80)
    return ConnectError(f"disconnected: {outcome}", reason_code=outcome.reason_code)
