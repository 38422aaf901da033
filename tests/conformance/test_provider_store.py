"""What every `ProviderStore` does."""

import asyncio
from dataclasses import replace

import pytest

from tokenmq.access.grants import Grant
from tokenmq.access.permission import Permission
from tokenmq.errors import Conflict, InvalidKey, InvalidToken, NotFound, Unavailable
from tokenmq.tokens.foreign.configuration import Configuration, MappingRule, ProviderKind, ProviderRecord

CONFIGURATION = Configuration(
    issuer="https://login.example",
    audience=("web", "app"),
    required_claims=("plan",),
    mapping=(MappingRule("admin", True, (Grant((Permission.PUBLISH,), ("a/ü/{user_id}",)),)),),
)


def same(outcome):
    return outcome


@pytest.fixture
def record(filled):
    return ProviderRecord(
        "idp_a",
        filled.org_id,
        ProviderKind.OIDC,
        "first",
        CONFIGURATION,
        None,
        enabled=True,
        created_at=filled.records.now,
    )


@pytest.fixture
def add(filled):
    async def create(record, made_by=None):
        return await filled.store.providers.create(record, made_by=made_by or filled.key_id, applied=same)

    return create


async def test_provider_that_was_stored_is_loaded_as_it_was(reopen, filled, record, add):
    second = replace(
        record, id="idp_b", name="second", kind=ProviderKind.SUPABASE, secret=b"\x00\xff", enabled=False
    )
    earlier = replace(record, id="idp_c", name="third", created_at=record.created_at - 1)
    for one in (record, second, earlier):
        assert await add(one) == one
    assert await (await reopen()).providers.load() == [earlier, record, second]


async def test_name_is_taken_once_in_an_organization(filled, record, add):
    await add(record)
    with pytest.raises(Conflict, match="first"):
        await add(replace(record, id="idp_b"))
    other = filled.records.organization()
    await filled.store.organizations.create(other, applied=same)
    await add(replace(record, id="idp_b", org_id=other.id))
    await add(replace(record, id="idp_c", name="third"))
    with pytest.raises(Conflict, match="first"):
        await filled.store.providers.update(replace(record, id="idp_c", name="first"), applied=same)


async def test_maker_must_be_good_and_the_organization_there(filled, record, add):
    with pytest.raises(InvalidKey):
        await add(record, made_by="nobody00")
    with pytest.raises(NotFound) as missing:
        await add(replace(record, org_id="org_gone"))
    assert missing.value.code == "organization_not_found"
    assert await filled.store.providers.load() == []


async def test_change_is_stored_whole(filled, record, add):
    await add(record)
    changed = replace(
        record, name="renamed", configuration=Configuration(issuer="x"), secret=b"s", enabled=False
    )
    assert await filled.store.providers.update(changed, applied=same) == changed
    assert await filled.store.providers.load() == [changed]


async def test_deleted_provider_is_gone_and_what_is_not_there_cannot_be_changed(filled, record, add):
    await add(record)
    assert await filled.store.providers.delete(record.id, applied=same) == record.id
    assert await filled.store.providers.load() == []
    for change in (
        filled.store.providers.delete(record.id, applied=same),
        filled.store.providers.update(record, applied=same),
    ):
        with pytest.raises(NotFound) as missing:
            await change
        assert missing.value.code == "provider_not_found"


async def test_providers_go_with_their_organization(filled, record, add):
    await add(record)
    await filled.store.organizations.delete(filled.org_id, applied=same)
    assert await filled.store.providers.load() == []


async def test_closed_store_refuses(reopen, filled, record, add):
    await filled.store.close()
    with pytest.raises(Unavailable):
        await add(record)
    await reopen()


class TestFamilies:
    """What a provider's token founded has no key: the provider is asked in its place, in the commit."""

    async def test_enabled_provider_founds_and_a_disabled_one_does_not(self, filled, record, add):
        await add(record)
        founded = await filled.create(key_id="", provider_id=record.id, attrs={"plan": "free"})
        assert await filled.read(founded.token_id) == founded
        await filled.store.providers.update(replace(record, enabled=False), applied=same)
        with pytest.raises(InvalidToken, match="disabled or deleted"):
            await filled.create(key_id="", provider_id=record.id)
        await filled.store.providers.delete(record.id, applied=same)
        with pytest.raises(InvalidToken, match="disabled or deleted"):
            await filled.create(key_id="", provider_id=record.id)

    async def test_family_of_neither_key_nor_provider_is_refused(self, filled):
        with pytest.raises(InvalidToken):
            await filled.create(key_id="")

    async def test_those_beside_a_refused_one_are_stored(self, filled, record, add):
        await add(replace(record, enabled=False))
        refused, stored = await asyncio.gather(
            filled.create(key_id="", provider_id=record.id), filled.create(), return_exceptions=True
        )
        assert isinstance(refused, InvalidToken)
        assert await filled.read(stored.token_id) == stored
