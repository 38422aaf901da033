"""Signing keys: made once, changed without a restart."""

import pytest

from tokenmq.errors import Conflict, InvalidToken, NotFound, Unavailable, UnusableKey
from tokenmq.tokens import jwt, keyring


def kid(world, now=None):
    return world.services.signing.keyring.current(now or world.now).kid


def published(world):
    return {key["kid"] for key in world.services.signing.keyring.jwks(world.now)["keys"]}


async def test_first_key_is_made_once(world):
    first = kid(world)
    await world.restart()
    assert kid(world) == first
    assert published(world) == {first}


async def test_first_key_signs_whatever_the_clock_says(world):
    assert kid(world, 0) == kid(world)


async def test_new_current_key_signs_and_old_tokens_verify_until_their_end(world):
    old = await world.issue()
    first = kid(world)
    added = await world.services.signing.add("ES256", now=world.now + 5, current=True)
    assert kid(world, world.now + 5) == added.kid != first
    new = await world.issue(now=world.now + 5)
    assert (old.family.kid, new.family.kid) == (first, added.kid)
    for _ in range(2):
        for token in (old, new):
            jwt.verify(token.text, world.services.signing.keyring, issuer="tokenmq", now=world.now + 5)
        await world.restart()


async def test_key_that_is_only_added_is_published_and_does_not_sign(world):
    first = kid(world)
    added = await world.services.signing.add("EdDSA", now=world.now, current=False)
    assert kid(world, world.now + 86_400) == first
    assert published(world) == {first, added.kid}
    await world.services.signing.make_current(added.kid, now=world.now + 60)
    assert kid(world, world.now + 60) == added.kid
    await world.restart()
    assert kid(world, world.now + 60) == added.kid


async def test_several_changes_in_one_second_end_with_the_last(world):
    added = [await world.services.signing.add("ES256", now=world.now, current=True) for _ in range(3)]
    assert kid(world, world.now + 5) == added[-1].kid
    await world.services.signing.make_current(added[0].kid, now=world.now)
    assert kid(world, world.now + 5) == added[0].kid


async def test_retired_key_verifies_nothing_any_more_not_even_known_tokens(world):
    token = await world.issue()
    world.services.authenticator.connect(world.credentials(token), world.now)
    first = kid(world)
    await world.services.signing.add("ES256", now=world.now, current=True)
    later = world.now + 5
    await world.services.signing.retire(first, now=later)
    for _ in range(2):
        with pytest.raises(InvalidToken):
            world.services.authenticator.connect(world.credentials(token), later)
        await world.restart()
    with pytest.raises(Conflict):
        await world.services.signing.retire(first, now=later)
    with pytest.raises(Conflict):
        await world.services.signing.make_current(first, now=later)


async def test_current_key_cannot_be_retired_nor_an_unknown_one_be_used(world):
    with pytest.raises(Conflict):
        await world.services.signing.retire(kid(world), now=world.now)
    for use in (world.services.signing.retire, world.services.signing.make_current):
        with pytest.raises(NotFound):
            await use("unknown", now=world.now)


async def test_unknown_algorithm_is_refused(world):
    with pytest.raises(UnusableKey):
        await world.services.signing.add("HS256", now=world.now, current=True)


async def test_failing_store_changes_no_key(world):
    before = published(world)
    heal = world.fail_commits()
    with pytest.raises(Unavailable):
        await world.services.signing.add("ES256", now=world.now, current=True)
    heal()
    assert published(world) == before


async def test_keys_are_encrypted_once_there_is_a_secret_and_need_it_from_then_on(world, open_world):
    first = kid(world)
    await world.services.close()

    async def pems(**settings):
        services = await open_world(world.folder, world.now, **settings)
        assert services.signing.keyring.current(world.now).kid == first
        stored = [record.private_pem for record in await services.store.signing_keys.load()]
        await services.close()
        return stored

    assert not any(map(keyring.is_encrypted, await pems()))
    for _ in range(2):
        assert all(map(keyring.is_encrypted, await pems(signing_secret="correct horse battery")))
    for wrong in (None, "wrong"):
        with pytest.raises(UnusableKey):
            await pems(signing_secret=wrong)
