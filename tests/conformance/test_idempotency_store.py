"""What every `IdempotencyStore` does, and how creations write it."""

import asyncio
from dataclasses import replace

import pytest

from tokenmq.errors import InvalidKey, NotFound
from tokenmq.stores.base import Creation, Replacing


async def test_record_is_kept_with_the_family_and_found_until_it_is_to_be_forgotten(filled, reopen):
    kept = filled.idempotent()
    await filled.create(idempotency=kept)
    store = await reopen()
    assert await store.idempotency.find(kept.scope, kept.forget_at - 1) == kept
    assert await store.idempotency.find(kept.scope, kept.forget_at) is None


@pytest.mark.parametrize("part", ["key_id", "path", "value"])
async def test_other_scope_knows_nothing(filled, records, part):
    kept = filled.idempotent()
    await filled.create(idempotency=kept)
    other = replace(kept.scope, **{part: "other"})
    assert await filled.store.idempotency.find(other, records.now) is None


async def test_second_with_a_taken_scope_writes_nothing(filled, records):
    first = filled.idempotent(token_id="tok_first")
    earlier = await filled.create()
    await filled.create(idempotency=first)
    new = filled.new(idempotency=filled.idempotent(token_id="tok_second"), replacing=Replacing.ALL)
    assert await filled.creation(new) == Creation(stored=False)
    assert await filled.store.families.get(filled.org_id, new.record.token_id) is None
    assert await filled.read(earlier.token_id) == earlier
    assert await filled.store.idempotency.find(first.scope, records.now) == first


async def test_of_64_at_once_with_one_scope_one_is_stored(filled):
    news = [filled.new(idempotency=filled.idempotent(token_id=f"tok_{i}")) for i in range(64)]
    outcomes = await asyncio.gather(*map(filled.creation, news))
    assert [outcome.stored for outcome in outcomes] == [True] + [False] * 63


async def test_scope_that_is_to_be_forgotten_can_be_used_again(filled, records):
    old = filled.idempotent(token_id="tok_old")
    await filled.create(idempotency=old)
    new = replace(filled.idempotent(token_id="tok_new"), forget_at=old.forget_at + 1)
    outcome = await filled.creation(filled.new(idempotency=new, first_issued_at=old.forget_at))
    assert outcome == Creation(stored=True)
    assert await filled.store.idempotency.find(new.scope, records.now) == new


async def test_creation_that_fails_keeps_no_record(filled, records):
    kept = filled.idempotent()
    with pytest.raises(InvalidKey):
        await filled.create(idempotency=kept, key_id="unknown1")
    assert await filled.store.idempotency.find(kept.scope, records.now) is None
    # Nor one that a constraint stops after its record was written.
    taken = await filled.create()
    new = filled.new(idempotency=kept)
    new = replace(new, record=replace(new.record, token_id=taken.token_id))
    with pytest.raises(NotFound):
        await filled.creation(new)
    assert await filled.store.idempotency.find(kept.scope, records.now) is None


async def test_prune_removes_what_is_to_be_forgotten_within_its_limit(filled):
    for i in range(3):
        await filled.create(idempotency=filled.idempotent(str(i)))
    young = replace(filled.idempotent("young"), forget_at=filled.idempotent().forget_at + 1)
    await filled.create(idempotency=young)
    at = filled.idempotent().forget_at
    prune = filled.store.idempotency.prune
    assert [await prune(at, limit=2), await prune(at, limit=2), await prune(at, limit=2)] == [2, 1, 0]
    assert await filled.store.idempotency.find(young.scope, at) == young
