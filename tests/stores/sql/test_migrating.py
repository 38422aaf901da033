"""Migrations make exactly the tables that the statements are written for."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from tokenmq.errors import InvalidSettings, Unavailable
from tokenmq.stores.sql import SqlStore, migrating
from tokenmq.stores.sql.dialect import DATABASE_NAME, sqlite_runners
from tokenmq.stores.sql.migrating import migrate
from tokenmq.stores.sql.tables import metadata


def differences(connection):
    return compare_metadata(MigrationContext.configure(connection), metadata)


async def test_migrated_tables_are_those_of_the_metadata(folder):
    writer, reader = sqlite_runners(folder)
    await writer.run(migrate)
    assert await reader.run(differences) == []
    for runner in (writer, reader):
        await runner.close()


async def test_second_start_changes_nothing(folder):
    for _ in range(2):
        store = await SqlStore.open_folder(folder)
        await store.close()


async def test_migration_that_fails_leaves_nothing_behind(folder, monkeypatch):
    writer, reader = sqlite_runners(folder)

    def migrate_and_fail(connection):
        migrate(connection)
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        await writer.run(migrate_and_fail)
    tables = await reader.run(lambda c: c.execute(text("SELECT name FROM sqlite_master")).scalars().all())
    assert tables == []
    await writer.run(migrate)
    for runner in (writer, reader):
        await runner.close()


async def test_tables_of_a_newer_version_are_refused(folder):
    writer, reader = sqlite_runners(folder)
    await writer.run(migrate)
    await writer.run(lambda c: c.execute(text("UPDATE alembic_version SET version_num = 'newer'")))
    for runner in (writer, reader):
        await runner.close()
    with pytest.raises(InvalidSettings, match="newer version"):
        await SqlStore.open_folder(folder)


async def test_file_that_is_no_database_is_refused_and_kept(folder):
    folder.mkdir()
    (folder / DATABASE_NAME).write_bytes(b"not a database, but somebody's" * 100)
    with pytest.raises(Unavailable):
        await SqlStore.open_folder(folder)
    assert (folder / DATABASE_NAME).read_bytes() == b"not a database, but somebody's" * 100


def test_the_newest_script_is_the_one_that_a_start_looks_for():
    config = Config()
    config.set_main_option("script_location", str(migrating.SCRIPTS))
    assert ScriptDirectory.from_config(config).get_heads() == [migrating.NEWEST]
