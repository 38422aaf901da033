"""Failures of a real database, injected where they hurt."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from tokenmq.errors import Unavailable
from tokenmq.stores.base import NewFamily, Replacing, Selection
from tokenmq.stores.sql.tables import families
from tokenmq.tokens.records import FamilyRecord, KeyKind, KeyRecord, OrganizationRecord, OrganizationSettings

ORG, KEY, NOW = "org_abcdefghijkl", "abcdefgh", 1_800_000_000
FAMILY = FamilyRecord(
    token_id="tok_1",
    org_id=ORG,
    user_id="ann",
    user_email="ann",
    key_id=KEY,
    integration_id=None,
    client_id=None,
    renewable=True,
    grants=(),
    metadata={},
    first_issued_at=NOW,
    ttl_seconds=60,
    gen=0,
    jti="j",
    kid="k",
    issued_at=NOW,
    expires_at=NOW + 60,
    ends_at=NOW + 60,
)


def same(outcome):
    return outcome


def new(token_id: str, **metadata: str) -> NewFamily:
    record = replace(FAMILY, token_id=token_id, metadata=metadata)
    return NewFamily(record, Replacing.NONE, lambda org_id, token_ids: set())


@pytest.fixture
async def filled(store):
    organization = OrganizationRecord(ORG, "a", OrganizationSettings(), NOW)
    await store.organizations.create(organization, applied=same)
    key = KeyRecord(KEY, ORG, KeyKind.SECRET, "k", b"d", "x7m4", (), (), NOW)
    await store.keys.create(key, made_by=None, applied=same)
    await store.families.create(new("tok_0"), applied=same)
    return store


@pytest.fixture
def fail_commits(filled):
    """Let commits of the writer fail until told otherwise."""
    engine = filled.writer._runner._engine
    engine = getattr(engine, "sync_engine", engine)

    def refuse(connection):
        raise OperationalError("COMMIT", {}, Exception("disk I/O error"))

    event.listen(engine, "commit", refuse)
    yield lambda: event.remove(engine, "commit", refuse)
    if event.contains(engine, "commit", refuse):
        event.remove(engine, "commit", refuse)


async def test_concurrent_creations_share_commits(filled):
    before = filled.writer.commits
    news = [new(f"tok_a{i}") for i in range(200)]
    await asyncio.gather(*(filled.families.create(one, applied=same) for one in news))
    assert filled.writer.commits - before <= 2
    for one in news:
        assert await filled.families.get(ORG, one.record.token_id) == one.record


async def test_v102_creation_whose_commit_fails_leaves_nothing_and_can_be_repeated(filled, fail_commits):
    applied = []
    with pytest.raises(Unavailable):
        await filled.families.create(new("tok_a"), applied=applied.append)
    assert await filled.families.get(ORG, "tok_a") is None
    fail_commits()
    assert applied == []
    await filled.families.create(new("tok_a"), applied=applied.append)
    assert await filled.families.get(ORG, "tok_a") is not None


async def test_v103_revocation_whose_commit_fails_is_an_error_and_changes_nothing(filled, fail_commits):
    applied = []
    selection = Selection(ORG, all=True)
    with pytest.raises(Unavailable):
        await filled.families.revoke(selection, now=NOW, reason=None, applied=applied.append)
    assert applied == []
    assert await filled.families.get(ORG, "tok_0") == new("tok_0").record
    fail_commits()
    await filled.families.revoke(selection, now=NOW, reason=None, applied=applied.append)
    assert [ended.token_id for ended in applied[0]] == ["tok_0"]


@pytest.mark.parametrize("open_store", ["sqlite"], indirect=True)
async def test_full_disk_refuses_and_what_is_there_stays(filled):
    def fill(connection):
        size = connection.exec_driver_sql("PRAGMA page_count").scalar()
        # The smallest limit that SQLite takes is what there is.
        assert connection.exec_driver_sql("PRAGMA max_page_count=1").scalar() == size

    await filled.writer._runner.run(fill)
    with pytest.raises(Unavailable):
        await filled.families.create(new("tok_a", note="x" * 100_000), applied=same)
    assert await filled.families.get(ORG, "tok_0") is not None
    assert await filled.families.get(ORG, "tok_a") is None


async def test_read_that_fails_is_unavailable(filled):
    await filled.writer._runner.run(families.drop)
    with pytest.raises(Unavailable):
        await filled.families.get(ORG, "tok_0")
    # The next test finds them again.
    await filled.writer._runner.run(families.create)


async def test_closed_store_fails_to_read_in_its_own_words(open_store):
    store = await open_store()
    await store.close()
    with pytest.raises(Unavailable):
        await store.ping()
