"""What every `SigningKeyStore` does, and the store as a whole."""

from dataclasses import replace

import pytest

from tokenmq.errors import Unavailable


def same(outcome):
    return outcome


async def test_signing_key_that_was_stored_is_loaded_as_it_was(reopen, records):
    store = await reopen()
    later, first = records.signing_key("b", created_at=2), records.signing_key("c", created_at=1)
    for record in (later, first):
        assert await store.signing_keys.save(record, applied=same) == record
    assert await (await reopen()).signing_keys.load() == [first, later]


async def test_known_signing_key_changes_times_and_private_part(store, records):
    await store.signing_keys.save(records.signing_key(), applied=same)
    changed = replace(records.signing_key(), private_pem=b"closed", current_from=5, retired_at=6)
    await store.signing_keys.save(changed, applied=same)
    assert await store.signing_keys.load() == [changed]


async def test_open_store_answers_a_ping(store):
    await store.ping()


async def test_closed_store_refuses_writes(reopen, records):
    store = await reopen()
    await store.close()
    with pytest.raises(Unavailable):
        await store.signing_keys.save(records.signing_key(), applied=same)
    await reopen()
