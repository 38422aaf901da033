"""What every `AuditStore` does, and every operation that brings entries along."""

import asyncio

import pytest

from tokenmq.errors import Conflict, InvalidKey, NotFound
from tokenmq.stores.audit import START, Action, AuditEntry, AuditQuery, Link
from tokenmq.stores.base import Selection

ANY = AuditQuery(limit=100)
FOR_EVER = 10**9


def same(outcome):
    return outcome


@pytest.fixture
def entry(records):
    def make(about="token:t", **changes):
        fields = {"at": records.now, "action": Action.ISSUE, "org_id": "org_a", "actor": "key:k", **changes}
        return AuditEntry(object=about, **fields)

    return make


async def told(store, **query):
    """Return the objects of rows, oldest first."""
    found = await store.audit.page(AuditQuery(**{"limit": 100, **query}))
    return [one.row.object for one in found][::-1]


async def write(store, records, *entries):
    await store.organizations.create(records.organization(), audit=entries, applied=same)


async def checked(store, **options):
    found = await store.audit.check(None, **{"limit": 1_000, **options})
    assert found.broken is None
    return found


async def test_rows_say_what_their_entries_said_and_are_chained(store, reopen, records, entry):
    one = entry(address="::1", request_id="req_1", details='{"a":"ü\'"}', result="unauthorized")
    await write(store, records, one)
    await write(store, records, entry("key:k", org_id=None, actor="system", action=Action.KEY_CREATE))
    second, first = await (await reopen()).audit.page(ANY)
    assert (first.row.number, first.row.previous) == (1, START.hash)
    assert (second.row.number, second.row.previous) == (2, first.row.hash)
    got = first.row
    assert (got.at, got.org_id, got.actor, got.action) == (records.now, "org_a", "key:k", "issue")
    assert (got.object, got.result, got.address, got.request_id) == (
        "token:t",
        "unauthorized",
        "::1",
        "req_1",
    )
    assert (got.details, got.person, first.user_id) == ('{"a":"ü\'"}', None, None)
    assert (second.row.org_id, second.row.actor) == (None, "system")


async def test_chain_goes_on_where_it_ended_after_the_store_was_opened_again(reopen, records, entry):
    for number in range(3):
        await write(await reopen(), records, entry(f"token:{number}"))
    store = await reopen()
    found = await checked(store)
    assert (found.rows, found.link.number, found.is_end) == (3, 3, True)


async def test_n6_operation_that_fails_leaves_no_row_and_its_neighbours_do(filled, records, entry):
    store = filled.store
    taken = records.organization(name="taken")
    await store.organizations.create(taken, applied=same)
    outcomes = await asyncio.gather(
        store.organizations.create(records.organization(name="taken"), audit=entry("no:1"), applied=same),
        store.keys.delete(
            "unknown1", now=records.now, revoke=None, reason=None, audit=entry("no:2"), applied=same
        ),
        store.keys.create(records.key(filled.org_id), made_by="unknown1", audit=entry("no:3"), applied=same),
        store.organizations.update(taken, audit=entry("yes:1"), applied=same),
        store.families.create(filled.new(), audit=entry("yes:2"), applied=same),
        return_exceptions=True,
    )
    assert [type(one) for one in outcomes[:3]] == [Conflict, NotFound, InvalidKey]
    assert sorted(await told(store)) == ["yes:1", "yes:2"]
    await checked(store)


async def test_outcome_tells_what_is_noted(filled, records, entry):
    mine = await filled.create()
    asked = Selection(filled.org_id, token_id=mine.token_id)

    def noted(ended):
        return [entry(f"token:{family.token_id}") for family in ended]

    for _ in range(2):
        await filled.store.families.revoke(asked, now=records.now, reason=None, audit=noted, applied=same)
    assert await told(filled.store) == [f"token:{mine.token_id}"]


async def test_every_operation_takes_its_entry_along(filled, records, entry):
    store = filled.store
    organization, key = records.organization(), records.key(None)
    await store.organizations.create(organization, audit=entry("1"), applied=same)
    await store.organizations.update(organization, audit=entry("2"), applied=same)
    await store.organizations.delete(organization.id, audit=entry("3"), applied=same)
    await store.keys.create(key, made_by=None, audit=entry("4"), applied=same)
    await store.keys.delete(key.id, now=records.now, revoke=None, reason=None, audit=entry("5"), applied=same)
    await store.families.create(filled.new(), audit=entry("6"), applied=same)
    await store.families.revoke(
        Selection(filled.org_id, all=True), now=records.now, reason=None, audit=entry("7"), applied=same
    )
    await store.signing_keys.save(records.signing_key(), audit=entry("8"), applied=same)
    store.audit.note([entry("9")])
    await store.audit.erase_person("org_a", "nobody", audit=entry("10"), applied=same)
    assert sorted(await told(store), key=int) == [str(number) for number in range(1, 11)]
    assert (await checked(store)).rows == 10


