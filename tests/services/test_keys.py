"""Keys: made, looked up in memory, deleted."""

import asyncio

import pytest
from structlog.testing import capture_logs

from tokenmq.errors import (
    Conflict,
    Forbidden,
    GrantTooWide,
    InvalidKey,
    InvalidRequest,
    InvalidToken,
    NotFound,
    Unavailable,
)
from tokenmq.services.keys import Revoked, Rotation, authorise, require, require_administrator
from tokenmq.services.paging import MAX_LIMIT
from tokenmq.stores.audit import AuditQuery
from tokenmq.tokens import secret
from tokenmq.tokens.records import KeyKind


def authenticate(world, text, now=None):
    return world.services.keys.authenticate(text, now or world.now)


def listed(world, *, key=None, org_id=None, limit=None, cursor=None):
    return world.services.keys.list(org_id or world.org_id, key=key or world.key, limit=limit, cursor=cursor)


async def delete(world, key_id, *, key=None, revoke_tokens=False):
    return await world.services.keys.delete(
        key_id, key=key or world.key, org_id=world.org_id, revoke_tokens=revoke_tokens, now=world.now
    )


class TestAuthenticate:
    async def test_text_as_str_and_as_bytes_gives_the_record(self, world):
        created = await world.create_key()
        assert (
            authenticate(world, created.text) == authenticate(world, created.text.encode()) == created.record
        )

    async def test_key_works_after_a_restart(self, world):
        created = await world.create_key()
        await world.restart()
        assert authenticate(world, created.text) == created.record

    @pytest.mark.parametrize("text", ["", "sk_", "x", "\ud800", "sk_" + "a" * 57, b"\xff\xfe", b""], ids=repr)
    async def test_anything_else_is_refused(self, world, text):
        with pytest.raises(InvalidKey):
            authenticate(world, text)

    async def test_wrong_secret_and_unknown_id_are_refused_in_the_same_words(self, world):
        def forged(key_id, secret_part, kind="sk"):
            body = f"{kind}_{key_id}{secret_part}"
            return body + secret._checksum(body)

        text = world.key_text
        right, wrong = text[11:54], "z" * 43
        assert authenticate(world, forged(world.key.id, right)) == world.key
        messages = set()
        # The last: with the checksum made anew, another kind of the same secret.
        for forgery in (
            forged(world.key.id, wrong),
            forged("zzzzzzzz", right),
            forged(world.key.id, right, kind="ik"),
        ):
            with pytest.raises(InvalidKey) as caught:
                authenticate(world, forgery)
            messages.add(str(caught.value))
        assert len(messages) == 1

    async def test_key_is_refused_from_its_expiry_on(self, world):
        created = await world.create_key(expires_at=world.now + 10, expires_at_given=True)
        authenticate(world, created.text, world.now + 9.9)
        with pytest.raises(InvalidKey):
            authenticate(world, created.text, world.now + 10)

    async def test_deleted_key_is_refused_also_after_a_restart(self, world):
        created = await world.create_key()
        authenticate(world, created.text)
        await delete(world, created.record.id)
        for _ in range(2):
            with pytest.raises(InvalidKey):
                authenticate(world, created.text)
            await world.restart()


class TestRights:
    async def test_scopes_open_what_they_say_and_kinds_what_they_are(self, world):
        restricted = (await world.create_key("rk", scopes=("tokens:read", "keys"))).record
        publishable = (await world.create_key("pk")).record
        for key in (world.key, world.administrator, restricted):
            require(key, "tokens:read")
        for key, scope in ((restricted, "tokens:revoke"), (publishable, "tokens:read")):
            with pytest.raises(Forbidden):
                require(key, scope)

    async def test_only_the_administrator_is_one(self, world):
        require_administrator(world.administrator)
        with pytest.raises(Forbidden):
            require_administrator(world.key)

    async def test_foreign_organization_is_not_there(self, world):
        other, _ = await world.other_organization()
        authorise(world.administrator, "keys", other.id)
        for org_id in (other.id, "org_aaaaaaaaaaaa"):
            with pytest.raises(NotFound) as caught:
                authorise(world.key, "keys", org_id)
            assert caught.value.code == "organization_not_found"


