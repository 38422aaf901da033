"""Each use case leaves its row; who may read them; refused keys are bounded."""

import pytest

from tokenmq.errors import (
    BadCredentials,
    Conflict,
    Forbidden,
    InvalidKey,
    InvalidRequest,
    InvalidToken,
    NotFound,
    Unavailable,
)
from tokenmq.services import audit as audit_module
from tokenmq.services.audit import Filters
from tokenmq.services.auditing import SYSTEM, Action, Trace, entry
from tokenmq.services.tokens import Replacing, RevokeRequest
from tokenmq.stores.audit import MAX_DETAILS_BYTES, AuditQuery

TRACE = Trace("192.0.2.7", "req_1")
ALL = Filters()


async def rows(world, filters=ALL, *, key=None, org_id=None, limit=500, cursor=None):
    page = await world.services.audit.list(
        filters, key=key or world.administrator, org_id=org_id, limit=limit, cursor=cursor
    )
    return [(told.row.actor, told.row.action, told.row.object, told.row.details) for told in page.items][::-1]


async def last(world):
    (told,) = (await world.services.audit.list(
        ALL, key=world.administrator, org_id=None, limit=1, cursor=None
    )).items  # fmt: skip
    return told


async def verified(world):
    found = await world.services.audit.verify(key=world.administrator, cursor=None)
    assert found.found.broken is None and found.next is None
    return found.found.rows


async def test_first_start_is_the_programs_own(world):
    told = await rows(world)
    assert [(actor, action) for actor, action, _, _ in told] == [
        (SYSTEM, "signing_key_add"),
        (SYSTEM, "key_create"),
        (SYSTEM, "organization_create"),
        (SYSTEM, "key_create"),
    ]
    assert f"key:{world.administrator.id}" == told[1][2]
    assert await verified(world) == 4


class TestTokens:
    async def test_issue(self, world):
        token = await world.issue("ann", ttl_seconds=60)
        told = await last(world)
        row = told.row
        assert (row.actor, row.action) == (f"key:{world.key.id}", "issue")
        assert (row.object, told.user_id) == (f"token:{token.family.token_id}", "ann")
        assert (row.org_id, row.at, row.details) == (world.org_id, world.now, '{"ttl":60}')
        assert "ann" not in repr(row) and token.text not in repr(row)

    async def test_n6_repeat_with_an_idempotency_key_is_no_second_one(self, world):
        before = len(await rows(world))
        for _ in range(3):
            await world.issue(idempotency=world.once())
        assert len(await rows(world)) == before + 1

    async def test_issue_that_replaces_tells_how_many(self, world):
        await world.issue()
        await world.issue(replacing=Replacing(families=True, sessions=True))
        assert (await last(world)).row.details == '{"ttl":3600,"replaced":1}'

    async def test_n6_issue_that_fails_leaves_none(self, world):
        before = await rows(world)
        heal = world.fail_commits()
        with pytest.raises(Unavailable):
            await world.issue()
        heal()
        assert await rows(world) == before
        await world.issue()
        assert len(await rows(world)) == len(before) + 1
        await verified(world)

    @pytest.mark.parametrize(
        ("criterion", "about"),
        [
            ({"token_id": "{token}"}, "token:{token}"),
            ({"client_id": "c1"}, "client:c1"),
            ({"key_id": "{key}"}, "key:{key}"),
            ({"all": True}, "organization:{org}"),
        ],
    )
    async def test_revoke(self, world, criterion, about):
        token = await world.issue()
        names = {"token": token.family.token_id, "key": world.key.id, "org": world.org_id}
        asked = {k: v.format(**names) if isinstance(v, str) else v for k, v in criterion.items()}
        await world.services.tokens.revoke(
            RevokeRequest(**asked), key=world.key, org_id=world.org_id, now=world.now, trace=TRACE
        )
        row = (await last(world)).row
        assert (row.action, row.object) == ("revoke", about.format(**names))
        assert (row.address, row.request_id) == ("192.0.2.7", "req_1")
        assert row.details == ('{"revoked":0}' if "client_id" in asked else '{"revoked":1}')

    async def test_revocation_of_a_user_names_the_person_alone(self, world):
        await world.issue("ann")
        request = RevokeRequest(user_id="ann", issued_before=world.now + 1.5, keep_retained=True, reason="x")
        await world.services.tokens.revoke(request, key=world.key, org_id=world.org_id, now=world.now)
        told = await last(world)
        assert (told.user_id, told.row.object) == ("ann", f"user:{told.row.person}")
        expected = f'{{"revoked":1,"issued_before":{world.now + 1},"keep_retained":true}}'
        assert told.row.details == expected

    async def test_delete(self, world):
        token_id = (await world.issue()).family.token_id
        await world.services.tokens.delete(token_id, key=world.key, org_id=world.org_id, now=world.now)
        row = (await last(world)).row
        assert (row.action, row.object) == ("revoke", f"token:{token_id}")


