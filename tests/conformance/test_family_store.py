"""What every `FamilyStore` does."""

import asyncio
from dataclasses import replace

import pytest

from tokenmq.errors import InvalidKey, Unavailable
from tokenmq.stores.base import GRACE_SECONDS, Creation, EndedFamily, FamilyQuery, Replacing, Selection


def same(outcome):
    return outcome


async def test_family_that_was_stored_is_read_as_it_was(filled, reopen):
    record = await filled.create(integration_id="web", client_id="tab-*", renewable=False)
    assert await (await reopen()).families.get(filled.org_id, record.token_id) == record


async def test_foreign_family_is_not_there(filled, records):
    record = await filled.create()
    assert await filled.store.families.get("org_abcdefghijkl", record.token_id) is None
    assert await filled.store.families.get(filled.org_id, "tok_x") is None


async def test_outcome_is_applied_once_and_its_result_returned(filled):
    applied = []

    def apply(creation):
        applied.append(creation)
        return "mine"

    assert await filled.store.families.create(filled.new(), applied=apply) == "mine"
    assert applied == [Creation(stored=True)]


@pytest.mark.parametrize("how", ["deleted", "expired", "unknown"])
async def test_family_of_a_key_that_is_gone_is_refused(filled, records, how):
    key = records.key(filled.org_id, expires_at=records.now if how == "expired" else None)
    if how != "unknown":
        await filled.store.keys.create(key, made_by=None, applied=same)
    if how == "deleted":
        await filled.store.keys.delete(key.id, now=records.now, revoke=None, reason=None, applied=same)
    new = filled.new(key_id=key.id)
    good = filled.new()
    refused, stored = await asyncio.gather(
        filled.creation(new), filled.creation(good), return_exceptions=True
    )
    assert isinstance(refused, InvalidKey)
    assert stored == Creation(stored=True)
    assert await filled.store.families.get(filled.org_id, new.record.token_id) is None


async def test_operation_that_fails_harms_none_of_its_group(filled):
    first = await filled.create()
    news = [filled.new() for _ in range(6)]
    # Its id is taken: a constraint stops it.
    news[3] = replace(news[3], record=replace(news[3].record, token_id=first.token_id))
    outcomes = await asyncio.gather(*map(filled.creation, news), return_exceptions=True)
    assert [isinstance(outcome, Creation) for outcome in outcomes] == [True, True, True, False, True, True]
    assert await filled.read(first.token_id) == first
    for new in news[:3] + news[4:]:
        assert await filled.read(new.record.token_id) == new.record


class TestReplacing:
    async def test_idle_ends_refreshing_of_what_has_no_live_connection(self, filled, records):
        idle, live = await filled.create(), await filled.create()
        asked = []

        def connected(org_id, token_ids):
            asked.append((org_id, sorted(token_ids)))
            return {live.token_id}

        later = records.now + 9
        creation = await filled.creation(
            filled.new(replacing=Replacing.IDLE, connected=connected, first_issued_at=later)
        )
        assert creation == Creation(stored=True, idle=(idle.token_id,))
        assert asked == [(filled.org_id, [idle.token_id, live.token_id])]
        assert await filled.read(idle.token_id) == replace(idle, replaced_at=later)
        assert await filled.read(live.token_id) == live

    async def test_all_ends_live_ones_and_those_replaced_before_too(self, filled, records):
        first = await filled.create()
        second = await filled.create(replacing=Replacing.IDLE)
        later = records.now + 9
        creation = await filled.creation(filled.new(replacing=Replacing.ALL, first_issued_at=later))
        assert creation.stored
        assert sorted(creation.replaced, key=lambda family: family.token_id) == [
            EndedFamily(first.token_id, first.expires_at, revoked=False),
            EndedFamily(second.token_id, second.expires_at, revoked=False),
        ]
        assert (await filled.read(first.token_id)).replaced_at == records.now
        assert (await filled.read(second.token_id)).replaced_at == later
        assert (await filled.read(first.token_id)).sessions_replaced

    @pytest.mark.parametrize(
        "change",
        [
            {"user_id": "bob"},
            {"integration_id": "web"},
            {"revoked_at": 1},
            {"expires_at": 1_800_000_000 - GRACE_SECONDS},
        ],
        ids=["other user", "other integration", "revoked", "long over"],
    )
    async def test_others_are_left_alone(self, filled, change):
        other = await filled.create(**change)
        creation = await filled.creation(filled.new(replacing=Replacing.ALL))
        assert creation == Creation(stored=True)
        assert await filled.read(other.token_id) == other

    async def test_only_the_same_organization_is_touched(self, filled, records):
        organization = await filled.store.organizations.create(records.organization(), applied=same)
        key = await filled.store.keys.create(records.key(organization.id), made_by=None, applied=same)
        foreign = await filled.create(org_id=organization.id, key_id=key.id)
        await filled.create(replacing=Replacing.ALL)
        assert await filled.store.families.get(organization.id, foreign.token_id) == foreign

    async def test_of_many_at_once_exactly_one_is_left(self, filled):
        news = [filled.new(replacing=Replacing.IDLE) for _ in range(20)]
        await asyncio.gather(*map(filled.creation, news))
        states = [(await filled.read(new.record.token_id)).replaced_at for new in news]
        assert states.count(None) == 1

    async def test_without_replacing_all_are_left(self, filled):
        earlier = await filled.create()
        await filled.create(replacing=Replacing.NONE)
        assert await filled.read(earlier.token_id) == earlier

    async def test_question_that_fails_stores_nothing(self, filled):
        earlier = await filled.create()

        def connected(org_id, token_ids):
            raise RuntimeError("broken")

        new = filled.new(replacing=Replacing.IDLE, connected=connected)
        with pytest.raises(Unavailable):
            await filled.creation(new)
        assert await filled.read(earlier.token_id) == earlier
        assert await filled.store.families.get(filled.org_id, new.record.token_id) is None
        # The store goes on.
        await filled.create()


