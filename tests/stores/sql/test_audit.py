"""Whatever is done to the tables of the audit trail is found; a change whose row fails, fails."""

import asyncio

import pytest
from sqlalchemy import text

from tokenmq.errors import Unavailable
from tokenmq.stores.audit import Action, AuditEntry, AuditQuery
from tokenmq.stores.sql import people as people_module
from tokenmq.tokens.records import OrganizationRecord, OrganizationSettings

ROWS = 5


def same(outcome):
    return outcome


def organization(number):
    return OrganizationRecord(f"org_{number:012d}", f"name {number}", OrganizationSettings(), 0)


def entry(number=1, **changes):
    fields = {"at": number, "action": Action.ISSUE, "org_id": "org_a", "actor": "key:k", **changes}
    return AuditEntry(object=f"token:{number}", **fields)


async def create(store, number, *entries):
    return await store.organizations.create(organization(number), audit=entries, applied=same)


async def do(store, statement):
    await store._runners[0].run(lambda connection: connection.execute(text(statement)))


async def found(store):
    checked = await store.audit.check(None, limit=100)
    return None if checked.broken is None else checked.broken.number


@pytest.fixture
async def written(store):
    await create(store, 1, *(entry(number, user_id="ann", address="::1") for number in range(1, ROWS + 1)))
    return store


TAMPERINGS = [
    *(f"UPDATE audit SET {column} = 'x' WHERE number = 3" for column in ("org_id", "actor", "action")),
    *(f"UPDATE audit SET {column} = 'x' WHERE number = 3" for column in ("object", "person", "result")),
    *(f"UPDATE audit SET {column} = 'x' WHERE number = 3" for column in ("address", "request_id", "details")),
    "UPDATE audit SET at = at + 1 WHERE number = 3",
    "UPDATE audit SET hash = previous WHERE number = 3",
    "UPDATE audit SET previous = hash WHERE number = 3",
    "UPDATE audit SET address = NULL WHERE number = 3",
    "DELETE FROM audit WHERE number = 3",
    "UPDATE audit SET number = 33 WHERE number = 3",
]
ONE_MORE = (
    "INSERT INTO audit SELECT 6, at, org_id, actor, action, object, person, result, address, request_id,"
    " details, previous, hash FROM audit WHERE number = 5"
)


@pytest.mark.parametrize("tampering", TAMPERINGS)
async def test_n6_tampering_with_a_row_is_found_there(written, tampering):
    assert await found(written) is None
    await do(written, tampering)
    assert await found(written) == 3


@pytest.mark.parametrize(
    ("tampering", "at"),
    [
        ("DELETE FROM audit WHERE number = 1", 1),
        ("DELETE FROM audit WHERE number > 3", 4),
        ("DELETE FROM audit", 1),
        ("DELETE FROM audit_ends", 1),
        (ONE_MORE, 6),
    ],
    ids=["first", "last ones", "all", "the ends", "one more"],
)
async def test_n6_tampering_with_an_end_is_found_and_stays_found(written, open_store, tampering, at):
    await do(written, tampering)
    assert await found(written) == at
    await written.close()
    store = await open_store()
    assert await found(store) == at
    await create(store, 2, entry(9))
    assert (await found(store) or 0) >= at
    await store.close()


async def test_n6_rows_put_in_while_the_store_is_open_fail_the_next_group_once(written):
    """Its number is taken: nothing of the group is stored, and what was put in stays found."""
    await do(written, ONE_MORE)
    with pytest.raises(Unavailable):
        await create(written, 2, entry(9))
    assert [one.id for one in await written.organizations.load()] == [organization(1).id]
    await create(written, 3, entry(9))
    assert await found(written) == 6


async def test_n6_change_whose_row_cannot_be_written_is_not_made(written):
    await do(written, "ALTER TABLE audit RENAME TO hidden")
    outcomes = await asyncio.gather(
        create(written, 2, entry()), create(written, 3, entry()), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]
    await do(written, "ALTER TABLE hidden RENAME TO audit")
    assert len(await written.organizations.load()) == 1
    await create(written, 4, entry())
    assert (await written.audit.check(None, limit=100)).rows == ROWS + 1
    assert await found(written) is None


async def test_n6_group_that_is_rolled_back_leaves_no_row_and_no_person(written, monkeypatch):
    run = written.writer._runner.run

    async def fail(work, **options):
        def work_and_fail(connection):
            work(connection)
            raise OSError("power cut")

        return await run(work_and_fail, **options)

    with monkeypatch.context() as patched:
        patched.setattr(written.writer._runner, "run", fail)
        with pytest.raises(Unavailable):
            await create(written, 2, entry(user_id="new"))
    await create(written, 3, entry(user_id="new"))
    (last,) = await written.audit.page(AuditQuery(limit=1))
    assert (last.row.number, last.user_id) == (ROWS + 1, "new")
    assert await found(written) is None


async def test_n6_apart_from_the_one_at_fault_each_operation_has_its_row(written):
    taken = await asyncio.gather(
        create(written, 1, entry(71)), *(create(written, n, entry(n)) for n in (2, 3)), return_exceptions=True
    )
    assert [isinstance(outcome, Exception) for outcome in taken] == [True, False, False]
    rows = await written.audit.page(AuditQuery(limit=100))
    assert sorted(one.row.object for one in rows[:2]) == ["token:2", "token:3"]
    assert await found(written) is None


async def test_many_people_at_once_are_each_themselves(written, monkeypatch):
    monkeypatch.setattr(people_module, "_AT_ONCE", 7)
    monkeypatch.setattr(people_module, "MAX_REMEMBERED", 10)
    for number in (2, 3):
        await create(written, number, *(entry(n, user_id=f"u{n}") for n in range(1, 31)))
    rows = (await written.audit.page(AuditQuery(limit=60)))[::-1]
    assert [one.user_id for one in rows] == [f"u{n}" for n in range(1, 31)] * 2
    assert len({one.row.person for one in rows}) == 30
    assert await found(written) is None
