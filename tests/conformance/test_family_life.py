"""What every `FamilyStore` does with passwords that are shown, and what was seen of families."""

import asyncio
from dataclasses import replace

import msgspec
import pytest

from tokenmq.errors import InvalidToken, RateLimited
from tokenmq.stores.base import GRACE_SECONDS, EndedFamily, Selection
from tokenmq.stores.family_life import MAX_CHILDREN, FamilyFacts, KnownFamily, Showing
from tokenmq.tokens import family
from tokenmq.tokens.family import FamilyUsage, Verdict
from tokenmq.tokens.records import OrganizationSettings


def same(outcome):
    return outcome


def showing(record, gen=None, *, number=1, later=60, usage=None, kids=("kid",), **settings):
    claims = family.claims_of(record, issuer="tokenmq")
    if gen is not None:
        claims = msgspec.structs.replace(claims, gen=gen)
    return Showing(
        claims=claims,
        settings=OrganizationSettings(**settings),
        usage=usage,
        kids=frozenset(kids),
        jti=f"new-{number:018d}",
        kid="newer",
        now=record.issued_at + later,
        child_id=f"tok_child{number:021d}",
    )


async def create_connected(filled, gen, **changes):
    """Create a family of which a connection has shown a generation."""
    new = filled.new(**changes)
    new = replace(new, record=replace(new.record, connected=gen))
    await filled.creation(new)
    return new.record


async def refresh(filled, record, gen=None, **more):
    return await filled.store.families.refresh(showing(record, gen, **more), applied=same)


async def exchange(filled, record, gen=None, **more):
    return await filled.store.families.exchange(showing(record, gen, **more), applied=same)


async def test_refresh_stores_the_next_generation_and_survives(filled, reopen):
    record = await filled.create(attrs={"role": "admin"}, client_id="c*")
    shown = await refresh(filled, record, kids=("kid",))
    expected = family.renewed(
        record, Verdict.ROTATE, jti=f"new-{1:018d}", kid="newer", now=record.issued_at + 60
    )
    assert (shown.verdict, shown.record, shown.ended) == (Verdict.ROTATE, expected, ())
    assert await (await reopen()).families.get(filled.org_id, record.token_id) == expected


async def test_v100_64_refreshes_of_one_password_at_once_make_one_successor(filled):
    record = await filled.create()
    shown = await asyncio.gather(
        *(refresh(filled, record, number=number, kids=("kid", "newer")) for number in range(64))
    )
    assert [one.verdict for one in shown].count(Verdict.ROTATE) == 1
    assert [one.verdict for one in shown].count(Verdict.REPEAT) == 63
    assert {one.record.jti for one in shown} == {(await filled.read(record.token_id)).jti}
    assert (await filled.read(record.token_id)).gen == 1


async def test_reuse_revokes_the_family_with_its_children_and_says_which(filled, records):
    record = await filled.create()
    child = (await exchange(filled, record)).record
    other = await filled.create()
    await refresh(filled, record)
    await refresh(filled, record, gen=1, later=70)
    shown = await refresh(filled, record, gen=0, later=120)
    assert shown.verdict is Verdict.REUSE
    assert {ended.token_id for ended in shown.ended} == {record.token_id, child.token_id}
    assert (await filled.read(record.token_id)).revoked_at == record.issued_at + 120
    assert (await filled.read(record.token_id)).gen == 2
    assert (await filled.read(child.token_id)).revoked_reason == "a superseded password was used"
    assert (await filled.read(other.token_id)) == other
    again = await refresh(filled, record, gen=2, later=121)
    assert again.verdict is Verdict.REVOKED


async def test_reuse_without_detection_is_refused_and_changes_nothing(filled):
    record = await filled.create(gen=2, superseded_at=1, presented=2)
    shown = await refresh(filled, record, gen=0, reuse_detection=False)
    assert (shown.verdict, shown.ended) == (Verdict.REUSE, ())
    assert await filled.read(record.token_id) == record


