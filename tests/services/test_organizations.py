"""Organizations and what is derived of them, in memory."""

import asyncio

import pytest

from tokenmq.access.policy import starting_policy
from tokenmq.errors import Conflict, Forbidden, InvalidKey, InvalidRequest, NotFound, Unavailable
from tokenmq.tokens.records import OrganizationSettings


async def create(world, name="acme", *, settings=None, key=None):
    return await world.services.organizations.create(
        name=name, settings=settings, key=key or world.administrator, now=world.now
    )


async def patch(world, *, org_id=None, name=None, settings=None, key=None):
    return await world.services.organizations.patch(
        org_id or world.org_id, name=name, settings=settings, key=key or world.administrator, now=world.now
    )


def names(world, **query):
    query = {"limit": None, "cursor": None, **query}
    page = world.services.organizations.list(key=world.administrator, **query)
    return [record.name for record in page.items], page.next


class TestResolve:
    async def test_key_implies_its_organization_and_may_name_it(self, world):
        resolve = world.services.organizations.resolve
        assert resolve(world.key, None) == resolve(world.key, world.org_id) == world.organization

    async def test_foreign_one_and_none_are_refused_alike(self, world):
        other, _ = await world.other_organization()
        resolve = world.services.organizations.resolve
        messages = set()
        for org_id in (other.id, "org_aaaaaaaaaaaa", "", "x"):
            with pytest.raises(InvalidRequest) as caught:
                resolve(world.key, org_id)
            messages.add(str(caught.value))
        assert len(messages) == 1

    async def test_administrator_must_name_one_that_is_there(self, world):
        resolve = world.services.organizations.resolve
        assert resolve(world.administrator, world.org_id) == world.organization
        with pytest.raises(InvalidRequest):
            resolve(world.administrator, None)
        with pytest.raises(NotFound) as caught:
            resolve(world.administrator, "org_aaaaaaaaaaaa")
        assert caught.value.code == "organization_not_found"


class TestCreate:
    async def test_defaults_and_what_is_given(self, world):
        record = await create(world, settings={"default_ttl_seconds": 60, "allowed_origins": ["https://a"]})
        assert record.settings == OrganizationSettings(default_ttl_seconds=60, allowed_origins=("https://a",))
        assert record.id.startswith("org_") and len(record.id) == 16
        await world.restart()
        assert world.services.organizations.find(record.id) == record

    async def test_taken_name_is_a_conflict(self, world):
        await create(world)
        with pytest.raises(Conflict):
            await create(world)

    @pytest.mark.parametrize(
        "name", ["null", "none", "undefined", "global", "default", "system", "$SYS", "server", "' OR 1=1 --"]
    )
    async def test_v68_name_that_others_reserve_is_a_name_like_any(self, world, name):
        record = await create(world, name)
        assert world.services.organizations.get(record.id, key=world.administrator).name == name
        assert world.services.organizations.find(name) is None
        with pytest.raises(NotFound):
            world.services.organizations.settings_of(name)

    @pytest.mark.parametrize("name", ["", "a\x00", "a\nb", "x" * 256, "\ud800"], ids=ascii)
    async def test_v68_malformed_name_is_refused(self, world, name):
        with pytest.raises(InvalidRequest):
            await create(world, name)

    @pytest.mark.parametrize(
        ("settings", "field"),
        [
            ({"unknown": 1}, "settings.unknown"),
            ({"default_ttl_seconds": "60"}, "settings.default_ttl_seconds"),
            ({"default_ttl_seconds": True}, "settings.default_ttl_seconds"),
            ({"default_ttl_seconds": None}, "settings.default_ttl_seconds"),
            ({"default_ttl_seconds": 2**70}, "settings.default_ttl_seconds"),
            ({"default_ttl_seconds": 59}, "settings.default_ttl_seconds"),
            ({"allowed_origins": "*"}, "settings.allowed_origins"),
            ({"allowed_origins": [1]}, "settings.allowed_origins[0]"),
            ({"refused_publish_311": "ignore"}, "settings.refused_publish_311"),
            ({"dollar_trees": ["$SYS"]}, "settings.dollar_trees[0]"),
        ],
        ids=repr,
    )
    async def test_wrong_setting_is_named(self, world, settings, field):
        with pytest.raises(InvalidRequest) as caught:
            await create(world, settings=settings)
        assert caught.value.problems[0][0] == field


