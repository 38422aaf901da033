"""The first start, and the second."""

import pytest

from tokenmq.errors import InvalidKey
from tokenmq.services import bootstrap
from tokenmq.tokens.records import KeyKind


@pytest.fixture
async def services(tmp_path, open_world):
    services = await open_world(tmp_path / "data", 1_800_000_000)
    yield services
    await services.close()


NOW = 1_800_000_000


async def test_administrators_key_never_expires_and_is_kept(services):
    text = await bootstrap.administrator_key(services, None, now=NOW)
    record = services.keys.authenticate(text, NOW + 10**9)
    assert (record.kind, record.org_id) == (KeyKind.INSTANCE, None)
    assert await bootstrap.administrator_key(services, text, now=NOW) == text
    assert len(await services.store.keys.load()) == 1


async def test_new_administrators_key_ends_all_earlier_ones_and_no_other(services):
    earlier = [await bootstrap.administrator_key(services, None, now=NOW) for _ in range(2)]
    demo = await bootstrap.demo(services, None, now=NOW)
    text = await bootstrap.new_administrator_key(services, now=NOW)
    for gone in earlier:
        with pytest.raises(InvalidKey):
            services.keys.authenticate(gone, NOW)
    kept = {services.keys.authenticate(one, NOW).id for one in (text, demo.secret_key)}
    assert {record.id for record in await services.store.keys.load()} == kept


@pytest.mark.parametrize("shown", ["", "ik_lost", "not a key"])
async def test_administrators_key_that_opens_nothing_is_made_anew(services, shown):
    text = await bootstrap.administrator_key(services, shown, now=NOW)
    assert services.keys.authenticate(text, NOW).kind is KeyKind.INSTANCE


async def test_key_of_another_kind_is_no_administrators(services):
    demo = await bootstrap.demo(services, None, now=NOW)
    text = await bootstrap.administrator_key(services, demo.secret_key, now=NOW)
    assert text != demo.secret_key


async def test_demo_is_made_once_and_kept(services):
    demo = await bootstrap.demo(services, None, now=NOW)
    record = services.keys.authenticate(demo.secret_key, NOW + 10**9)
    assert (record.kind, record.org_id) == (KeyKind.SECRET, demo.organization.id)
    assert await bootstrap.demo(services, demo.secret_key, now=NOW) == demo
    assert len(await services.store.keys.load()) == 1
    assert demo.secret_key not in repr(demo)


async def test_lost_demo_key_is_made_anew_in_the_same_organization(services):
    first = await bootstrap.demo(services, None, now=NOW)
    administrator = await bootstrap.administrator_key(services, None, now=NOW)
    for shown in (None, "", administrator):
        again = await bootstrap.demo(services, shown, now=NOW)
        assert again.organization == first.organization
        assert services.keys.authenticate(again.secret_key, NOW).org_id == first.organization.id
