"""What every `KeptStore` does."""

import asyncio
from dataclasses import dataclass, field

import msgspec
import pytest

from tokenmq.access.identity import Identity
from tokenmq.broker.records import (
    Change,
    DeliveryRecord,
    Kept,
    MessageRecord,
    ReceivedRecord,
    RetainedRecord,
    SessionRecord,
    SubscriptionRecord,
    Will,
    put,
)
from tokenmq.errors import Unavailable
from tokenmq.stores.base import Replacing, Selection

NOTHING = Kept([], [], [], [], [], [])
BYTES = bytes(range(256))
TEXT = "ü/'\"\\/日本/\U0001f600"


def same(outcome):
    return outcome


def drop(record):
    return Change(type(record), record.key, None)


@dataclass
class Keeping:
    """A store, what it said of saves, and records that are good as they are."""

    filled: object
    settled: list = field(default_factory=list)

    def save(self, *changes, mark=None):
        future = asyncio.get_running_loop().create_future()

        def settled(error):
            self.settled.append((mark, error))
            future.set_result(error)

        self.filled.store.kept.save(changes, settled)
        return future

    async def put(self, *records):
        assert await self.save(*map(put, records)) is None

    async def load(self):
        return await self.filled.store.kept.load()

    def session(self, number=1, *, token_id="tok_1", key_id=None, org_id=None, **changes):
        identity = Identity(
            org_id=org_id or self.filled.org_id,
            user_id="ann",
            username="ann@org",
            grants=(),
            expires_at=None,
            token_id=token_id,
            jti="j",
            gen=0,
            key_id=key_id,
            client_id=None,
        )
        record = SessionRecord(number, f"c{number}", identity, 3_600, None, None)
        return msgspec.structs.replace(record, **changes)

    def message(self, number=1, **changes):
        record = MessageRecord(number, self.filled.org_id, "a/b", BYTES, b"\x00", None)
        return msgspec.structs.replace(record, **changes)

    def delivery(self, session=1, message=1, **changes):
        record = DeliveryRecord(session, message, message, message, 1, False, False, (), "")
        return msgspec.structs.replace(record, **changes)

    def retained(self, topic="a/b", *, token_id="tok_1", **changes):
        record = RetainedRecord(self.filled.org_id, topic, BYTES, 1, b"", 1.5, 2.25, "ann", token_id)
        return msgspec.structs.replace(record, **changes)

    def all_of(self, number, **owner):
        """A session with one of each that hangs on it, and the message that it waits for."""
        return [
            self.session(number, **owner),
            SubscriptionRecord(number, "a/#", 1, False, False, 0),
            self.message(number),
            self.delivery(number, number),
            ReceivedRecord(number, 7),
        ]

    def loaded(self, *numbers, retained=(), **owner):
        kept = Kept([], [], [], [], [], list(retained))
        for number in numbers:
            for records, record in zip(kept, self.all_of(number, **owner), strict=False):
                records.append(record)
        return kept


@pytest.fixture
def keeping(filled):
    return Keeping(filled)


async def test_new_store_keeps_nothing(store):
    assert await store.kept.load() == NOTHING


async def test_every_record_is_loaded_as_it_was_saved(keeping, reopen, records):
    key = records.key(keeping.filled.org_id)
    await keeping.filled.store.keys.create(key, made_by=None, applied=same)
    grants = records.family("org", "key").grants
    identity = Identity(
        keeping.filled.org_id, TEXT, TEXT, grants, 1_800_000_000.25, "tok_x", "jti", 3, None, "c*", 1.5
    )
    server = Identity(keeping.filled.org_id, "server", "s", (), None, None, None, 0, key.id, None)
    will = Will(TEXT, BYTES, 2, True, BYTES, 4_294_967_295, 60)
    kept = Kept(
        [
            SessionRecord(1, TEXT, identity, 4_294_967_295, 1_800_000_000.125, will),
            SessionRecord(2, "", server, 0, None, Will("w", b"", 0, False, b"", None, 0)),
            SessionRecord(2**40, "c", identity, 60, None, None),
        ],
        [
            SubscriptionRecord(1, "$share/g/" + TEXT, 2, False, True, 268_435_455),
            SubscriptionRecord(1, "a/+/#", 0, True, False, 0, history=True),
        ],
        [
            MessageRecord(9, keeping.filled.org_id, TEXT, BYTES, BYTES, None),
            MessageRecord(2**41, keeping.filled.org_id, "a", b"", b"", 1_800_000_000.5, BYTES),
        ],
        [
            DeliveryRecord(1, 65_535, 1, 9, 2, True, True, (1, 268_435_455), ""),
            DeliveryRecord(1, 3, 2, 2**41, 1, False, False, (), "$share/g/" + TEXT),
            DeliveryRecord(2, 1, 2**42, 9, 1, False, False, (0,), "", "$history/5/", stamped=True),
        ],
        [ReceivedRecord(2, 1), ReceivedRecord(2, 65_535)],
        [
            RetainedRecord(
                keeping.filled.org_id,
                TEXT,
                BYTES,
                2,
                BYTES,
                1.25,
                2.5,
                TEXT,
                "tok_x",
                TEXT,
                {"a": [TEXT, 1]},
                64,
            ),
            RetainedRecord(keeping.filled.org_id, "z", b"", 0, b"", 1.0, 2.0, "server", None),
        ],
    )
    kept = kept._replace(retained=sorted(kept.retained, key=lambda record: record.topic))
    await keeping.put(*(record for records in reversed(kept) for record in reversed(records)))
    loaded = await (await reopen()).kept.load()
    assert loaded._replace(retained=sorted(loaded.retained, key=lambda record: record.topic)) == kept
    assert [type(row.left_at) for row in loaded.sessions] == [float, type(None), type(None)]
    assert [type(row.retain) for row in loaded.deliveries] == [bool] * 3
    assert [type(row.stamped) for row in loaded.deliveries] == [bool] * 3
    assert [type(row.history) for row in loaded.subscriptions] == [bool] * 2