class TestPatch:
    async def test_only_what_is_named_changes_and_the_broker_is_told(self, world):
        await patch(world, settings={"default_ttl_seconds": 120})
        record = await patch(world, name="new name", settings={"refresh_grace_seconds": 5})
        assert record.settings == OrganizationSettings(default_ttl_seconds=120, refresh_grace_seconds=5)
        assert record.name == "new name"
        assert world.broker.told[-1] == ("organization_changed", record)
        await world.restart()
        assert world.services.organizations.find(world.org_id) == record

    async def test_changes_at_once_are_all_there(self, world):
        await asyncio.gather(
            patch(world, settings={"default_ttl_seconds": 120}),
            patch(world, settings={"refresh_grace_seconds": 5}),
            patch(world, name="new"),
        )
        record = world.services.organizations.find(world.org_id)
        assert (record.name, record.settings) == (
            "new",
            OrganizationSettings(default_ttl_seconds=120, refresh_grace_seconds=5),
        )

    async def test_refused_change_changes_nothing(self, world):
        await create(world)
        for change, error in (
            ({"name": "acme"}, Conflict),
            ({"name": ""}, InvalidRequest),
            ({"settings": {"min_ttl_seconds": 4_000}}, InvalidRequest),
            ({"org_id": "org_aaaaaaaaaaaa", "name": "x"}, NotFound),
        ):
            with pytest.raises(error):
                await patch(world, **change)
        heal = world.fail_commits()
        with pytest.raises(Unavailable):
            await patch(world, name="x")
        heal()
        assert world.services.organizations.find(world.org_id) == world.organization
        assert world.broker.told == []


class TestDelete:
    async def test_everything_of_it_is_gone_and_its_connections_closed(self, world):
        organizations = world.services.organizations
        assert await organizations.delete(world.org_id, key=world.administrator, now=world.now) == 3
        assert world.broker.told == [("end_organization", world.org_id)]
        for _ in range(2):
            assert world.services.organizations.find(world.org_id) is None
            with pytest.raises(InvalidKey):
                world.services.keys.authenticate(world.key_text, world.now)
            await world.restart()
        with pytest.raises(NotFound):
            await world.services.organizations.delete(world.org_id, key=world.administrator, now=world.now)

    async def test_failing_store_leaves_it_as_it_was(self, world):
        heal = world.fail_commits()
        with pytest.raises(Unavailable):
            await world.services.organizations.delete(world.org_id, key=world.administrator, now=world.now)
        heal()
        assert world.broker.told == []
        await world.issue()


async def test_only_the_administrator_may(world):
    organizations = world.services.organizations
    with pytest.raises(Forbidden):
        await create(world, key=world.key)
    with pytest.raises(Forbidden):
        await patch(world, name="x", key=world.key)
    with pytest.raises(Forbidden):
        await organizations.delete(world.org_id, key=world.key, now=world.now)
    with pytest.raises(Forbidden):
        organizations.get(world.org_id, key=world.key)
    with pytest.raises(Forbidden):
        organizations.list(key=world.key, limit=None, cursor=None)


async def test_list_is_oldest_first_in_pages(world):
    for number in range(4):
        await create(world, f"o{number}")
    everything, no_more = names(world)
    first, cursor = names(world, limit=3)
    second, end = names(world, limit=3, cursor=cursor)
    assert (first + second, no_more, end) == (everything, None, None)
    assert set(everything) == {"demo", "o0", "o1", "o2", "o3"}


async def test_policy_is_the_starting_document_for_its_trees_shared_by_all_alike(world):
    organizations = world.services.organizations
    other = await create(world)
    assert organizations.policy_of(other.id) is organizations.policy_of(world.org_id)
    await patch(world, settings={"dollar_trees": ["$jobs"]})
    assert organizations.policy_of(world.org_id) == starting_policy(("$jobs",))
    with pytest.raises(NotFound):
        organizations.policy_of("org_aaaaaaaaaaaa")


async def test_origins_of_one_and_of_all(world):
    organizations = world.services.organizations
    other = await create(world, settings={"allowed_origins": ["https://app.example"]})
    assert organizations.admits_origin("https://app.example")
    assert organizations.admits_origin("https://app.example", other.id)
    assert not organizations.admits_origin("https://app.example", world.org_id)
    assert organizations.admits_origin("http://localhost:3000", world.org_id)
    assert not organizations.admits_origin("http://localhost:3000", "org_aaaaaaaaaaaa")
    await organizations.delete(other.id, key=world.administrator, now=world.now)
    assert not organizations.admits_origin("https://app.example")
