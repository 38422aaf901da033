"""Tokens: issued, listed, looked at, revoked."""

import asyncio
from dataclasses import replace

import pytest

from tokenmq.access.grants import Grant
from tokenmq.access.permission import Permission
from tokenmq.errors import (
    Forbidden,
    GrantTooWide,
    InvalidKey,
    InvalidRequest,
    InvalidToken,
    NotFound,
    Unavailable,
)
from tokenmq.services.keys import Revoked
from tokenmq.services.tokens import Replacing, RevokeRequest, TokenStatus
from tokenmq.tokens import jwt


def connect(world, token):
    return world.services.authenticator.connect(world.credentials(token), world.now)


async def view(world, token):
    return await world.services.tokens.get(
        token.family.token_id, key=world.key, org_id=world.org_id, now=world.now
    )


async def revoke(world, *, key=None, now=None, **request):
    return await world.services.tokens.revoke(
        RevokeRequest(**request), key=key or world.key, org_id=world.org_id, now=now or world.now
    )


async def listed(world, *, key=None, **query):
    query = {"user_id": None, "status": None, "limit": None, "cursor": None, "now": world.now, **query}
    return await world.services.tokens.list(key=key or world.key, org_id=world.org_id, **query)


class TestIssue:
    async def test_answer_is_what_was_signed_and_what_was_stored(self, world):
        token = await world.issue(
            "ann", user_email="a@b", ttl_seconds=600, client_id="c", integration_id="web", metadata={"a": [1]}
        )
        claims = jwt.verify(
            token.text, world.services.signing.keyring, issuer="tokenmq", now=world.now, org_id=world.org_id
        )
        family = token.family
        assert (claims.sub, claims.fam, claims.jti, claims.exp) == (
            "ann",
            family.token_id,
            family.jti,
            world.now + 600,
        )
        assert (
            claims.grants
            == family.grants
            == (Grant((Permission.PUBLISH, Permission.SUBSCRIBE), ("chat/#",)),)
        )
        assert (family.user_email, family.integration_id, family.metadata) == ("a@b", "web", {"a": [1]})
        assert (family.key_id, family.kid) == (
            world.key.id,
            world.services.signing.keyring.current(world.now).kid,
        )
        assert token.username == f"ann@{world.org_id}"
        assert token.refresh_recommended_at == world.now + 540
        assert (await view(world, token)).family == family

    async def test_refresh_that_could_not_extend_is_recommended_at_the_end(self, world):
        token = await world.issue(renewable=False, ttl_seconds=600)
        assert token.refresh_recommended_at == world.now + 600

    async def test_text_of_a_token_does_not_show_itself_and_is_not_stored(self, world):
        token = await world.issue()
        assert token.text not in repr(token)
        await world.services.close()
        stored = b"".join(path.read_bytes() for path in world.folder.iterdir())
        assert token.family.token_id.encode() in stored
        for part in token.text.split(".")[1:]:
            assert part.encode() not in stored

    async def test_ids_and_jtis_are_unique(self, world):
        tokens = await asyncio.gather(*(world.issue() for _ in range(50)))
        assert len({token.family.token_id for token in tokens}) == 50
        assert len({token.family.jti for token in tokens}) == 50

    async def test_ids_of_what_is_made_together_lie_together(self, world):
        times = (world.now, world.now + 0.0001, world.now + 1)
        first, second, later = [(await world.issue(now=now)).family.token_id for now in times]
        assert first[:13] == second[:13] != later[:13]
        assert first != second

    async def test_restricted_key_needs_the_scope_and_gives_at_most_its_own(self, world):
        rights = {"permissions": ("publish",), "topics": ("chat/#",)}
        maker = (await world.create_key("rk", scopes=("tokens:create",), **rights)).record
        reader = (await world.create_key("rk", scopes=("tokens:read",), **rights)).record
        await world.issue(key=maker, permissions=(Permission.PUBLISH,))
        with pytest.raises(GrantTooWide):
            await world.issue(key=maker, permissions=(Permission.SUBSCRIBE,))
        with pytest.raises(Forbidden):
            await world.issue(key=reader, permissions=(Permission.PUBLISH,))

    async def test_publishable_key_makes_none(self, world):
        with pytest.raises(Forbidden):
            await world.issue(key=(await world.create_key("pk")).record)

    async def test_key_makes_none_for_another_organization(self, world):
        other, other_key = await world.other_organization()
        with pytest.raises(NotFound):
            await world.issue(organization=other)
        with pytest.raises(NotFound):
            await world.issue(key=other_key)

    async def test_administrator_makes_them_for_any_organization(self, world):
        other, _ = await world.other_organization()
        token = await world.issue(key=world.administrator, organization=other)
        assert token.family.org_id == other.id

    async def test_organizations_settings_bound_the_life(self, world):
        organization = await world.services.organizations.patch(
            world.org_id,
            name=None,
            settings={"default_ttl_seconds": 120, "max_ttl_seconds": 300},
            key=world.administrator,
            now=world.now,
        )
        assert (await world.issue(organization=organization)).family.ttl_seconds == 120
        with pytest.raises(InvalidRequest):
            await world.issue(organization=organization, ttl_seconds=301)

    async def test_key_that_is_deleted_between_check_and_commit_is_refused(self, world):
        created = await world.create_key()
        issuing = asyncio.ensure_future(world.issue(key=created.record))
        deleting = asyncio.ensure_future(
            world.services.keys.delete(
                created.record.id, key=world.key, org_id=world.org_id, revoke_tokens=False, now=world.now
            )
        )
        await deleting
        with pytest.raises(InvalidKey):
            await issuing
        assert (await listed(world)).items == []

    async def test_v102_failed_commit_is_unavailable_and_the_token_is_worth_nothing(self, world):
        heal = world.fail_commits()
        with pytest.raises(Unavailable):
            await world.issue()
        heal()
        assert (await listed(world)).items == []
        await world.issue()