async def test_keys(world):
    made = await world.create_key("rk", scopes=("tokens:read",), name="reads")
    row = (await last(world)).row
    assert (row.actor, row.action, row.object) == (
        f"key:{world.key.id}",
        "key_create",
        f"key:{made.record.id}",
    )
    assert row.details.startswith('{"kind":"rk","name":"reads","scopes":["tokens:read"],"expires_at":')
    assert made.text not in repr(row)
    for revoke_tokens, details in ((False, "{}"), (True, '{"revoked":0}')):
        gone = await world.create_key()
        await world.services.keys.delete(
            gone.record.id, key=world.key, org_id=world.org_id, revoke_tokens=revoke_tokens, now=world.now
        )
        row = (await last(world)).row
        assert (row.action, row.object, row.details) == ("key_delete", f"key:{gone.record.id}", details)
    await verified(world)


async def test_organizations(world):
    organizations, by = world.services.organizations, {"key": world.administrator, "now": world.now}
    made = await organizations.create(name="new", settings={"max_sessions": 5}, **by)
    await organizations.patch(made.id, name="newer", settings={"max_sessions": 6}, **by)
    with pytest.raises(Conflict):
        await organizations.patch(made.id, name="demo", settings=None, **by)
    await organizations.delete(made.id, **by)
    about = f"organization:{made.id}"
    actor = f"key:{world.administrator.id}"
    assert (await rows(world))[4:] == [
        (actor, "organization_create", about, '{"name":"new","changed":["max_sessions"]}'),
        (actor, "organization_update", about, '{"name":"newer","changed":["max_sessions"]}'),
        (actor, "organization_delete", about, '{"name":"newer"}'),
    ]


async def test_signing_keys(world):
    signing_keys, by = world.services.signing_keys, {"key": world.administrator, "now": world.now + 5}
    first = world.services.signing.keyring.current(world.now).kid
    added = await signing_keys.add("EdDSA", current=False, **by)
    await signing_keys.use(added.kid, **by)
    await signing_keys.retire(first, **{**by, "now": world.now + 9})
    actor = f"key:{world.administrator.id}"
    assert (await rows(world))[4:] == [
        (actor, "signing_key_add", f"signing_key:{added.kid}", '{"algorithm":"EdDSA","current":false}'),
        (actor, "signing_key_use", f"signing_key:{added.kid}", "{}"),
        (actor, "signing_key_retire", f"signing_key:{first}", "{}"),
    ]


class TestReading:
    async def test_key_sees_its_organization_and_the_administrator_all(self, world):
        other, other_key = await world.other_organization()
        await world.issue()
        await world.issue(key=other_key, organization=other)
        mine = await rows(world, key=world.key, org_id=world.org_id)
        theirs = await rows(world, key=other_key, org_id=other.id)
        assert [action for _, action, _, _ in mine] == ["organization_create", "key_create", "issue"]
        assert [action for _, action, _, _ in theirs] == ["organization_create", "key_create", "issue"]
        assert not set(mine) & set(theirs)
        assert len(await rows(world)) == 8
        assert await rows(world, org_id=other.id) == theirs
        with pytest.raises(NotFound):
            await rows(world, key=world.key, org_id=other.id)
        with pytest.raises(Forbidden):
            await rows(world, key=world.key, org_id=None)

    async def test_restricted_key_needs_the_scope(self, world):
        reads = (await world.create_key("rk", scopes=("audit:read",))).record
        lacks = (await world.create_key("rk", scopes=("tokens:read",))).record
        assert await rows(world, key=reads, org_id=world.org_id)
        for key in (lacks, (await world.create_key("pk")).record):
            with pytest.raises(Forbidden):
                await rows(world, key=key, org_id=world.org_id)
        for key in (reads, world.key):
            with pytest.raises(Forbidden):
                await world.services.audit.verify(key=key, cursor=None)

    async def test_pages_follow_each_other_under_the_same_filters_only(self, world):
        for number in range(5):
            await world.issue(f"u{number}")
        filters = Filters(action="issue", since=world.now)
        seen, cursor = [], None
        while True:
            page = await world.services.audit.list(
                filters, key=world.key, org_id=world.org_id, limit=2, cursor=cursor
            )
            seen += [told.user_id for told in page.items]
            cursor = page.next or cursor
            if page.next is None:
                break
        assert seen == ["u4", "u3", "u2", "u1", "u0"]
        with pytest.raises(InvalidRequest):
            await rows(world, Filters(), key=world.key, org_id=world.org_id, cursor=cursor)

    @pytest.mark.parametrize("filters", [{"action": "nothing"}, {"actor": ""}, {"object": "a\0"}])
    async def test_filters_that_mean_nothing_are_refused(self, world, filters):
        with pytest.raises(InvalidRequest):
            await rows(world, Filters(**filters))

    async def test_long_chain_is_verified_part_by_part(self, world, monkeypatch):
        monkeypatch.setattr(audit_module, "CHECK_ROWS", 2)
        monkeypatch.setattr(audit_module, "CHECK_LOOKS", 2)
        for number in range(5):
            await world.issue(f"u{number}")
        parts, cursor = [], None
        while not parts or cursor is not None:
            found = await world.services.audit.verify(key=world.administrator, cursor=cursor)
            assert found.found.broken is None
            parts.append(found.found.rows)
            cursor = found.next
        assert parts == [4, 4, 1]
        with pytest.raises(InvalidRequest):
            await world.services.audit.verify(key=world.administrator, cursor="AAAA")


