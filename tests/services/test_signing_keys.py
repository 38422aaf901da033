"""Signing keys as the administrator changes them, without a restart."""

import asyncio

import pytest

from tokenmq.errors import Conflict, Forbidden, NotFound
from tokenmq.tokens import jwt


def listed(world, now=None, **page):
    page = {"limit": None, "cursor": None, **page}
    return world.services.signing_keys.list(key=world.administrator, now=now or world.now, **page)


def states(world, now=None):
    return {view.kid: view.status.value for view in listed(world, now).items}


async def add(world, algorithm=None, *, current=False, now=None):
    return await world.services.signing_keys.add(
        algorithm, current=current, key=world.administrator, now=now or world.now
    )


async def test_key_is_added_used_and_the_old_one_retired_while_tokens_live(world):
    (first,) = states(world)
    old = await world.issue()
    added = await add(world)
    assert states(world) == {first: "current", added.kid: "waiting"}
    assert (added.current_from, added.algorithm) == (None, "ES256")
    later = world.now + 300
    used = await world.services.signing_keys.use(added.kid, key=world.administrator, now=later)
    assert (used.status.value, used.current_from) == ("current", later)
    assert states(world, later) == {first: "former", added.kid: "current"}
    new = await world.issue(now=later)
    assert (old.family.kid, new.family.kid) == (first, added.kid)
    for token in (old, new):
        jwt.verify(token.text, world.services.signing.keyring, issuer="tokenmq", now=later)
    end = later + 86_400
    retired = await world.services.signing_keys.retire(first, key=world.administrator, now=end)
    assert (retired.status.value, retired.retired_at) == ("retired", end)
    await world.restart()
    assert states(world, end) == {first: "retired", added.kid: "current"}


async def test_key_that_is_to_be_current_signs_at_once_and_may_be_of_another_algorithm(world):
    later = world.now + 1
    added = await add(world, "EdDSA", current=True, now=later)
    assert (added.status.value, added.algorithm, added.current_from) == ("current", "EdDSA", later)
    assert (await world.issue(now=later)).family.kid == added.kid


async def test_without_an_algorithm_the_configured_one_is_made(tmp_path, open_world, world):
    services = await open_world(tmp_path / "other", world.now, algorithm="EdDSA")
    added = await services.signing_keys.add(None, current=False, key=world.administrator, now=world.now)
    assert added.algorithm == "EdDSA"
    await services.close()


async def test_changes_at_once_leave_one_current_key(world):
    added = await asyncio.gather(*(add(world, current=True) for _ in range(4)))
    later = world.now + 10
    assert sorted(states(world, later).values()) == ["current", *["former"] * 4]
    assert len({view.current_from for view in added}) == 4


async def test_first_key_tells_when_it_was_made_not_the_beginning_of_time(world):
    (first,) = listed(world).items
    assert first.current_from == first.created_at


async def test_pages_have_every_key_once(world):
    for _ in range(3):
        await add(world)
    seen, cursor = [], None
    while True:
        page = listed(world, limit=1, cursor=cursor)
        seen += [view.kid for view in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert len(seen) == 4 and sorted(seen) == sorted(states(world))


async def test_only_the_administrator_may(world):
    signing_keys = world.services.signing_keys
    (first,) = states(world)
    with pytest.raises(Forbidden):
        signing_keys.list(key=world.key, limit=None, cursor=None, now=world.now)
    with pytest.raises(Forbidden):
        await signing_keys.add(None, current=True, key=world.key, now=world.now)
    for change in (signing_keys.use, signing_keys.retire):
        with pytest.raises(Forbidden):
            await change(first, key=world.key, now=world.now)
    assert states(world) == {first: "current"}


async def test_what_is_not_there_or_not_possible_is_refused(world):
    signing_keys = world.services.signing_keys
    (first,) = states(world)
    for change in (signing_keys.use, signing_keys.retire):
        with pytest.raises(NotFound):
            await change("unknown", key=world.administrator, now=world.now)
    with pytest.raises(Conflict):
        await signing_keys.retire(first, key=world.administrator, now=world.now)
