"""The key sets of identity providers, kept in memory and fetched with care.

Theory of operation. A key set is fetched when somebody first needs a key of it. For
`FRESH_SECONDS` it is as good as new. After that it is fetched again with the next token,
beside that token's exchange; a key that its provider has withdrawn is gone then. Once it
is older than `PATIENCE_SECONDS`, the exchange waits for the fetch, so that a withdrawn
key verifies nothing `PATIENCE_SECONDS` after its withdrawal.

Whatever tokens come, a key set is fetched at most once in `RETRY_SECONDS`: a name that
is not in it may be a new key, and is far more often a stranger's token. Those who need
one fetch share it. While a provider does not answer, or answers what is no key set, the
keys that are known go on working, nobody waits, and it is asked again every
`RETRY_SECONDS`; after `STALE_SECONDS` they end, for by then a withdrawal may have been
missed for a day.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from tokenmq import clock
from tokenmq.errors import InvalidToken, Unavailable, UnusableKey
from tokenmq.services.upstream import TIMEOUT_SECONDS
from tokenmq.tokens.claims import strict_json
from tokenmq.tokens.foreign.keys import ForeignKey, read_key_set
from tokenmq.tokens.foreign.kinds import Source
from tokenmq.tokens.foreign.rules import is_web_address

FRESH_SECONDS = 300
PATIENCE_SECONDS = 600
STALE_SECONDS = 86_400
RETRY_SECONDS = 30

_log = structlog.get_logger("tokenmq.services")


class Documents(Protocol):
    """Where documents come from; `Upstream` is the network."""

    async def get(self, url: str) -> bytes:
        """Fetch a document.

        Raises: Unavailable.
        """
        ...


@dataclass(slots=True)
class _Entry:
    """One key set.

    Attributes:
        fetched_at: when `keys` were read, monotonic seconds; None: never.
        asked_at: when they were last asked for, successfully or not.
        failing: the last time it did not work.
        fetching: the fetch that is under way.
    """

    keys: Mapping[str, ForeignKey] = field(default_factory=dict)
    fetched_at: float | None = None
    asked_at: float | None = None
    failing: bool = False
    fetching: asyncio.Task[None] | None = None


class KeySets:
    """The key sets of all providers. One event loop owns it."""

    def __init__(
        self,
        documents: Documents,
        *,
        mono: Callable[[], float] = clock.mono,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """Hold nothing yet.

        Args:
            documents: where key sets come from.
            mono: monotonic seconds.
            timeout_seconds: for a key set and the document that leads to it together.
        """
        self._documents = documents
        self._mono = mono
        self._timeout_seconds = timeout_seconds
        self._entries: dict[tuple[str, Source], _Entry] = {}
        self._fetches: set[asyncio.Task[None]] = set()

    async def find(self, provider_id: str, source: Source, kid: str) -> ForeignKey:
        """Return a provider's key by its name.

        Raises: InvalidToken (it has no such key), Unavailable (none of its keys is known).
        """
        entry = self._entries.setdefault((provider_id, source), _Entry())
        key = self._known(entry, kid)
        age = self._age(entry)
        if key is not None and age < FRESH_SECONDS:
            return key
        fetching = self._fetch(provider_id, source, entry)
        may_go_on = key is not None and (age < PATIENCE_SECONDS or entry.failing)
        if fetching is not None and not may_go_on:
            # Others wait for it too: who goes away must not end it.
            await asyncio.shield(fetching)
            key = self._known(entry, kid)
        if key is not None:
            return key
        if self._age(entry) >= STALE_SECONDS:
            raise Unavailable(f"the keys of {source.issuer} cannot be fetched")
        raise InvalidToken("token is signed with no key of its identity provider")

    def forget(self, provider_id: str) -> None:
        """Let go of the key sets of a provider that was changed or deleted."""
        for key in [key for key in self._entries if key[0] == provider_id]:
            del self._entries[key]

    async def close(self) -> None:
        """End every fetch that is under way."""
        for task in list(self._fetches):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _known(self, entry: _Entry, kid: str) -> ForeignKey | None:
        return entry.keys.get(kid) if self._age(entry) < STALE_SECONDS else None

    def _age(self, entry: _Entry) -> float:
        return float("inf") if entry.fetched_at is None else self._mono() - entry.fetched_at

    def _fetch(self, provider_id: str, source: Source, entry: _Entry) -> asyncio.Task[None] | None:
        """Return the fetch that is under way, or a new one if it is time for one."""
        if entry.fetching is not None:
            return entry.fetching
        now = self._mono()
        if entry.asked_at is not None and now - entry.asked_at < RETRY_SECONDS:
            return None
        entry.asked_at = now
        work = self._renew(provider_id, source, entry)
        entry.fetching = asyncio.get_running_loop().create_task(work, name="key set")
        self._fetches.add(entry.fetching)
        entry.fetching.add_done_callback(self._fetches.discard)
        return entry.fetching

    async def _renew(self, provider_id: str, source: Source, entry: _Entry) -> None:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                document = await self._document(source)
            keys = read_key_set(document).following(entry.keys)
            if not keys:
                raise UnusableKey("key set has no usable key")
        except (Unavailable, UnusableKey, TimeoutError) as error:
            entry.failing = True
            reason = str(error) or "no answer in time"
            _log.warning("key_set_refused", provider=provider_id, reason=reason)
        else:
            entry.failing = False
            entry.keys = keys
            entry.fetched_at = self._mono()
        finally:
            entry.fetching = None

    async def _document(self, source: Source) -> bytes:
        """Fetch a key set, from where a discovery document says that it is if need be.

        Raises: Unavailable, UnusableKey.
        """
        first = await self._documents.get(source.url)
        if not source.discovered:
            return first
        try:
            told = strict_json(first)
        except (ValueError, RecursionError):
            raise UnusableKey("discovery document is not JSON") from None
        # OpenID Connect Discovery 1.0 §4.3: exactly the issuer that was asked for.
        if not isinstance(told, dict) or told.get("issuer") != source.issuer:
            raise UnusableKey("discovery document is of another issuer")
        url = told.get("jwks_uri")
        if not isinstance(url, str) or not is_web_address(url):
            raise UnusableKey("discovery document names no key set")
        return await self._documents.get(url)