class TestCreate:
    async def test_text_is_shown_once_and_only_its_digest_stored(self, world):
        created = await world.create_key()
        assert created.text not in repr(created)
        await world.services.close()
        stored = b"".join(path.read_bytes() for path in world.folder.iterdir())
        assert created.record.id.encode() in stored
        assert created.record.digest in stored
        assert created.text[11:54].encode() not in stored

    async def test_it_expires_after_90_days_unless_said_otherwise(self, world):
        assert (await world.create_key()).record.expires_at == world.now + 90 * 86_400
        assert (await world.create_key(expires_at=None, expires_at_given=True)).record.expires_at is None

    async def test_scope_is_needed(self, world):
        key = (await world.create_key("rk", scopes=("tokens:read",))).record
        with pytest.raises(Forbidden):
            await world.create_key(maker=key)

    async def test_maker_that_is_deleted_by_then_is_refused(self, world):
        maker = (await world.create_key()).record
        await delete(world, maker.id)
        with pytest.raises(InvalidKey):
            await world.create_key(maker=maker)

    async def test_failed_commit_makes_no_key(self, world):
        heal = world.fail_commits()
        with pytest.raises(Unavailable):
            await world.create_key()
        heal()
        assert [record.id for record in listed(world).items] == [world.key.id]

    async def test_wrong_request_is_refused(self, world):
        with pytest.raises(InvalidRequest):
            await world.create_key("ik")


class TestList:
    async def test_own_keys_oldest_first_in_pages(self, world):
        await world.other_organization()
        made = [world.key, *[(await world.create_key()).record for _ in range(4)]]
        wanted = sorted(made, key=lambda record: (record.created_at, record.id))
        first = listed(world, limit=3)
        second = listed(world, limit=3, cursor=first.next)
        assert [record.id for record in (*first.items, *second.items)] == [record.id for record in wanted]
        assert second.next is None

    async def test_deleted_ones_are_not_listed(self, world):
        created = await world.create_key()
        await delete(world, created.record.id)
        assert [record.id for record in listed(world).items] == [world.key.id]

    async def test_v49_wrong_limit_or_cursor_is_refused(self, world):
        other, _ = await world.other_organization()
        await world.create_key()
        cursor = listed(world, limit=1).next
        for query in ({"limit": 0}, {"limit": MAX_LIMIT + 1}, {"cursor": "x"}, {"cursor": cursor + "A"}):
            with pytest.raises(InvalidRequest):
                listed(world, **query)
        with pytest.raises(InvalidRequest):
            listed(world, key=world.administrator, org_id=other.id, cursor=cursor)


class TestLastUse:
    async def test_it_shows_at_once_and_is_stored_later(self, world):
        authenticate(world, world.key_text, world.now + 7)
        assert listed(world).items[0].last_used_at == world.now + 7
        (stored, *_) = [one for one in await world.services.store.keys.load() if one.id == world.key.id]
        assert stored.last_used_at is None
        await world.services.keys.flush()
        (stored, *_) = [one for one in await world.services.store.keys.load() if one.id == world.key.id]
        assert stored.last_used_at == world.now + 7

    async def test_it_is_stored_at_the_end_and_there_after_a_restart(self, world):
        authenticate(world, world.key_text, world.now + 7)
        await world.restart()
        assert listed(world).items[0].last_used_at == world.now + 7

    async def test_many_uses_are_one_write_and_none_without_use(self, world):
        await world.services.keys.flush()
        before = world.services.store.writer.commits
        for second in range(100):
            authenticate(world, world.key_text, world.now + second)
        await world.services.keys.flush()
        await world.services.keys.flush()
        assert world.services.store.writer.commits == before + 1


class TestDelete:
    async def test_its_server_connections_are_closed_and_what_it_issued_stays(self, world):
        created = await world.create_key()
        token = await world.issue(key=created.record)
        assert await delete(world, created.record.id) == Revoked(0, 1)
        assert world.broker.told == [
            ("end_key", world.org_id, created.record.id, "its key was deleted"),
        ]
        world.services.authenticator.connect(world.credentials(token), world.now)

    async def test_what_it_issued_is_revoked_if_asked(self, world):
        created = await world.create_key()
        token, other = await world.issue(key=created.record), await world.issue()
        world.broker.live = {token.family.token_id}
        assert await delete(world, created.record.id, revoke_tokens=True) == Revoked(1, 2)
        with pytest.raises(InvalidToken):
            world.services.authenticator.connect(world.credentials(token), world.now)
        world.services.authenticator.connect(world.credentials(other), world.now)

    async def test_scopes_are_needed(self, world):
        created = await world.create_key()
        no_keys = (await world.create_key("rk", scopes=("tokens:revoke",))).record
        only_keys = (await world.create_key("rk", scopes=("keys",))).record
        with pytest.raises(Forbidden):
            await delete(world, created.record.id, key=no_keys)
        with pytest.raises(Forbidden):
            await delete(world, created.record.id, key=only_keys, revoke_tokens=True)
        await delete(world, created.record.id, key=only_keys)

    async def test_foreign_unknown_and_deleted_ones_are_not_there(self, world):
        _, foreign = await world.other_organization()
        created = await world.create_key()
        await delete(world, created.record.id)
        for key_id in (foreign.id, created.record.id, "", "x", world.administrator.id):
            with pytest.raises(NotFound):
                await delete(world, key_id)

    async def test_v103_failing_store_is_an_error_and_the_key_still_works(self, world):
        heal = world.fail_commits()
        with pytest.raises(Unavailable):
            await delete(world, world.key.id, revoke_tokens=True)
        heal()
        assert world.broker.told == []
        assert authenticate(world, world.key_text).kind is KeyKind.SECRET


