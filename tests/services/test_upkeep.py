"""What is done from time to time."""

import asyncio

import pytest
from structlog.testing import capture_logs

from tokenmq.errors import ExpiredToken, NotFound, Unavailable
from tokenmq.services import periodic, upkeep
from tokenmq.services.tokens import RevokeRequest


@pytest.fixture
def open_world_store(open_store):
    """Every database that there is."""
    return open_store


async def test_what_is_over_long_enough_is_let_go_of(world, monkeypatch):
    monkeypatch.setattr(upkeep, "PRUNE_ROWS", 2)
    tokens = [await world.issue(ttl_seconds=60, idempotency=world.once(str(i))) for i in range(5)]
    await world.services.tokens.revoke(
        RevokeRequest(all=True), key=world.key, org_id=world.org_id, now=world.now
    )
    end = world.now + 60
    await world.services.upkeep.once(end + upkeep.KEPT_SECONDS)
    assert len(world.services.families) == 0

    async def get(token):
        return await world.services.tokens.get(
            token.family.token_id, key=world.key, org_id=world.org_id, now=end
        )

    for token in tokens:
        await get(token)
    await world.services.upkeep.once(end + upkeep.KEPT_SECONDS + 1)
    for token in tokens:
        with pytest.raises(NotFound):
            await get(token)
    scope = world.once("0").scope(world.key.id)
    assert await world.services.store.idempotency.find(scope, world.now) is None


async def test_failing_store_is_told_and_forgets_no_last_use(world):
    world.services.keys.authenticate(world.key_text, world.now + 7)
    heal = world.fail_commits()
    with pytest.raises(Unavailable):
        await world.services.upkeep.once(world.now)
    await world.services.upkeep.stop()
    heal()
    await world.services.upkeep.once(world.now)
    stored = {record.id: record.last_used_at for record in await world.services.store.keys.load()}
    assert stored[world.key.id] == world.now + 7


async def test_task_goes_on_after_a_failure_and_ends_when_stopped(world, monkeypatch):
    monkeypatch.setattr(periodic, "INTERVAL_SECONDS", 0)
    runs = asyncio.Event()
    outcomes = [Unavailable("no"), KeyError("hunter2"), None, None]

    async def once(now):
        outcome = outcomes.pop(0)
        if not outcomes:
            runs.set()
            await asyncio.Event().wait()
        if outcome is not None:
            raise outcome

    kept = world.services.upkeep
    monkeypatch.setattr(kept, "once", once, raising=False)
    with capture_logs() as lines:
        kept.start()
        await asyncio.wait_for(runs.wait(), 10)
    await kept.stop()
    await kept.stop()
    assert [line["event"] for line in lines] == ["upkeep_failed", "defect"]
    assert lines[1]["error"] == "KeyError" and "test_upkeep.py:" in lines[1]["traceback"]
    assert "hunter2" not in repr(lines)


async def test_who_was_connected_is_written_and_what_the_store_knows_is_learnt(world):
    token = await world.issue(renewable=False, ttl_seconds=60)
    identity = world.services.authenticator.connect(world.credentials(token), world.now)
    stay = world.services.families.connected(identity, "c1")
    heal = world.fail_commits()
    with pytest.raises(Unavailable):
        await world.services.upkeep.once(world.now)
    heal()
    await world.services.upkeep.once(world.now)
    stored = await world.services.store.families.get(world.org_id, token.family.token_id)
    assert (stored.connected, stored.clients) == (0, (("c1", None),))
    # It is not renewable: its client is not told to try again.
    with pytest.raises(ExpiredToken):
        world.services.authenticator.connect(world.credentials(token), world.now + 60)
    world.services.families.left(stay, world.now + 61)
    await world.restart()
    stored = await world.services.store.families.get(world.org_id, token.family.token_id)
    assert stored.clients == (("c1", world.now + 61),)
