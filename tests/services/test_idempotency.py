"""`Idempotency-Key`: one family, whatever is repeated, however often."""

import asyncio

import pytest

from tokenmq.errors import Conflict, ExpiredToken, InvalidRequest, Unavailable
from tokenmq.services.idempotency import Turns
from tokenmq.services.tokens import Replacing, RevokeRequest
from tokenmq.stores.base import IdempotencyScope
from tokenmq.tokens import jwt


def claims(world, token, now=None):
    return jwt.verify(token.text, world.services.signing.keyring, issuer="tokenmq", now=now or world.now)


async def families(world):
    page = await world.services.tokens.list(
        key=world.key, org_id=world.org_id, user_id=None, status=None, limit=None, cursor=None, now=world.now
    )
    return [view.family for view in page.items]


async def test_repeat_gives_an_equal_token(world):
    first = await world.issue(idempotency=world.once(), client_id="c", metadata={"a": 1})
    # Whatever the time, and whatever the request says now: the body is compared by the digest.
    again = await world.issue(idempotency=world.once(), now=world.now + 100)
    assert claims(world, again) == claims(world, first)
    assert again.family == first.family
    assert await families(world) == [first.family]
    # The hint is worked out for each answer.
    late = await world.issue(idempotency=world.once(), now=world.now + 3_500)
    assert late.refresh_recommended_at == world.now + 3_505


async def test_repeat_after_a_restart_and_a_new_signing_key_has_the_stored_kid(world):
    first = await world.issue(idempotency=world.once())
    await world.restart()
    await world.services.signing.add("ES256", now=world.now + 1, current=True)
    again = await world.issue(idempotency=world.once(), now=world.now + 5)
    assert claims(world, again) == claims(world, first)
    assert again.text.split(".")[0] == first.text.split(".")[0]


async def test_repeat_whose_signing_key_is_retired_is_a_conflict(world):
    first = await world.issue(idempotency=world.once())
    await world.services.signing.add("ES256", now=world.now + 1, current=True)
    await world.services.signing.retire(first.family.kid, now=world.now + 5)
    with pytest.raises(Conflict, match="retired"):
        await world.issue(idempotency=world.once(), now=world.now + 5)


async def test_64_at_once_make_one_family(world):
    tokens = await asyncio.gather(*(world.issue(idempotency=world.once()) for _ in range(64)))
    assert len({claims(world, token).jti for token in tokens}) == 1
    assert len(await families(world)) == 1


async def test_other_body_is_a_conflict_and_other_scopes_are_free(world):
    first = await world.issue(idempotency=world.once())
    with pytest.raises(Conflict):
        await world.issue(idempotency=world.once(body=b"other"))
    other_key = (await world.create_key()).record
    others = [
        await world.issue(idempotency=world.once("other")),
        await world.issue(idempotency=world.once(path="/v1/create")),
        await world.issue(idempotency=world.once(), key=other_key),
    ]
    assert len({token.family.token_id for token in (first, *others)}) == 4


async def test_administrators_value_means_nothing_in_another_organization(world):
    other, _ = await world.other_organization()
    await world.issue(idempotency=world.once(), key=world.administrator)
    with pytest.raises(Conflict):
        await world.issue(idempotency=world.once(), key=world.administrator, organization=other)


async def test_revoked_and_replaced_are_conflicts(world):
    await world.issue(idempotency=world.once())
    await world.services.tokens.revoke(
        RevokeRequest(all=True), key=world.key, org_id=world.org_id, now=world.now
    )
    with pytest.raises(Conflict, match="revoked"):
        await world.issue(idempotency=world.once())
    await world.issue(idempotency=world.once("second"))
    await world.issue(replacing=Replacing(families=True))
    with pytest.raises(Conflict, match="replaced"):
        await world.issue(idempotency=world.once("second"))


async def test_expired_is_a_conflict_until_the_day_is_over(world):
    first = await world.issue(idempotency=world.once(), ttl_seconds=600)
    end = world.now + 600
    assert (await world.issue(idempotency=world.once(), now=end - 2)).family == first.family
    with pytest.raises(ExpiredToken):
        await world.issue(idempotency=world.once(), now=end - 1.5)
    for now in (end, world.now + 86_399):
        with pytest.raises(Conflict, match="expired"):
            await world.issue(idempotency=world.once(), now=now)
    new = await world.issue(idempotency=world.once(), now=world.now + 86_400)
    assert new.family.token_id != first.family.token_id


async def test_request_that_failed_used_nothing_up(world):
    with pytest.raises(InvalidRequest):
        await world.issue(idempotency=world.once(), ttl_seconds=1)
    heal = world.fail_commits()
    with pytest.raises(Unavailable):
        await world.issue(idempotency=world.once())
    heal()
    first = await world.issue(idempotency=world.once())
    assert (await world.issue(idempotency=world.once())).family == first.family


async def test_repeat_waits_for_a_first_that_goes_away(world):
    first = asyncio.ensure_future(world.issue(idempotency=world.once()))
    second = asyncio.ensure_future(world.issue(idempotency=world.once()))
    await asyncio.sleep(0)
    first.cancel()
    token = await second
    assert await families(world) == [token.family]
    assert (await world.issue(idempotency=world.once())).family == token.family


@pytest.mark.parametrize("value", ["", "a b", "ü", "a\n", "x" * 256])
async def test_malformed_value_is_refused(world, value):
    with pytest.raises(InvalidRequest):
        await world.issue(idempotency=world.once(value))
    assert await families(world) == []


async def test_turns_are_taken_one_by_one_for_each_scope_and_forgotten():
    turns = Turns()
    order = []

    async def take(value, name):
        async with turns.of(IdempotencyScope("k", "p", value)):
            order.append(f"{name} in")
            await asyncio.sleep(0)
            order.append(f"{name} out")

    await asyncio.gather(take("a", 1), take("a", 2), take("b", 3))
    assert order.index("1 out") < order.index("2 in")
    assert order.index("3 in") < order.index("1 out")
    assert turns._locks == {}
