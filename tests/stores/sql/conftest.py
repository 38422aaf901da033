"""A store in SQL on a real database, and its parts."""

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The data folder of `store`, if it is in SQLite."""
    return tmp_path / "data"


@pytest.fixture
async def store(open_store):
    store = await open_store()
    yield store
    await store.close()
