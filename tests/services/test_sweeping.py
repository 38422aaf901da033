"""The history is swept."""

import asyncio

from structlog.testing import capture_logs

from tokenmq.access.recording import HistoryRule, HistoryRules
from tokenmq.broker.records import HistoryRecord, put
from tokenmq.errors import Unavailable
from tokenmq.services import periodic
from tokenmq.services.history import Reading
from tokenmq.stores.history import HistoryQuery


async def record(world, id_, topic, at, **changes):
    settled = asyncio.get_running_loop().create_future()
    values = {"payload": b"p", "qos": 1, "retain": False, "forward": b"", "expires_at": None}
    values |= {"user_id": "ann", "most": 10} | changes
    message = HistoryRecord(id=id_, org_id=world.org_id, topic=topic, at=at, **values)
    world.services.store.kept.save([put(message)], settled.set_result)
    assert await settled is None


async def ids(world):
    heads = await world.services.store.history.heads(HistoryQuery(world.org_id, "#", ascending=True))
    return [head.id for head in heads]


async def put_rules(world, *rules):
    return await world.services.history.put_rules(rules, key=world.key, org_id=world.org_id, now=world.now)


async def test_what_is_too_old_or_under_no_rule_goes(world):
    await put_rules(world, HistoryRule("a", 100, 10))
    for id_, topic, ago in ((1, "a", 101), (2, "a", 99), (3, "b", 0)):
        await record(world, id_, topic, world.now - ago)
    await world.services.sweeper.once(world.now)
    assert await ids(world) == [2]


async def test_what_a_deleted_organization_left_goes(world):
    await record(world, 1, "a", world.now)
    await world.services.store.organizations.delete(world.org_id, applied=lambda org_id: org_id)
    await world.services.organizations.load()
    await world.services.sweeper.once(world.now)
    assert await world.services.store.history.organizations() == []


async def test_a_change_of_the_rules_is_swept_at_once(world, monkeypatch):
    swept = asyncio.Event()
    once = world.services.sweeper.once

    async def watched(now):
        await once(now)
        swept.set()

    monkeypatch.setattr(world.services.sweeper, "once", watched)
    monkeypatch.setattr(periodic.clock, "now", lambda: world.now)
    await put_rules(world, HistoryRule("#", 100, 10))
    await record(world, 1, "a", world.now)
    world.services.sweeper.start()
    await swept.wait()
    assert await ids(world) == [1]
    swept.clear()
    await put_rules(world)
    await swept.wait()
    assert await ids(world) == []
    await world.services.sweeper.stop()


async def test_the_task_goes_on_after_a_failure_and_ends_when_stopped(world, monkeypatch):
    outcomes = [Unavailable("no"), KeyError("hunter2"), None]
    runs = asyncio.Event()
    monkeypatch.setattr(periodic, "INTERVAL_SECONDS", 0)

    async def once(now):
        outcome = outcomes.pop(0) if outcomes else None
        if outcome is not None:
            raise outcome
        runs.set()

    monkeypatch.setattr(world.services.sweeper, "once", once)
    with capture_logs() as logs:
        world.services.sweeper.start()
        await runs.wait()
        await world.services.sweeper.stop()
    assert [line["event"] for line in logs] == ["sweep_failed", "defect"]
    assert "hunter2" not in str(logs)
    await world.services.sweeper.stop()


async def test_rules_are_felt_by_the_broker_before_the_call_returns(world, monkeypatch):
    told = []
    monkeypatch.setattr(world.services.door.live, "organization_changed", told.append, raising=False)
    await put_rules(world, HistoryRule("a", 1, 1))
    assert [record.history for record in told] == [(HistoryRule("a", 1, 1),)]
    assert world.services.history.rules(key=world.key, org_id=world.org_id) == HistoryRules(told[0].history)


async def test_without_a_rule_nothing_is_asked_of_the_store(world):
    world.fail_commits()
    page = await world.services.history.read(
        Reading("a/#"), reader=world.key, org_id=world.org_id, now=world.now
    )
    assert (page.recorded, page.messages, page.next) == (False, (), None)
