"""A data folder, its store and the services over it, opened and closed in order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from tokenmq import clock
from tokenmq.config import Settings
from tokenmq.errors import InvalidSettings
from tokenmq.services.bundle import Services
from tokenmq.stores.folder import FolderLock
from tokenmq.stores.sql.store import SqlStore
from tokenmq.tokens.minting import NameLimits

Result = TypeVar("Result")


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Services]:
    """Hold the data folder, open its store, load the services; close all of it at the end.

    Raises: DataFolderInUse, InvalidSettings (folder, store, a database that is not
        supported), UnusableKey (signing keys), Unavailable.
    """
    if settings.database.url is not None:
        raise InvalidSettings("database.url is set, and this version keeps its data in the data folder only")
    secret = settings.tokens.signing_key_secret
    folder = settings.data.folder
    with FolderLock(folder):
        store = await SqlStore.open_folder(folder)
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
            )
        except BaseException:
            await store.close()
            raise
        try:
            yield services
        finally:
            await services.close()


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine on the fastest event loop that there is here."""
    import asyncio

    try:
        import uvloop
    except ModuleNotFoundError:  # not on Windows
        return asyncio.run(main)
    return uvloop.run(main)