DAY = 86_400


async def rotate(world, key_id, *, key=None, org_id=None, now=None, **asked):
    return await world.services.keys.rotate(
        key_id, Rotation(**asked), key=key or world.key, org_id=org_id or world.org_id, now=now or world.now
    )


def works(world, text, now):
    try:
        authenticate(world, text, now)
    except InvalidKey:
        return False
    return True


class TestRotation:
    async def test_both_secrets_work_in_the_grace_then_only_the_new_one(self, world):
        made = await world.create_key()
        assert works(world, made.text, world.now)
        changed = await rotate(world, made.record.id, grace_seconds=60)
        assert changed.record.id == made.record.id and changed.text != made.text
        for _ in range(2):
            assert works(world, made.text, world.now + 59.9)
            assert not works(world, made.text, world.now + 60)
            assert works(world, changed.text, world.now + 60)
            await world.restart()

    async def test_key_under_an_earlier_secret_ends_with_it(self, world):
        made = await world.create_key()
        changed = await rotate(world, made.record.id, grace_seconds=60)
        assert authenticate(world, made.text).expires_at == world.now + 60
        assert authenticate(world, changed.text) == changed.record
        assert authenticate(world, made.text).id == made.record.id

    async def test_life_is_as_long_as_it_was(self, world):
        made = await world.create_key(expires_at=world.now + 100, expires_at_given=True)
        later = await rotate(world, made.record.id, now=world.now + 40)
        assert later.record.expires_at == world.now + 140
        again = await rotate(world, made.record.id, now=world.now + 50)
        assert again.record.expires_at == world.now + 150
        never = await rotate(world, made.record.id, now=world.now + 60, expires_at_given=True)
        assert never.record.expires_at is None
        for_ever = await rotate(world, made.record.id, now=world.now + 70)
        assert for_ever.record.expires_at is None

    async def test_no_secret_outlives_the_end_that_the_key_had(self, world):
        made = await world.create_key(expires_at=world.now + 100, expires_at_given=True)
        await rotate(world, made.record.id, grace_seconds=DAY)
        assert works(world, made.text, world.now + 99)
        assert not works(world, made.text, world.now + 100)

    async def test_rotated_again_in_the_grace_each_secret_has_its_own_end(self, world):
        first = await world.create_key()
        second = await rotate(world, first.record.id, grace_seconds=100)
        third = await rotate(world, first.record.id, grace_seconds=500, now=world.now + 50)
        fourth = await rotate(world, first.record.id, grace_seconds=200, now=world.now + 60)
        ends = [(first, 100), (second, 260), (third, 260)]
        for made, end in ends:
            assert works(world, made.text, world.now + end - 1)
            assert not works(world, made.text, world.now + end)
        assert works(world, fourth.text, world.now + 1_000)

    async def test_without_a_grace_every_earlier_secret_ends_at_once(self, world):
        first = await world.create_key()
        second = await rotate(world, first.record.id)
        third = await rotate(world, first.record.id, grace_seconds=0)
        assert [works(world, made.text, world.now) for made in (first, second, third)] == [False, False, True]
        assert third.record.earlier == ()

    async def test_more_than_four_earlier_secrets_are_refused_and_nothing_changes(self, world):
        made = [await world.create_key()]
        for _ in range(4):
            made.append(await rotate(world, made[0].record.id))
        with pytest.raises(Conflict):
            await rotate(world, made[0].record.id)
        assert all(works(world, one.text, world.now) for one in made)
        await rotate(world, made[0].record.id, now=world.now + 259_200)

    async def test_connections_end_with_the_secrets_that_opened_them(self, world):
        made = await world.create_key()
        await rotate(world, made.record.id, grace_seconds=60)
        await rotate(world, made.record.id, grace_seconds=0, now=world.now + 5)
        assert world.broker.told == [
            ("limit_key", world.org_id, made.record.id, world.now + 60),
            ("limit_key", world.org_id, made.record.id, world.now + 5),
        ]

    async def test_nobody_rotates_a_key_wider_than_their_own(self, world):
        maker = await world.create_key(
            "rk", scopes=("keys", "tokens:create"), permissions=("publish",), topics=("a/#",)
        )
        within = await world.create_key("rk", scopes=("keys",))
        wider = await world.create_key(
            "rk", scopes=("tokens:create",), permissions=("publish",), topics=("#",)
        )
        await rotate(world, within.record.id, key=maker.record)
        for key_id, error in (
            (world.key.id, Forbidden),
            (wider.record.id, GrantTooWide),
            ((await world.create_key("rk", scopes=("sessions",))).record.id, Forbidden),
        ):
            with pytest.raises(error):
                await rotate(world, key_id, key=maker.record)
        reads = await world.create_key("rk", scopes=("tokens:read",))
        with pytest.raises(Forbidden):
            await rotate(world, reads.record.id, key=reads.record)

    async def test_foreign_unknown_deleted_and_expired_keys_are_not_rotated(self, world):
        _, other_key = await world.other_organization()
        gone = await world.create_key()
        await delete(world, gone.record.id)
        for key_id in (other_key.id, "unknown1", gone.record.id, world.administrator.id):
            with pytest.raises(NotFound):
                await rotate(world, key_id)
        with pytest.raises(NotFound):
            await rotate(world, world.key.id, key=other_key, org_id=world.org_id)
        ended = await world.create_key(expires_at=world.now + 5, expires_at_given=True)
        with pytest.raises(Conflict):
            await rotate(world, ended.record.id, now=world.now + 5)

    async def test_whoever_is_gone_at_the_commit_rotates_nothing(self, world):
        maker, made = await world.create_key(), await world.create_key()
        await delete(world, maker.record.id)
        with pytest.raises(InvalidKey):
            await rotate(world, made.record.id, key=maker.record)
        assert works(world, made.text, world.now)

    async def test_failing_store_leaves_the_secrets_as_they_were(self, world):
        made = await world.create_key()
        heal = world.fail_commits()
        with pytest.raises(Unavailable):
            await rotate(world, made.record.id, grace_seconds=0)
        heal()
        assert authenticate(world, made.text) == made.record
        assert world.broker.told == []

    async def test_two_at_once_both_happen(self, world):
        made = await world.create_key()
        pair = await asyncio.gather(*(rotate(world, made.record.id) for _ in range(2)))
        assert all(works(world, one.text, world.now) for one in (made, *pair))
        await world.restart()
        assert all(works(world, one.text, world.now) for one in (made, *pair))

    async def test_tokens_that_it_made_live_on(self, world):
        made = await world.create_key()
        token = await world.issue(key=made.record)
        changed = await rotate(world, made.record.id, grace_seconds=0)
        await world.issue(key=changed.record)
        assert world.services.tokens.introspect(token.text, key=world.key, org_id=world.org_id, now=world.now)

    async def test_row_of_the_audit_trail(self, world):
        made = await world.create_key(expires_at=world.now + 100, expires_at_given=True)
        changed = await rotate(world, made.record.id, grace_seconds=60)
        (told,) = await world.services.store.audit.page(AuditQuery(limit=1))
        assert (told.row.actor, told.row.action) == (f"key:{world.key.id}", "key_rotate")
        assert told.row.object == f"key:{made.record.id}"
        expected = f'{{"expires_at":{world.now + 100},"earlier_until":{world.now + 60}}}'
        assert told.row.details == expected
        assert changed.text not in repr(told)


class TestExpiring:
    async def test_keys_that_are_good_and_end_within_14_days_are_told_of(self, world):
        ends = [1, 14 * DAY, 14 * DAY + 1]
        made = [await world.create_key(expires_at=world.now + end, expires_at_given=True) for end in ends]
        found = [record.id for record in world.services.keys.expiring(world.now)]
        assert found == [made[0].record.id, made[1].record.id]
        assert [r.id for r in world.services.keys.expiring(world.now + 1)] == [m.record.id for m in made[1:]]

    async def test_they_are_logged_once_a_day_each(self, world):
        made = await world.create_key(expires_at=world.now + 2 * DAY, expires_at_given=True)
        for after in (0, 60, DAY - 1, DAY, DAY + 60):
            with capture_logs() as lines:
                await world.services.upkeep.once(world.now + after)
            told = [line["key_id"] for line in lines if line["event"] == "key_expires_soon"]
            assert told == ([made.record.id] if after in (0, DAY) else [])
        await rotate(world, made.record.id, now=world.now + DAY + 70, expires_at_given=True)
        with capture_logs() as lines:
            await world.services.upkeep.once(world.now + 2 * DAY)
        assert lines == []