class TestRefusedKeys:
    def note(self, world, error, now=None):
        refused = world.services.refused_keys
        refused.note(error, now=world.now if now is None else now, trace=TRACE)

    async def refused(self, world):
        await world.services.store.keys.touch({"any": 1})
        query = AuditQuery(limit=500, action="key_refused")
        return (await world.services.store.audit.page(query))[::-1]

    async def test_refusal_tells_whose_key_it_was_and_why(self, world):
        self.note(world, InvalidKey("no", key_id=world.key.id))
        self.note(world, BadCredentials("no", key_id="unknown1"))
        own, unknown = (told.row for told in await self.refused(world))
        assert (own.object, own.org_id, own.result) == (f"key:{world.key.id}", world.org_id, "unauthorized")
        assert (unknown.object, unknown.org_id, unknown.result) == ("key:unknown1", None, "bad_credentials")
        assert (own.address, own.request_id, own.actor) == ("192.0.2.7", "req_1", SYSTEM)

    @pytest.mark.parametrize("error", [InvalidKey("no key"), InvalidToken("no"), Forbidden("no")])
    async def test_what_is_no_key_of_ours_is_passed_over(self, world, error):
        self.note(world, error)
        assert await self.refused(world) == []

    async def test_those_beyond_the_limit_are_counted_in_one_row(self, world):
        minute = world.now // 60 * 60
        for number in range(200):
            self.note(world, InvalidKey("no", key_id=f"{number:08d}"), minute + number % 60)
        await world.services.upkeep.once(minute + 60)
        self.note(world, InvalidKey("no", key_id="next"), minute + 61)
        told = [(one.row.object, one.row.details) for one in await self.refused(world)]
        assert len(told) == 62
        assert told[59:] == [("key:00000059", "{}"), ("key:*", '{"count":140}'), ("key:next", "{}")]

    async def test_those_that_were_counted_are_told_at_the_end(self, world):
        for _ in range(61):
            self.note(world, InvalidKey("no", key_id="x"), world.now)
        await world.restart()
        assert [one.row.details for one in await self.refused(world)][60:] == ['{"count":1}']


async def test_rows_are_kept_for_their_time(world):
    day = 86_400
    await world.issue(now=world.now)
    await world.services.upkeep.once(world.now + 400 * day)
    assert len(await rows(world)) == 5
    await world.services.upkeep.once(world.now + 400 * day + 1)
    assert await rows(world) == []
    await world.issue()
    assert await verified(world) == 1


class TestEntry:
    def told(self, **details):
        return entry(Action.ISSUE, "token:t", actor=SYSTEM, org_id=None, now=7.9, **details)

    def test_details_are_left_out_where_they_are_none(self):
        made = self.told(a=1, b=None)
        assert (made.at, made.details) == (7, '{"a":1}')
        assert self.told().details == "{}"

    def test_details_are_bounded(self):
        assert len(self.told(a="x" * (MAX_DETAILS_BYTES - 8)).details) == MAX_DETAILS_BYTES
        assert self.told(a="ü" * MAX_DETAILS_BYTES).details == '{"omitted_bytes":2056}'

    async def test_keys_and_tokens_are_hidden(self, world):
        secrets = (world.key_text, "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl")
        for text in secrets:
            made = entry(Action.REVOKE, f"client:{text}", actor=SYSTEM, org_id=None, now=0, name=f"<{text}>")
            assert text not in repr(made) and "[hidden]" in made.object and "[hidden]" in made.details


async def test_refresh_exchange_and_reuse(world):
    """One row for each change; a repeat of the same answer changes nothing and leaves none."""
    token = await world.issue()
    renewals, family = world.services.renewals, token.family

    async def refresh(text, later):
        return await renewals.refresh(family.token_id, text, origin=None, now=world.now + later, trace=TRACE)

    first = await refresh(token.text, 60)
    await refresh(token.text, 61)
    await world.services.exchange.exchange(
        first.text, key=None, organization=world.organization, origin=None, now=world.now + 62, trace=TRACE
    )
    await refresh(first.text, 63)
    with pytest.raises(InvalidToken):
        await refresh(token.text, 200)
    page = await world.services.audit.list(ALL, key=world.administrator, org_id=None, limit=4, cursor=None)
    assert [told.row.action for told in page.items] == ["refresh_reuse", "refresh", "exchange", "refresh"]
    assert {told.user_id for told in page.items} == {family.user_id}
    assert {told.row.address for told in page.items} == {"192.0.2.7"}
    await verified(world)
