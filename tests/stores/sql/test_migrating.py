"""Migrations make exactly the tables that the statements are written for."""

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from tokenmq.errors import InvalidSettings, Unavailable
from tokenmq.stores.sql import SqlStore, migrating
from tokenmq.stores.sql import store as store_module
from tokenmq.stores.sql.dialect import DATABASE_NAME, sqlite_runners
from tokenmq.stores.sql.migrating import migrate
from tokenmq.stores.sql.tables import metadata


def differences(connection):
    return compare_metadata(MigrationContext.configure(connection), metadata)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.interop)])
def open_empty(request, folder, open_database):
    """Open the store in a database that was empty at first."""
    if request.param == "sqlite":
        return lambda: SqlStore.open_folder(folder)
    url = request.getfixturevalue("postgresql").database()
    return lambda: open_database(url)


async def test_migrated_tables_are_laid_out_as_those_of_the_metadata(folder, tmp_path):
    """What SQLite keeps in the key's index, and under the number itself, no comparison tells."""
    layouts = []
    for place, make in ((folder, migrate), (tmp_path / "other", metadata.create_all)):
        writer, reader = sqlite_runners(place)
        await writer.run(make)
        found = await reader.run(lambda c: c.execute(text("SELECT name, sql FROM sqlite_master")).all())
        layouts.append(
            {
                name: ("WITHOUT ROWID" in sql, "number INTEGER" in sql)
                for name, sql in found
                if sql and name != "alembic_version"
            }
        )
        for runner in (writer, reader):
            await runner.close()
    assert layouts[0] == layouts[1]
    assert layouts[0]["deliveries"] == (True, False)
    assert layouts[0]["messages"] == (False, True)


async def test_families_of_the_first_version_are_taken_over(folder):
    writer, reader = sqlite_runners(folder)
    config = Config()
    config.set_main_option("script_location", str(migrating.SCRIPTS))

    def migrate_to_the_first(connection):
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text("INSERT INTO organizations VALUES ('o', 'n', '{}', 1)"))
        columns = ["token_id", "org_id", "user_id", "user_email", "key_id", "renewable", "grants", "metadata"]
        columns += [
            "first_issued_at",
            "ttl_seconds",
            "gen",
            "jti",
            "kid",
            "issued_at",
            "expires_at",
            "ends_at",
        ]
        values = ", ".join("'o'" if column == "org_id" else "'1'" for column in columns)
        names = ", ".join(columns)
        connection.execute(text(f"INSERT INTO families ({names}, sessions_replaced) VALUES ({values}, 0)"))

    await writer.run(migrate_to_the_first)
    await writer.run(migrate)
    assert await reader.run(differences) == []
    assert await reader.run(
        lambda c: c.execute(text("SELECT retained_kept FROM families")).scalars().all()
    ) == [0]
    for runner in (writer, reader):
        await runner.close()


async def test_migrations_make_the_tables_of_the_metadata_and_run_once(open_empty):
    for _ in range(2):
        store = await open_empty()
        assert await store._runners[0].run(differences) == []
        await store.close()


async def test_migration_that_fails_leaves_nothing_behind(open_empty, monkeypatch):
    def migrate_and_fail(connection):
        migrate(connection)
        raise OSError("power cut")

    def look_first(connection):
        tables.append(inspect(connection).get_table_names())
        migrate(connection)

    tables = []
    monkeypatch.setattr(store_module, "migrate", migrate_and_fail)
    with pytest.raises(Unavailable, match="power cut"):
        await open_empty()
    monkeypatch.setattr(store_module, "migrate", look_first)
    store = await open_empty()
    assert tables == [[]]
    assert await store._runners[0].run(differences) == []
    await store.close()


async def test_tables_of_a_newer_version_are_refused(open_empty):
    store = await open_empty()
    newer = text("UPDATE alembic_version SET version_num = 'newer'")
    await store._runners[0].run(lambda connection: connection.execute(newer))
    await store.close()
    with pytest.raises(InvalidSettings, match="newer version"):
        await open_empty()


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
