"""What every `KeyStore` does."""

import asyncio
from dataclasses import replace

import pytest

from tokenmq.access.grants import Grant
from tokenmq.access.permission import Permission
from tokenmq.errors import InvalidKey, NotFound
from tokenmq.stores.base import EndedFamily, Selection
from tokenmq.tokens.records import EarlierSecret, KeyKind


def same(outcome):
    return outcome


async def test_key_that_was_stored_is_loaded_as_it_was(reopen, records):
    store = await reopen()
    organization = await store.organizations.create(records.organization(), applied=same)
    restricted = records.key(
        organization.id,
        kind=KeyKind.RESTRICTED,
        scopes=("mqtt", "tokens:create"),
        grants=(Grant((Permission.PUBLISH,), ("a/+", "ü/#")),),
        expires_at=records.now + 1,
        last_used_at=records.now,
    )
    administrator = records.key(None, kind=KeyKind.INSTANCE)
    for record in (restricted, administrator):
        assert await store.keys.create(record, made_by=None, applied=same) == record
    assert await (await reopen()).keys.load() == [restricted, administrator]


async def test_key_of_an_organization_that_is_not_there_is_not_stored(store, records):
    with pytest.raises(NotFound) as caught:
        await store.keys.create(records.key("org_abcdefghijkl"), made_by=None, applied=same)
    assert caught.value.code == "organization_not_found"
    assert await store.keys.load() == []


@pytest.mark.parametrize("how", ["deleted", "expired", "unknown"])
async def test_key_made_by_one_that_is_gone_is_refused(filled, records, how):
    maker = records.key(filled.org_id, expires_at=records.now if how == "expired" else None)
    if how != "unknown":
        await filled.store.keys.create(maker, made_by=None, applied=same)
    if how == "deleted":
        await filled.store.keys.delete(maker.id, now=records.now, revoke=None, reason=None, applied=same)
    before = await filled.store.keys.load()
    with pytest.raises(InvalidKey):
        await filled.store.keys.create(records.key(filled.org_id), made_by=maker.id, applied=same)
    assert await filled.store.keys.load() == before


async def test_deleted_key_is_not_loaded_and_cannot_be_deleted_again(filled, records):
    await filled.store.keys.delete(filled.key_id, now=records.now, revoke=None, reason=None, applied=same)
    assert await filled.store.keys.load() == []
    with pytest.raises(NotFound):
        await filled.store.keys.delete(filled.key_id, now=records.now, revoke=None, reason=None, applied=same)


async def test_deletion_revokes_what_the_key_issued_in_the_same_step(filled, records):
    other = await filled.store.keys.create(records.key(filled.org_id), made_by=None, applied=same)
    mine, foreign = await filled.create(), await filled.create(key_id=other.id)
    ended = await filled.store.keys.delete(
        filled.key_id,
        now=records.now + 5,
        revoke=Selection(filled.org_id, key_id=filled.key_id),
        reason="gone",
        applied=same,
    )
    assert ended == [EndedFamily(mine.token_id, mine.expires_at, revoked=True)]
    revoked = await filled.read(mine.token_id)
    assert (revoked.revoked_at, revoked.revoked_reason) == (records.now + 5, "gone")
    assert await filled.read(foreign.token_id) == foreign


async def test_family_of_a_key_deleted_between_check_and_commit_is_refused(filled, records):
    # Both wait for the same commit, and the creation was first.
    creating = asyncio.ensure_future(filled.create())
    deleting = asyncio.ensure_future(
        filled.store.keys.delete(filled.key_id, now=records.now, revoke=None, reason=None, applied=same)
    )
    assert await deleting == ()
    with pytest.raises(InvalidKey):
        await creating


async def test_rotated_key_is_loaded_with_all_its_secrets(filled, reopen, records):
    store = filled.store
    (key,) = await store.keys.load()
    earlier = (EarlierSecret(b"\x00" * 32, records.now + 5), EarlierSecret(b"\xff" * 32, records.now + 1))
    changed = replace(
        key,
        digest=b"n" * 32,
        hint="new1",
        expires_at=records.now + 9,
        rotated_at=records.now,
        earlier=earlier,
    )
    assert await store.keys.rotate(changed, made_by=key.id, applied=same) == changed
    assert await (await reopen()).keys.load() == [changed]


@pytest.mark.parametrize("gone", ["key", "maker"])
async def test_key_that_is_gone_and_by_one_that_is_gone_is_not_rotated(filled, records, gone):
    store = filled.store
    other = await store.keys.create(records.key(filled.org_id), made_by=None, applied=same)
    (key,) = [one for one in await store.keys.load() if one.id == filled.key_id]
    deleted = key.id if gone == "key" else other.id
    await store.keys.delete(deleted, now=records.now, revoke=None, reason=None, applied=same)
    with pytest.raises(NotFound if gone == "key" else InvalidKey):
        await store.keys.rotate(
            replace(key, hint="new1", rotated_at=records.now), made_by=other.id, applied=same
        )
    assert "new1" not in {one.hint for one in await store.keys.load()}


async def test_last_uses_are_stored_and_unknown_keys_passed_over(filled, reopen, records):
    await filled.store.keys.touch({filled.key_id: records.now + 7, "unknown1": 3})
    await filled.store.keys.touch({})
    (key,) = await (await reopen()).keys.load()
    assert key.last_used_at == records.now + 7