async def test_what_is_put_again_replaces_and_what_is_dropped_is_gone(keeping):
    await keeping.put(*keeping.all_of(1), *keeping.all_of(2), keeping.retained())
    changed = keeping.delivery(1, released=True, qos=2)
    left = keeping.session(1, left_at=5.0, token_id="tok_9")
    await keeping.put(changed, left, keeping.retained(payload=b"new"))
    await keeping.save(*map(drop, keeping.all_of(2)))
    wanted = keeping.loaded(1, retained=[keeping.retained(payload=b"new")])
    # What is released needs its message no more.
    assert await keeping.load() == wanted._replace(deliveries=[changed], sessions=[left], messages=[])


async def test_dropping_what_is_not_there_does_no_harm(keeping):
    assert await keeping.save(*map(drop, [*keeping.all_of(1), keeping.retained()])) is None
    assert await keeping.save() is None
    assert await keeping.load() == NOTHING


async def test_session_that_is_dropped_takes_along_what_hangs_on_it(keeping):
    await keeping.put(*keeping.all_of(1), *keeping.all_of(2))
    await keeping.save(drop(keeping.session(1)))
    assert await keeping.load() == keeping.loaded(2)


async def test_session_put_and_dropped_in_one_group_leaves_nothing(keeping):
    saves = [keeping.save(*map(put, keeping.all_of(1))), keeping.save(drop(keeping.session(1)))]
    assert await asyncio.gather(*saves) == [None, None]
    assert (await keeping.load()).sessions == []
    # Put again under its number, it is bare.
    await keeping.put(keeping.session(1), keeping.message(1))
    assert await keeping.load() == NOTHING._replace(sessions=[keeping.session(1)])


async def test_saves_settle_in_their_order_and_share_commits(keeping):
    futures = [keeping.save(put(keeping.session(number)), mark=number) for number in range(1, 200)]
    assert keeping.settled == []
    await asyncio.gather(*futures)
    assert keeping.settled == [(number, None) for number in range(1, 200)]
    assert [session.number for session in (await keeping.load()).sessions] == list(range(1, 200))


async def test_save_after_the_close_is_refused_in_its_turn(keeping):
    waits = keeping.save(put(keeping.session()), mark="first")
    closing = asyncio.ensure_future(keeping.filled.store.close())
    await asyncio.sleep(0)
    late = keeping.save(put(keeping.session(2)), mark="late")
    assert not late.done()
    await closing
    assert await waits is None
    assert isinstance(await late, Unavailable)
    last = keeping.save(mark="last")
    assert not last.done()
    assert isinstance(await last, Unavailable)
    assert [mark for mark, _ in keeping.settled] == ["first", "late", "last"]


class TestStrays:
    async def test_what_belongs_to_nothing_is_left_out_and_removed(self, keeping, reopen):
        await keeping.put(*keeping.all_of(1))
        strays = [
            SubscriptionRecord(8, "a", 1, False, False, 0),
            ReceivedRecord(8, 1),
            keeping.delivery(8, 1, packet_id=1),
            keeping.delivery(1, 50),
            keeping.message(60),
            # Waited for by nobody but a stray.
            keeping.message(70),
            keeping.delivery(8, 70),
        ]
        await keeping.put(*strays)
        assert await keeping.load() == keeping.loaded(1)
        # What they lacked comes too late.
        await keeping.put(keeping.session(8), keeping.message(50), keeping.delivery(1, 60))
        assert (await (await reopen()).kept.load()) == keeping.loaded(1)._replace(
            sessions=[keeping.session(1), keeping.session(8)]
        )

    async def test_what_comes_after_the_end_of_its_owner_is_removed(self, keeping, records):
        store, filled = keeping.filled.store, keeping.filled
        key = await store.keys.create(records.key(filled.org_id), made_by=None, applied=same)
        revoked, kept = [await filled.create(user_id=user) for user in "ab"]
        for family, keep in ((revoked, False), (kept, True)):
            selection = Selection(filled.org_id, token_id=family.token_id, keep_retained=keep)
            await store.families.revoke(selection, now=records.now, reason=None, applied=same)
        await store.keys.delete(key.id, now=records.now, revoke=None, reason=None, applied=same)
        await keeping.put(
            keeping.session(1, token_id=revoked.token_id),
            keeping.session(2, token_id=kept.token_id),
            keeping.session(4, token_id=None, key_id=key.id),
            keeping.session(5, org_id="org_gone"),
            *keeping.all_of(6),
            keeping.retained("1", token_id=revoked.token_id),
            keeping.retained("2", token_id=kept.token_id),
            keeping.retained("4", org_id="org_gone"),
        )
        stay = [keeping.retained("2", token_id=kept.token_id)]
        for _ in range(2):
            assert await keeping.load() == keeping.loaded(6, retained=stay)


