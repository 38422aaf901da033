"""A data folder, its store and the services over it, opened and closed in order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from tokenmq import clock
from tokenmq.config import Settings, database_address
from tokenmq.errors import TokenmqError
from tokenmq.services.bundle import Services
from tokenmq.services.upstream import Upstream
from tokenmq.stores.folder import FolderLock
from tokenmq.stores.sql.store import SqlStore
from tokenmq.tokens.minting import NameLimits

Result = TypeVar("Result")


def ignore(_lost: TokenmqError) -> None:
    """Do nothing about a lost store: what is done is over soon, or fails."""


@asynccontextmanager
async def opened(
    settings: Settings, on_lost: Callable[[TokenmqError], None] = ignore
) -> AsyncIterator[Services]:
    """Hold the data folder, open the store, load the services; close all of it at the end.

    Args:
        settings: where folder and database are, and how tokens are signed.
        on_lost: called when the store is not ours alone any more, so that this process
            must end, with the reason.

    Raises: DataFolderInUse, DatabaseInUse, InvalidSettings (folder, database), UnusableKey
        (signing keys), Unavailable.
    """
    secret = settings.tokens.signing_key_secret
    with FolderLock(settings.data.folder):
        store = await _open_store(settings, on_lost)
        try:
            services = await Services.assemble(
                store,
                issuer=settings.tokens.issuer,
                algorithm=settings.tokens.algorithm,
                signing_secret=secret.reveal() if secret is not None else None,
                now=clock.now(),
                limits=NameLimits(
                    max_client_id_bytes=settings.broker.max_client_id_bytes,
                    max_topic_bytes=settings.broker.max_topic_bytes,
                    max_topic_levels=settings.broker.max_topic_levels,
                ),
                audit=settings.audit,
                upstream=Upstream(settings.providers.insecure_upstreams),
            )
        except BaseException:
            await store.close()
            raise
        try:
            yield services
        finally:
            await services.close()


async def _open_store(settings: Settings, on_lost: Callable[[TokenmqError], None]) -> SqlStore:
    url = settings.database.url
    if url is None:
        return await SqlStore.open_folder(settings.data.folder)
    # Most starts do not need the driver, and need not wait for its import.
    from tokenmq.stores.sql.postgresql import open_postgresql

    return await open_postgresql(
        database_address(url), max_outage_seconds=settings.database.max_outage_seconds, on_lost=on_lost
    )


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine on the fastest event loop that there is here."""
    import asyncio

    try:
        import uvloop
    except ModuleNotFoundError:  # not on Windows
        return asyncio.run(main)
    return uvloop.run(main)