class TestReplacing:
    async def test_families_without_a_live_connection_stop_refreshing_and_still_connect(self, world):
        idle, live = await world.issue(), await world.issue()
        world.broker.live = {live.family.token_id}
        new = await world.issue(replacing=Replacing(families=True))
        assert (await view(world, idle)).status is TokenStatus.REPLACED
        assert (await view(world, live)).status is TokenStatus.ACTIVE
        assert (await view(world, new)).status is TokenStatus.ACTIVE
        connect(world, idle)
        assert world.broker.told == []

    async def test_replaced_sessions_are_closed_and_their_passwords_open_none(self, world):
        idle, live = await world.issue(), await world.issue()
        world.broker.live = {live.family.token_id}
        new = await world.issue(replacing=Replacing(sessions=True))
        both = sorted([idle.family.token_id, live.family.token_id])
        assert world.broker.told == [("displace", world.org_id, both, "replaced by a later token")]
        for token in (idle, live):
            with pytest.raises(InvalidToken):
                connect(world, token)
        connect(world, new)
        await world.restart()
        with pytest.raises(InvalidToken):
            connect(world, idle)
        connect(world, new)

    async def test_other_integrations_and_users_are_left_alone(self, world):
        kept = [await world.issue("bob"), await world.issue(integration_id="web")]
        await world.issue(replacing=Replacing(sessions=True))
        for token in kept:
            assert (await view(world, token)).status is TokenStatus.ACTIVE
            connect(world, token)


class TestLists:
    async def test_newest_come_first_in_pages(self, world):
        made = [(await world.issue(now=world.now + i)).family for i in range(5)]
        first = await listed(world, limit=3)
        second = await listed(world, limit=3, cursor=first.next)
        assert [one.family for one in (*first.items, *second.items)] == made[::-1]
        assert second.next is None

    async def test_by_user_and_status(self, world):
        ann, bob = await world.issue(), await world.issue("bob")
        await revoke(world, user_id="bob")
        assert [one.family for one in (await listed(world, user_id="ann")).items] == [ann.family]
        revoked = (await listed(world, status="revoked")).items
        assert [(one.family.token_id, one.status) for one in revoked] == [
            (bob.family.token_id, TokenStatus.REVOKED)
        ]
        assert (await listed(world, user_id="ann", status="revoked")).items == []

    async def test_status_follows_the_time(self, world):
        token = await world.issue(ttl_seconds=60)
        at_end = await listed(world, now=world.now + 60)
        assert [one.status for one in at_end.items] == [TokenStatus.EXPIRED]
        assert (await listed(world, status="expired")).items == []
        assert len((await listed(world, status="expired", now=world.now + 60)).items) == 1
        assert (await view(world, token)).status is TokenStatus.ACTIVE

    @pytest.mark.parametrize(
        "query",
        [
            {"limit": 0},
            {"limit": -1},
            {"limit": 501},
            {"limit": 2**70},
            {"cursor": ""},
            {"cursor": "x"},
            {"cursor": "A" * 10_000},
            {"status": ""},
            {"status": "lapsed"},
            {"user_id": ""},
            {"user_id": "a\x00"},
            {"user_id": "\ud800"},
            {"user_id": "x" * 256},
        ],
    )
    async def test_v49_wrong_query_is_refused(self, world, query):
        with pytest.raises(InvalidRequest):
            await listed(world, **query)

    async def test_v49_cursor_of_another_list_or_with_a_bit_changed_is_refused(self, world):
        for _ in range(3):
            await world.issue()
        cursor = (await listed(world, limit=1)).next
        assert cursor is not None
        with pytest.raises(InvalidRequest):
            await listed(world, limit=1, cursor=cursor, user_id="ann")
        for position in range(len(cursor)):
            changed = cursor[:position] + ("A" if cursor[position] != "A" else "B") + cursor[position + 1 :]
            with pytest.raises(InvalidRequest):
                await listed(world, limit=1, cursor=changed)

    async def test_foreign_token_answers_as_one_that_is_not_there(self, world):
        other, other_key = await world.other_organization()
        token = await world.issue(key=other_key, organization=other)
        messages = set()
        for token_id in (token.family.token_id, "tok_" + "a" * 26, "x", "' OR 1=1 --"):
            for use in (world.services.tokens.get, world.services.tokens.delete):
                with pytest.raises(NotFound) as caught:
                    await use(token_id, key=world.key, org_id=world.org_id, now=world.now)
                messages.add((str(caught.value), caught.value.code))
        assert len(messages) == 1
        assert (await listed(world)).items == []

    async def test_scope_is_needed(self, world):
        key = (await world.create_key("rk", scopes=("tokens:revoke",))).record
        token = await world.issue()
        with pytest.raises(Forbidden):
            await listed(world, key=key)
        with pytest.raises(Forbidden):
            await world.services.tokens.get(
                token.family.token_id, key=key, org_id=world.org_id, now=world.now
            )


