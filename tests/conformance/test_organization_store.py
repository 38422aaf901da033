"""What every `OrganizationStore` does."""

from dataclasses import replace

import pytest

from tokenmq.access.permission import Permission
from tokenmq.access.rules import ClaimCondition, Effect, PolicyDocument, Rule
from tokenmq.errors import Conflict, NotFound
from tokenmq.stores.base import Selection
from tokenmq.tokens.records import OrganizationSettings

POLICY = PolicyDocument(
    "1",
    "deny",
    (
        Rule("ü*", tuple(Permission), ("a/#", "{claim:t}/x"), Effect.DENY),
        *(
            Rule(ClaimCondition("https://x/role", equals), (Permission.PUBLISH,), ("b",))
            for equals in ("ä", 1, 1.5, True)
        ),
    ),
)


def same(outcome):
    return outcome


async def test_organization_that_was_stored_is_loaded_as_it_was(reopen, records):
    store = await reopen()
    record = records.organization(
        name="Zoë's “org”",
        settings=OrganizationSettings(default_ttl_seconds=60, allowed_origins=("https://a",)),
    )
    assert await store.organizations.create(record, applied=same) == record
    assert await (await reopen()).organizations.load() == [record]


async def test_organizations_are_loaded_oldest_first(store, records):
    young = await store.organizations.create(records.organization(created_at=20), applied=same)
    old = await store.organizations.create(records.organization(created_at=10), applied=same)
    assert await store.organizations.load() == [old, young]


async def test_taken_name_is_a_conflict_and_changes_nothing(store, records):
    first = await store.organizations.create(records.organization(name="a"), applied=same)
    applied = []
    with pytest.raises(Conflict):
        await store.organizations.create(records.organization(name="a"), applied=applied.append)
    assert applied == []
    assert await store.organizations.load() == [first]


async def test_update_changes_name_settings_and_policy(store, records):
    record = await store.organizations.create(records.organization(), applied=same)
    changed = replace(
        record, name="other", settings=OrganizationSettings(refresh_grace_seconds=1), policy=POLICY
    )
    assert await store.organizations.update(changed, applied=same) == changed
    assert await store.organizations.load() == [changed]
    assert await store.organizations.update(record, applied=same) == record
    assert await store.organizations.load() == [record]


async def test_update_to_a_taken_name_is_a_conflict(store, records):
    first = await store.organizations.create(records.organization(name="a"), applied=same)
    second = await store.organizations.create(records.organization(name="b"), applied=same)
    with pytest.raises(Conflict):
        await store.organizations.update(replace(second, name="a"), applied=same)
    assert await store.organizations.load() == [first, second]


async def test_update_of_one_that_is_not_there_is_not_found(store, records):
    with pytest.raises(NotFound) as caught:
        await store.organizations.update(records.organization(), applied=same)
    assert caught.value.code == "organization_not_found"


async def test_deletion_takes_keys_and_families_along(filled, records):
    store = filled.store
    other = await store.organizations.create(records.organization(), applied=same)
    other_key = await store.keys.create(records.key(other.id), made_by=None, applied=same)
    gone = await filled.create()
    kept = await filled.create(org_id=other.id, key_id=other_key.id)
    assert await store.organizations.delete(filled.org_id, applied=same) == filled.org_id
    assert await store.organizations.load() == [other]
    assert await store.keys.load() == [other_key]
    assert await store.families.get(filled.org_id, gone.token_id) is None
    assert await store.families.get(other.id, kept.token_id) == kept


async def test_deletion_of_one_that_is_not_there_is_not_found(store):
    with pytest.raises(NotFound) as caught:
        await store.organizations.delete("org_abcdefghijkl", applied=same)
    assert caught.value.code == "organization_not_found"


async def test_family_of_a_deleted_organization_is_not_stored(filled, records):
    # An instance administrator's key outlives the organization.
    administrator = await filled.store.keys.create(records.key(None), made_by=None, applied=same)
    await filled.store.organizations.delete(filled.org_id, applied=same)
    with pytest.raises(NotFound) as caught:
        await filled.create(key_id=administrator.id)
    assert caught.value.code == "organization_not_found"
    ended = await filled.store.families.revoke(
        Selection(filled.org_id, all=True), now=records.now, reason=None, applied=same
    )
    assert ended == []