async def test_pages_go_from_the_newest_and_are_cut_as_asked(store, records, entry):
    await write(
        store,
        records,
        entry("a:1", at=10),
        entry("a:2", at=20, action=Action.REVOKE),
        entry("a:1", at=30, org_id="org_b", actor="key:other"),
        entry("a:4", at=40, org_id=None, actor="system"),
    )
    numbers = [one.row.number for one in await store.audit.page(AuditQuery(limit=3))]
    assert numbers == [4, 3, 2]
    assert [one.row.number for one in await store.audit.page(AuditQuery(limit=3, before=2))] == [1]
    for query, objects in (
        ({"org_id": "org_a"}, ["a:1", "a:2"]),
        ({"action": "revoke"}, ["a:2"]),
        ({"actor": "key:other"}, ["a:1"]),
        ({"object": "a:1"}, ["a:1", "a:1"]),
        ({"object": "a:1", "org_id": "org_a"}, ["a:1"]),
        ({"since": 20, "until": 40}, ["a:2", "a:1"]),
        ({"since": 41}, []),
    ):
        assert await told(store, **query) == objects


async def test_person_is_shown_until_erased_and_the_chain_stays_whole(reopen, records, entry):
    store = await reopen()
    about_ann = entry("user", user_id="ann")
    await write(store, records, about_ann, entry(user_id="bob"), entry(user_id="ann", org_id="org_b"))
    await write(await reopen(), records, entry("token:2", actor="user", user_id="ann"))
    store = await reopen()
    rows = (await store.audit.page(ANY))[::-1]
    assert [one.user_id for one in rows] == ["ann", "bob", "ann", "ann"]
    ann, _, other_ann, again = [one.row.person for one in rows]
    assert ann == again and ann != other_ann
    assert (rows[0].row.object, rows[3].row.actor) == (f"user:{ann}", f"user:{ann}")
    assert await told(store, user_id="ann", org_id="org_a") == [f"user:{ann}", "token:2"]

    assert await store.audit.erase_person("org_a", "ann", audit=(), applied=same) == ann
    assert await store.audit.erase_person("org_a", "ann", audit=(), applied=same) is None
    assert [one.user_id for one in (await store.audit.page(ANY))[::-1]] == [None, "bob", "ann", None]
    assert await told(store, user_id="ann", org_id="org_a") == []
    await write(store, records, about_ann)
    assert (await store.audit.page(AuditQuery(limit=1)))[0].row.person not in (ann, other_ann)
    assert (await checked(await reopen())).rows == 5


async def test_people_of_a_deleted_organization_are_forgotten_and_its_rows_stay(store, records, entry):
    organization = await store.organizations.create(records.organization(), applied=same)
    await write(store, records, entry(user_id="ann", org_id=organization.id))
    await store.organizations.delete(organization.id, applied=same)
    (row,) = await store.audit.page(ANY)
    assert row.user_id is None and row.row.org_id == organization.id


async def test_old_rows_go_from_the_oldest_on_and_the_rest_is_whole(reopen, records, entry):
    store = await reopen()
    await write(store, records, *(entry(f"a:{at}", at=at) for at in (10, 20, 15, 30, 12, 40)))
    assert await store.audit.prune(30, limit=2) == 2
    assert await told(store) == ["a:15", "a:30", "a:12", "a:40"]
    assert (await checked(store)).rows == 4
    assert await store.audit.prune(30, limit=100) == 1
    # The clock was set: what came after one that is to stay, stays.
    assert await told(store) == ["a:30", "a:12", "a:40"]
    store = await reopen()
    assert (await checked(store)).rows == 3
    assert await store.audit.prune(FOR_EVER, limit=100) == 3
    found = await checked(await reopen())
    assert (found.rows, found.link.number) == (0, 6)
    await write(await reopen(), records, entry("a:50"))
    found = await checked(await reopen())
    assert (found.rows, found.link.number) == (1, 7)


async def test_persons_of_whom_nothing_is_noted_any_more_are_forgotten(store, records, entry):
    day = 86_400
    await write(store, records, entry("a:1", user_id="ann", at=0), entry("a:2", user_id="bob", at=0))
    # Seen again within the 30 days that `seen_at` may be late, and after them.
    await write(store, records, entry("a:3", user_id="bob", at=31 * day))
    await store.audit.prune(31 * day, limit=100)
    await write(store, records, entry("a:4", user_id="ann", at=40 * day))
    rows = [(one.row.object, one.user_id) for one in await store.audit.page(ANY)]
    assert rows == [("a:4", "ann"), ("a:3", "bob")]


async def test_check_goes_on_from_where_it_was(store, records, entry):
    await write(store, records, *(entry(f"a:{number}", at=number) for number in range(5)))
    first = await store.audit.check(None, limit=2)
    assert (first.rows, first.link.number, first.is_end) == (2, 2, False)
    rest = await store.audit.check(first.link, limit=10)
    assert (rest.rows, rest.link.number, rest.is_end, rest.broken) == (3, 5, True, None)
    assert (await store.audit.check(Link(2, b"x" * 32), limit=2)).broken.number == 3
    # What was verified is gone meanwhile: it begins where the chain begins now.
    await store.audit.prune(4, limit=10)
    found = await store.audit.check(first.link, limit=10)
    assert (found.rows, found.link.number, found.broken) == (1, 5, None)


async def test_empty_trail_is_whole(store):
    found = await checked(store)
    assert (found.rows, found.link, found.is_end) == (0, START, True)