class TestRevoke:
    async def test_revoked_family_is_refused_at_once_and_its_connections_closed(self, world):
        token, other = await world.issue(), await world.issue("bob")
        world.broker.live = {token.family.token_id}
        assert await revoke(world, user_id="ann", reason="left") == Revoked(1, 1)
        assert world.broker.told == [("revoke", world.org_id, [token.family.token_id], "left")]
        with pytest.raises(InvalidToken, match="revoked"):
            connect(world, token)
        connect(world, other)
        shown = await view(world, token)
        assert (shown.status, shown.family.revoked_reason) == (TokenStatus.REVOKED, "left")

    async def test_retained_messages_are_kept_on_the_disk_and_in_the_broker_if_asked_for(self, world):
        token, other = await world.issue(), await world.issue("bob")
        await revoke(world, user_id="ann", keep_retained=True)
        await revoke(world, user_id="bob")
        assert [told[2:] for told in world.broker.told] == [
            ([token.family.token_id], "revoked", "retained kept"),
            ([other.family.token_id], "revoked"),
        ]
        assert (await view(world, token)).family.retained_kept
        assert not (await view(world, other)).family.retained_kept

    async def test_v101_restart_brings_nothing_back(self, world):
        token = await world.issue()
        await revoke(world, token_id=token.family.token_id)
        await world.restart()
        with pytest.raises(InvalidToken, match="revoked"):
            connect(world, token)
        await world.restart()
        with pytest.raises(InvalidToken, match="revoked"):
            connect(world, token)

    async def test_client_id_ends_the_family_that_opened_its_session_too(self, world):
        bound, opener, other = await world.issue(client_id="c9"), await world.issue(), await world.issue()
        world.broker.openers = {(world.org_id, "c9"): opener.family.token_id}
        assert await revoke(world, client_id="c9") == Revoked(2, 0)
        for token in (bound, opener):
            assert (await view(world, token)).status is TokenStatus.REVOKED
        connect(world, other)

    async def test_key_id_all_and_issued_before(self, world):
        key = (await world.create_key()).record
        by_key, old, young = (
            await world.issue(key=key),
            await world.issue(),
            await world.issue(now=world.now + 10),
        )
        assert (await revoke(world, key_id=key.id)).revoked == 1
        with pytest.raises(InvalidToken):
            connect(world, by_key)
        assert (await revoke(world, all=True, issued_before=world.now + 10.0)).revoked == 1
        with pytest.raises(InvalidToken):
            connect(world, old)
        assert (await view(world, young)).status is TokenStatus.ACTIVE
        assert (await revoke(world, all=True)).revoked == 1

    async def test_what_is_not_there_is_no_error_and_closes_nothing(self, world):
        assert await revoke(world, token_id="tok_" + "a" * 26) == Revoked(0, 0)
        assert await revoke(world, user_id="nobody") == Revoked(0, 0)
        assert world.broker.told == []

    async def test_token_issued_after_is_new(self, world):
        await world.issue()
        await revoke(world, user_id="ann")
        connect(world, await world.issue())

    @pytest.mark.parametrize(
        "request_",
        [
            {},
            {"user_id": "a", "token_id": "b"},
            {"user_id": "a", "all": True},
            {"user_id": ""},
            {"client_id": "a\x00b"},
            {"key_id": "x" * 65},
            {"all": True, "reason": "x" * 256},
            {"all": True, "reason": "a\nb"},
            {"issued_before": 5.0},
        ],
        ids=repr,
    )
    async def test_request_that_does_not_say_one_thing_is_refused_and_revokes_nothing(self, world, request_):
        token = await world.issue()
        with pytest.raises(InvalidRequest):
            await revoke(world, **request_)
        connect(world, token)

    async def test_v103_failing_store_is_an_error_and_memory_is_unchanged(self, world):
        token = await world.issue()
        heal = world.fail_commits()
        with pytest.raises(Unavailable):
            await revoke(world, user_id="ann")
        with pytest.raises(Unavailable):
            await world.services.tokens.delete(
                token.family.token_id, key=world.key, org_id=world.org_id, now=world.now
            )
        assert world.broker.told == []
        assert len(world.services.families) == 0
        connect(world, token)
        heal()
        assert (await revoke(world, user_id="ann")).revoked == 1
        with pytest.raises(InvalidToken):
            connect(world, token)

    async def test_caller_that_goes_away_does_not_keep_a_revocation_from_taking_hold(self, world):
        token = await world.issue()
        world.broker.live = {token.family.token_id}
        revoking = asyncio.ensure_future(revoke(world, user_id="ann"))
        for _ in range(4):
            await asyncio.sleep(0)
        revoking.cancel()
        await asyncio.gather(revoking, return_exceptions=True)
        # Whatever became of it: memory and disk agree once the writer is through.
        await world.issue("bob")
        stored = (await view(world, token)).status is TokenStatus.REVOKED
        told = [entry[0] for entry in world.broker.told]
        assert told == (["revoke"] if stored else [])

    async def test_foreign_family_is_left_alone(self, world):
        other, other_key = await world.other_organization()
        token = await world.issue(key=other_key, organization=other)
        for request in ({"token_id": token.family.token_id}, {"key_id": other_key.id}, {"all": True}):
            assert (await revoke(world, **request)).revoked == 0
        connect(world, token)

    async def test_scope_is_needed(self, world):
        key = (await world.create_key("rk", scopes=("tokens:read",))).record
        token = await world.issue()
        with pytest.raises(Forbidden):
            await revoke(world, key=key, all=True)
        with pytest.raises(Forbidden):
            await world.services.tokens.delete(
                token.family.token_id, key=key, org_id=world.org_id, now=world.now
            )