async def test_what_was_seen_is_judged_and_stored_with_the_refresh(filled):
    record = await filled.create(gen=1, superseded_at=filled.records.now - 100)
    clients = (("c1", None), ("c2", 17))
    usage = FamilyUsage(record.token_id, 1, 1, clients)
    shown = await refresh(filled, record, gen=0, usage=usage)
    assert shown.verdict is Verdict.REUSE
    record = await filled.create()
    await refresh(filled, record, usage=replace(usage, token_id=record.token_id, connected=0))
    stored = await filled.read(record.token_id)
    assert (stored.presented, stored.connected, stored.clients) == (1, 0, clients)


@pytest.mark.parametrize("what", ["refresh", "exchange"])
@pytest.mark.parametrize("how", ["deleted", "expired"])
async def test_key_is_looked_at_inside_the_commit(filled, records, what, how):
    key = records.key(filled.org_id, expires_at=records.now + 30 if how == "expired" else None)
    await filled.store.keys.create(key, made_by=None, applied=same)
    record = await filled.create(key_id=key.id)
    if how == "deleted":
        await filled.store.keys.delete(key.id, now=records.now, revoke=None, reason=None, applied=same)
    with pytest.raises(InvalidToken, match="key"):
        await getattr(filled.store.families, what)(showing(record), applied=same)
    assert await filled.read(record.token_id) == record


@pytest.mark.parametrize("what", ["refresh", "exchange"])
async def test_revocation_in_the_same_group_wins(filled, what):
    record = await filled.create()
    families = filled.store.families
    selection = Selection(filled.org_id, token_id=record.token_id)
    shown, _ = await asyncio.gather(
        getattr(families, what)(showing(record), applied=same),
        families.revoke(selection, now=filled.records.now, reason=None, applied=same),
    )
    assert shown.verdict is Verdict.REVOKED


@pytest.mark.parametrize("what", ["refresh", "exchange"])
async def test_family_that_is_not_there_or_foreign_is_refused(filled, records, what):
    record = records.family(filled.org_id, filled.key_id)
    with pytest.raises(InvalidToken):
        await getattr(filled.store.families, what)(showing(record), applied=same)
    mine = await filled.create()
    foreign = replace(mine, org_id="org_abcdefghijkl")
    with pytest.raises(InvalidToken):
        await getattr(filled.store.families, what)(showing(foreign), applied=same)


class TestChildren:
    async def test_exchange_stores_a_child(self, filled):
        record = await filled.create(user_id="bob", integration_id="web")
        shown = await exchange(filled, record)
        child = family.child_of(
            record, token_id=f"tok_child{1:021d}", jti=f"new-{1:018d}", kid="newer", now=record.issued_at + 60
        )
        assert (shown.verdict, shown.record) == (Verdict.CHILD, child)
        assert await filled.read(child.token_id) == child
        assert await filled.read(record.token_id) == record

    async def test_child_is_refreshed_by_itself(self, filled):
        child = (await exchange(filled, await filled.create())).record
        shown = await refresh(filled, child, number=2)
        assert (shown.record.gen, shown.record.parent_id) == (1, child.parent_id)

    async def test_root_has_at_most_a_hundred_that_live(self, filled):
        root = await filled.create(ttl_seconds=100)
        shown = await asyncio.gather(
            *(exchange(filled, root, number=number) for number in range(MAX_CHILDREN)),
        )
        assert {one.verdict for one in shown} == {Verdict.CHILD}
        for parent in (root, shown[0].record):
            with pytest.raises(RateLimited) as refused:
                await exchange(filled, parent, number=200)
            assert (refused.value.quota, refused.value.policy) == (MAX_CHILDREN, "children")
            assert 1 <= refused.value.retry_after_seconds <= 100
        await filled.store.families.revoke(
            Selection(filled.org_id, token_id=shown[7].record.token_id), now=1, reason=None, applied=same
        )
        assert (await exchange(filled, root, number=201)).verdict is Verdict.CHILD
        # When they have expired there is room again.
        assert (await exchange(filled, root, number=202, later=200)).verdict is Verdict.CHILD

    @pytest.mark.parametrize(
        "criterion", ["token_id", "user_id", "client_id", "key_id", "all", "issued_before"]
    )
    async def test_revoking_the_root_revokes_its_children(self, filled, criterion):
        root = await filled.create(client_id="c1")
        child = (await exchange(filled, root)).record
        grandchild = (await exchange(filled, child, number=2)).record
        criteria = {
            "token_id": {"token_id": root.token_id},
            "user_id": {"user_id": root.user_id},
            "client_id": {"client_id": "c1"},
            "key_id": {"key_id": root.key_id},
            "all": {"all": True},
            "issued_before": {"all": True, "issued_before": root.first_issued_at + 1},
        }[criterion]
        ended = await filled.store.families.revoke(
            Selection(filled.org_id, **criteria), now=filled.records.now, reason="why", applied=same
        )
        everybody = {root.token_id, child.token_id, grandchild.token_id}
        assert {one.token_id for one in ended} == everybody and len(ended) == 3
        for token_id in everybody:
            assert (await filled.read(token_id)).revoked_at == filled.records.now

    async def test_revoking_a_child_leaves_the_root_and_its_other_children(self, filled):
        root = await filled.create()
        child = (await exchange(filled, root)).record
        other = (await exchange(filled, child, number=2)).record
        await filled.store.families.revoke(
            Selection(filled.org_id, token_id=child.token_id), now=1, reason=None, applied=same
        )
        assert (await filled.read(root.token_id)).revoked_at is None
        assert (await filled.read(other.token_id)).revoked_at is None

    async def test_root_stays_as_long_as_a_child_is_there(self, filled, records):
        root = await filled.create(expires_at=records.now + 100)
        child = (await exchange(filled, root)).record
        assert await filled.store.families.prune(records.now + 200, limit=10) == 0
        assert await filled.store.families.prune(child.expires_at + 1, limit=10) == 1
        assert await filled.store.families.prune(child.expires_at + 1, limit=10) == 1


