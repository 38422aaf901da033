"""What SQLite is told, and what lies in the data folder."""

import stat

import pytest

from tokenmq.errors import InvalidSettings
from tokenmq.stores.sql.dialect import DATABASE_NAME, sqlite_runners
from tokenmq.stores.sql.migrating import migrate
from tokenmq.tokens.records import SigningKeyRecord


def pragmas(connection):
    names = ("journal_mode", "synchronous", "foreign_keys")
    return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]


async def test_every_connection_commits_to_the_disk_and_holds_foreign_keys(folder):
    runners = sqlite_runners(folder)
    for runner in runners:
        # 2 is FULL.
        assert await runner.run(pragmas) == ["wal", 2, 1]
        await runner.close()


@pytest.mark.parametrize("open_store", ["sqlite"], indirect=True)
async def test_v05_database_and_its_log_are_for_their_owner_alone(store, folder):
    record = SigningKeyRecord("kid", "ES256", b"pem", {}, 1, 1)
    await store.signing_keys.save(record, applied=lambda outcome: outcome)
    names = {path.name for path in folder.iterdir()}
    assert {DATABASE_NAME, f"{DATABASE_NAME}-wal", f"{DATABASE_NAME}-shm"} <= names
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_folder_names_need_no_escaping(tmp_path):
    folder = tmp_path / "odd %41 ?mode=memory #ü"
    writer, reader = sqlite_runners(folder)
    await writer.run(migrate)
    assert (folder / DATABASE_NAME).stat().st_size > 0
    for runner in (writer, reader):
        await runner.close()


async def test_folder_that_cannot_be_made_is_a_setting_that_cannot_be_used(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidSettings):
        sqlite_runners(tmp_path / "file")