class TestRevoke:
    async def revoke(self, filled, **criteria):
        ended = await filled.store.families.revoke(
            Selection(filled.org_id, **criteria), now=filled.records.now + 5, reason="why", applied=same
        )
        return {family.token_id for family in ended}

    async def test_each_criterion_selects_its_families(self, filled, records):
        other_key = await filled.store.keys.create(records.key(filled.org_id), made_by=None, applied=same)
        plain = await filled.create()
        bob = await filled.create(user_id="bob")
        bound = await filled.create(user_id="cy", client_id="c1")
        prefix = await filled.create(user_id="di", client_id="c*")
        keyed = await filled.create(user_id="ed", key_id=other_key.id)
        assert await self.revoke(filled, token_id=plain.token_id) == {plain.token_id}
        assert await self.revoke(filled, user_id="bob") == {bob.token_id}
        assert await self.revoke(filled, client_id="c1") == {bound.token_id}
        assert await self.revoke(filled, key_id=other_key.id) == {keyed.token_id}
        assert await self.revoke(filled, all=True) == {prefix.token_id}
        revoked = await filled.read(plain.token_id)
        assert revoked == replace(plain, revoked_at=records.now + 5, revoked_reason="why")

    async def test_client_id_selects_the_family_that_opened_its_session_too(self, filled):
        bound, opener, other = (
            await filled.create(client_id="c1"),
            await filled.create(),
            await filled.create(),
        )

        def opened_by(org_id, client_id):
            return opener.token_id if (org_id, client_id) == (filled.org_id, "c1") else None

        revoked = await self.revoke(filled, client_id="c1", opened_by=opened_by)
        assert revoked == {bound.token_id, opener.token_id}
        assert await filled.read(other.token_id) == other
        assert await self.revoke(filled, client_id="c2", opened_by=opened_by) == set()

    async def test_issued_before_compares_the_first_issue_strictly(self, filled, records):
        old = await filled.create(first_issued_at=records.now - 1)
        await filled.create(first_issued_at=records.now)
        assert await self.revoke(filled, all=True, issued_before=records.now) == {old.token_id}

    async def test_foreign_and_revoked_ones_are_left(self, filled, records):
        organization = await filled.store.organizations.create(records.organization(), applied=same)
        key = await filled.store.keys.create(records.key(organization.id), made_by=None, applied=same)
        foreign = await filled.create(org_id=organization.id, key_id=key.id)
        mine = await filled.create()
        assert await self.revoke(filled, token_id=foreign.token_id) == set()
        assert await self.revoke(filled, key_id=key.id) == set()
        assert await self.revoke(filled, user_id="ann") == {mine.token_id}
        assert await self.revoke(filled, all=True) == set()

    async def test_expired_ones_are_marked_too_for_no_clock_is_compared(self, filled, records):
        over = await filled.create(expires_at=records.now - 10_000)
        assert await self.revoke(filled, all=True) == {over.token_id}

    async def test_selection_of_nothing_revokes_nothing(self, filled):
        record = await filled.create()
        with pytest.raises(Unavailable):
            await self.revoke(filled)
        assert await filled.read(record.token_id) == record


class TestPages:
    async def page(self, filled, **query):
        query = {"user_id": None, "status": None, "now": filled.records.now, "limit": 10, **query}
        return await filled.store.families.page(FamilyQuery(filled.org_id, **query))

    async def test_newest_come_first_and_pages_join_without_gap(self, filled, records):
        made = [await filled.create(first_issued_at=records.now + i // 2) for i in range(7)]
        wanted = sorted(made, key=lambda record: (record.first_issued_at, record.token_id), reverse=True)
        seen, after = [], None
        while page := await self.page(filled, limit=3, after=after):
            seen += page
            after = (page[-1].first_issued_at, page[-1].token_id)
        assert seen == wanted

    async def test_only_this_organization_and_user_are_listed(self, filled, records):
        organization = await filled.store.organizations.create(records.organization(), applied=same)
        key = await filled.store.keys.create(records.key(organization.id), made_by=None, applied=same)
        await filled.create(org_id=organization.id, key_id=key.id)
        ann, bob = await filled.create(), await filled.create(user_id="bob")
        assert await self.page(filled) == [bob, ann]
        assert await self.page(filled, user_id="bob") == [bob]
        assert await self.page(filled, user_id="cy") == []

    async def test_status_is_the_first_that_fits(self, filled, records):
        over = records.now
        made = {
            "active": [await filled.create()],
            "replaced": [await filled.create(replaced_at=1)],
            "expired": [
                await filled.create(expires_at=over),
                await filled.create(expires_at=over, replaced_at=1),
            ],
            "revoked": [
                await filled.create(revoked_at=1),
                await filled.create(revoked_at=1, expires_at=over),
                await filled.create(revoked_at=1, replaced_at=1),
            ],
        }
        for status, wanted in made.items():
            assert await self.page(filled, status=status) == wanted[::-1]


async def test_prune_removes_the_longest_over_within_its_limit(filled, records):
    made = [await filled.create(expires_at=records.now - i) for i in range(5)]
    assert await filled.store.families.prune(records.now - 1, limit=2) == 2
    assert await filled.store.families.get(filled.org_id, made[4].token_id) is None
    assert await filled.store.families.get(filled.org_id, made[3].token_id) is None
    assert await filled.store.families.prune(records.now - 1, limit=2) == 1
    assert await filled.store.families.prune(records.now - 1, limit=2) == 0
    assert await filled.read(made[1].token_id) == made[1]