class TestNotes:
    async def test_what_was_seen_is_stored_and_what_is_known_returned(self, filled):
        record = await create_connected(filled, 2, presented=3)
        other = await filled.create(renewable=False, replaced_at=5)
        clients = (("c1", None), ("ü", 12))
        facts = await filled.store.families.note(
            [
                FamilyUsage(record.token_id, 1, 1, clients),
                FamilyUsage("tok_gone", 1, 1, ()),
                FamilyUsage(other.token_id, 0, 0, ()),
            ]
        )
        assert sorted(facts, key=lambda fact: fact.token_id) == [
            FamilyFacts(record.token_id, renewable=True, ends_at=record.ends_at, is_replaced=False),
            FamilyFacts(other.token_id, renewable=False, ends_at=other.ends_at, is_replaced=True),
        ]
        assert await filled.read(record.token_id) == replace(record, clients=clients)
        assert await filled.read(other.token_id) == replace(other, connected=0)
        assert await filled.store.families.note([]) == []


async def test_known_are_those_that_are_not_as_their_claims_say_and_matter(filled, reopen, records):
    over = records.now - GRACE_SECONDS
    await filled.create()
    revoked = await filled.create(revoked_at=records.now, gen=3)
    displaced = await filled.create(replaced_at=records.now, sessions_replaced=True)
    await filled.create(replaced_at=records.now)
    await filled.create(revoked_at=records.now, expires_at=over)
    just = await filled.create(gen=1, superseded_at=5, presented=1, attrs={"a": [1]}, expires_at=over + 1)
    connected = await create_connected(filled, 0, clients=(("c", None),), renewable=False)

    def as_known(record, **changes):
        known = KnownFamily(
            token_id=record.token_id,
            expires_at=record.expires_at,
            ends_at=record.ends_at,
            renewable=record.renewable,
            revoked=record.revoked_at is not None,
            replaced=record.replaced_at is not None,
            sessions_replaced=record.sessions_replaced,
            newest=None,
            superseded_at=record.superseded_at,
            presented=record.presented,
            connected=record.connected,
            clients=record.clients,
        )
        return replace(known, **changes)

    known = await (await reopen()).families.known(records.now)
    assert sorted(known, key=lambda one: one.token_id) == [
        as_known(revoked),
        as_known(displaced),
        as_known(just, newest=family.renewal_of(just)),
        as_known(connected),
    ]


async def test_ended_family_tells_when_its_newest_password_expires(filled):
    record = await filled.create()
    await refresh(filled, record)
    ended = await filled.store.families.revoke(
        Selection(filled.org_id, token_id=record.token_id), now=1, reason=None, applied=same
    )
    assert ended == [EndedFamily(record.token_id, record.issued_at + 3_660, revoked=True)]
