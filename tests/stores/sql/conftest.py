"""A store in SQL on a real file, and its parts."""

from pathlib import Path

import pytest

from tokenmq.stores.sql import SqlStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def store(folder: Path):
    store = await SqlStore.open_folder(folder)
    yield store
    await store.close()