class TestEnds:
    """What a revocation, a replacement, a deletion takes along, in its own commit."""

    async def fill(self, keeping):
        family, other = await keeping.filled.create(), await keeping.filled.create(user_id="bob")
        mine, theirs = {"token_id": family.token_id}, {"token_id": other.token_id}
        await keeping.put(
            *keeping.all_of(1, **mine),
            *keeping.all_of(2, **theirs),
            keeping.retained("1", **mine),
            keeping.retained("2", **theirs),
        )
        return family, mine, theirs

    @pytest.mark.parametrize("keep", [False, True], ids=["retained go", "retained stay"])
    async def test_revocation_takes_sessions_and_retained_messages_along(self, keeping, keep):
        family, mine, theirs = await self.fill(keeping)
        selection = Selection(keeping.filled.org_id, user_id=family.user_id, keep_retained=keep)
        await keeping.filled.store.families.revoke(selection, now=1, reason=None, applied=same)
        retained = [keeping.retained("1", **mine)] * keep + [keeping.retained("2", **theirs)]
        assert await keeping.load() == keeping.loaded(2, retained=retained, **theirs)

    async def test_revocation_wins_over_what_is_put_in_the_same_group(self, keeping):
        family, mine, theirs = await self.fill(keeping)
        revoking = asyncio.ensure_future(
            keeping.filled.store.families.revoke(
                Selection(keeping.filled.org_id, token_id=family.token_id), now=1, reason=None, applied=same
            )
        )
        await asyncio.sleep(0)
        saving = keeping.save(*map(put, [*keeping.all_of(3, **mine), keeping.retained("3", **mine)]))
        await asyncio.gather(revoking, saving)
        retained = [keeping.retained("2", **theirs)]
        assert await keeping.load() == keeping.loaded(2, retained=retained, **theirs)

    async def test_session_that_has_gone_over_to_another_family_stays(self, keeping):
        family, _, theirs = await self.fill(keeping)
        saving = keeping.save(put(keeping.session(1, **theirs)))
        selection = Selection(keeping.filled.org_id, token_id=family.token_id)
        await keeping.filled.store.families.revoke(selection, now=1, reason=None, applied=same)
        await saving
        retained = [keeping.retained("2", **theirs)]
        assert await keeping.load() == keeping.loaded(1, 2, retained=retained, **theirs)

    async def test_revocation_of_very_many_ends_the_sessions_of_all(self, keeping):
        families = await asyncio.gather(*(keeping.filled.create() for _ in range(1_100)))
        await keeping.put(
            *(keeping.session(number, token_id=family.token_id) for number, family in enumerate(families, 1))
        )
        selection = Selection(keeping.filled.org_id, all=True)
        await keeping.filled.store.families.revoke(selection, now=1, reason=None, applied=same)
        assert await keeping.load() == NOTHING

    @pytest.mark.parametrize("replacing", [Replacing.ALL, Replacing.IDLE])
    async def test_replacement_takes_nothing_because_sessions_are_their_users(self, keeping, replacing):
        await self.fill(keeping)
        before = await keeping.load()
        await keeping.filled.create(replacing=replacing)
        assert await keeping.load() == before

    async def test_deletion_of_a_key_takes_its_sessions(self, keeping, records):
        store, org_id = keeping.filled.store, keeping.filled.org_id
        keys = [await store.keys.create(records.key(org_id), made_by=None, applied=same) for _ in range(2)]
        mine, theirs = [{"token_id": None, "key_id": key.id} for key in keys]
        await keeping.put(*keeping.all_of(1, **mine), *keeping.all_of(2, **theirs))
        await store.keys.delete(keys[0].id, now=1, revoke=None, reason=None, applied=same)
        assert await keeping.load() == keeping.loaded(2, **theirs)

    async def test_deletion_of_an_organization_takes_all_that_is_kept_for_it(self, keeping, records, reopen):
        store, org_id = keeping.filled.store, keeping.filled.org_id
        other = await store.organizations.create(records.organization(), applied=same)
        await keeping.put(
            *keeping.all_of(1),
            keeping.retained(),
            keeping.session(2, org_id=other.id),
            keeping.message(2, org_id=other.id),
            keeping.delivery(2, 2),
            keeping.retained(org_id=other.id),
        )
        await store.organizations.delete(org_id, applied=same)
        loaded = await (await reopen()).kept.load()
        assert loaded == Kept(
            [keeping.session(2, org_id=other.id)],
            [],
            [keeping.message(2, org_id=other.id)],
            [keeping.delivery(2, 2)],
            [],
            [keeping.retained(org_id=other.id)],
        )