class TestIntrospect:
    def introspect(self, world, text, *, key=None, org_id=None, now=None):
        return world.services.tokens.introspect(
            text, key=key or world.key, org_id=org_id or world.org_id, now=now or world.now
        )

    async def test_good_token_shows_its_claims(self, world):
        token = await world.issue()
        found = self.introspect(world, token.text)
        assert (found.claims.jti, found.username) == (token.family.jti, token.username)

    async def test_anything_else_is_none(self, world):
        other, other_key = await world.other_organization()
        token, foreign = await world.issue(), await world.issue(key=other_key, organization=other)
        assert self.introspect(world, token.text, now=world.now + 3_600) is None
        assert self.introspect(world, foreign.text) is None
        for text in ("", "x", world.key_text, token.text[:-1], token.text + "=", "\ud800"):
            assert self.introspect(world, text) is None
        await revoke(world, user_id="ann")
        assert self.introspect(world, token.text) is None

    async def test_replaced_one_lives_until_its_sessions_are_replaced(self, world):
        token = await world.issue()
        await world.issue(replacing=Replacing(families=True))
        assert self.introspect(world, token.text) is not None
        await world.issue(replacing=Replacing(sessions=True))
        assert self.introspect(world, token.text) is None

    async def test_scope_is_needed(self, world):
        token = await world.issue()
        for kind, asked in (("pk", {}), ("rk", {"scopes": ("tokens:revoke",)})):
            key = (await world.create_key(kind, **asked)).record
            with pytest.raises(Forbidden):
                self.introspect(world, token.text, key=key)
        with pytest.raises(NotFound):
            self.introspect(world, token.text, key=replace(world.key, org_id="org_aaaaaaaaaaaa"))
