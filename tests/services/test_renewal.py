"""Refreshing and exchanging tokens of ours: the contract, sentence by sentence."""

import asyncio
from dataclasses import replace

import msgspec
import pytest

from tokenmq.errors import (
    ExpiredToken,
    Forbidden,
    InvalidToken,
    NotFound,
    RateLimited,
    Unavailable,
)
from tokenmq.services.revocation import RevokeRequest
from tokenmq.services.tokens import Replacing
from tokenmq.tokens import base64url
from tokenmq.tokens.family import renewal_of


async def refresh(world, token, *, later=60, token_id=None, origin=None):
    return await world.services.renewals.refresh(
        token_id or token.family.token_id, token.text, origin=origin, now=world.now + later
    )


async def exchange(world, token, *, later=60, organization=None, **more):
    asked = {"key": None, "origin": None, **more}
    return await world.services.exchange.exchange(
        token.text, organization=organization or world.organization, now=world.now + later, **asked
    )


async def stored(world, token):
    return await world.services.store.families.get(token.family.org_id, token.family.token_id)


async def revoke(world, **request):
    return await world.services.tokens.revoke(
        RevokeRequest(**request), key=world.key, org_id=world.org_id, now=world.now
    )


async def change(world, **settings):
    world.organization = await world.services.organizations.patch(
        world.org_id, name=None, settings=settings, key=world.administrator
    )


def is_active(world, token, later=60):
    found = world.services.tokens.introspect(
        token.text, key=world.key, org_id=world.org_id, now=world.now + later
    )
    return found is not None


def told(world, what):
    return [one for one in world.broker.told if one[0] == what]


class TestRefresh:
    async def test_answer_is_the_next_password_of_the_same_family(self, world):
        first = await world.issue("ann", ttl_seconds=600, metadata={"a": 1}, client_id="c1")
        second = await refresh(world, first)
        assert second.family == replace(
            first.family,
            gen=1,
            jti=second.family.jti,
            issued_at=world.now + 60,
            expires_at=world.now + 660,
            superseded_at=world.now + 60,
        )
        assert second.family.jti != first.family.jti
        assert second.username == first.username
        assert second.refresh_recommended_at == world.now + 60 + 540
        assert is_active(world, second)
        assert await stored(world, first) == second.family

    async def test_live_connections_move_in_the_step_of_the_commit(self, world):
        first = await world.issue()
        second = await refresh(world, first)
        assert told(world, "renew") == [
            ("renew", world.org_id, first.family.token_id, renewal_of(second.family))
        ]

    async def test_any_length_of_the_chain_keeps_the_family(self, world):
        token = await world.issue(ttl_seconds=60)
        for number in range(1, 8):
            token = await refresh(world, token, later=number * 50)
            assert token.family.gen == number

    async def test_password_of_another_family_is_refused(self, world):
        first, other = await world.issue(), await world.issue()
        with pytest.raises(InvalidToken, match="token_id"):
            await refresh(world, first, token_id=other.family.token_id)
        assert await stored(world, first) == first.family

    @pytest.mark.parametrize("text", ["", "x", "a.b.c", "eyJ.eyJ.eyJ", "\u00fc"])
    async def test_what_is_no_token_is_refused(self, world, text):
        token = await world.issue()
        with pytest.raises(InvalidToken):
            await world.services.renewals.refresh(token.family.token_id, text, origin=None, now=world.now)

    async def test_family_lapses_for_the_grace_and_is_over_then(self, world):
        token = await world.issue(ttl_seconds=600)
        with pytest.raises(ExpiredToken):
            await refresh(world, token, later=901)
        assert (await refresh(world, token, later=900)).family.gen == 1

    async def test_family_that_is_not_renewable_is_forbidden_then_expired(self, world):
        token = await world.issue(ttl_seconds=600, renewable=False)
        with pytest.raises(Forbidden):
            await refresh(world, token, later=599)
        with pytest.raises(ExpiredToken):
            await refresh(world, token, later=600)

    async def test_family_ends_for_good_whatever_is_refreshed(self, world):
        await change(world, family_max_seconds=86_400)
        token = await world.issue(ttl_seconds=86_400, organization=world.organization)
        second = await refresh(world, token, later=86_000)
        assert second.family.expires_at == world.now + 86_400
        # A refresh could not extend it.
        assert second.refresh_recommended_at == second.family.expires_at
        with pytest.raises(ExpiredToken):
            await refresh(world, second, later=86_399)
        with pytest.raises(ExpiredToken):
            await refresh(world, second, later=86_400)

    async def test_revoked_and_replaced_families_are_refused(self, world):
        revoked = await world.issue("bob")
        await revoke(world, token_id=revoked.family.token_id)
        replaced = await world.issue()
        await world.issue(replacing=Replacing(families=True))
        displaced = await world.issue("cy")
        await world.issue("cy", replacing=Replacing(sessions=True))
        for token in (revoked, replaced, displaced):
            with pytest.raises(InvalidToken) as refused:
                await refresh(world, token)
            assert type(refused.value) is InvalidToken
        assert is_active(world, replaced)

    async def test_lost_answer_is_repeated(self, world):
        first = await world.issue()
        second = await refresh(world, first)
        again = await refresh(world, first, later=3_000)
        assert again.family == second.family
        assert len(told(world, "renew")) == 1
        assert is_active(world, again, 3_000)

    async def test_lost_answer_is_repeated_for_30_s_even_if_it_was_shown(self, world):
        first = await world.issue()
        second = await refresh(world, first)
        assert is_active(world, second, 61)
        assert (await refresh(world, first, later=89)).family.jti == second.family.jti
        with pytest.raises(InvalidToken):
            await refresh(world, first, later=90)

    @pytest.mark.parametrize("later", [3_659, 3_900])
    async def test_answer_that_could_not_be_used_any_more_is_minted_anew(self, world, later):
        first = await world.issue()
        second = await refresh(world, first)
        anew = await refresh(world, first, later=later)
        assert (anew.family.gen, anew.family.expires_at) == (1, world.now + later + 3_600)
        assert anew.family.jti != second.family.jti
        assert (await refresh(world, first, later=later + 1)).family == anew.family
        # Whoever got the first answer holds the newest generation, too.
        assert (await refresh(world, second, later=later + 2)).family.gen == 2

    async def test_answer_is_minted_anew_when_its_key_is_retired(self, world):
        first = await world.issue()
        kid = world.services.signing.keyring.current(world.now).kid
        await world.services.signing.add(None, now=world.now - 10, current=True)
        second = await refresh(world, first)
        current = world.services.signing.keyring.current(world.now + 100).kid
        assert second.family.kid == current != kid
        await world.services.signing.add(None, now=world.now + 61, current=True)
        await world.services.signing.retire(current, now=world.now + 61)
        anew = await refresh(world, first, later=63)
        assert anew.family.gen == 1 and anew.family.kid not in (current, kid)

    async def test_reuse_revokes_the_family_and_its_connections(self, world):
        first = await world.issue()
        child = await exchange(world, first)
        second = await refresh(world, first)
        third = await refresh(world, second, later=70)
        with pytest.raises(InvalidToken, match="superseded"):
            await refresh(world, first, later=200)
        for token in (first, second, third, child):
            assert not is_active(world, token, 201)
        revoked = sorted([first.family.token_id, child.family.token_id])
        assert told(world, "revoke") == [
            ("revoke", world.org_id, revoked, "a superseded password was used")
        ]
        with pytest.raises(InvalidToken):
            await refresh(world, third, later=202)

    async def test_reuse_detection_can_be_off(self, world):
        await change(world, reuse_detection=False)
        first = await world.issue()
        second = await refresh(world, first)
        third = await refresh(world, second, later=70)
        with pytest.raises(InvalidToken):
            await refresh(world, first, later=200)
        assert is_active(world, third, 201)
        assert told(world, "revoke") == []

    async def test_v100_64_at_once_get_one_successor(self, world):
        first = await world.issue()
        tokens = await asyncio.gather(*(refresh(world, first) for _ in range(64)))
        assert {token.family.jti for token in tokens} == {(await stored(world, first)).jti}
        assert all(is_active(world, token) for token in tokens)
        assert len(told(world, "renew")) == 1

    async def test_v102_failed_commit_uses_nothing_up(self, world):
        first = await world.issue()
        heal = world.fail_commits()
        with pytest.raises(Unavailable):
            await refresh(world, first)
        heal()
        assert await stored(world, first) == first.family
        assert told(world, "renew") == []
        assert (await refresh(world, first, later=3_000)).family.gen == 1

    async def test_v102_failed_commit_of_a_reuse_revokes_nothing(self, world):
        first = await world.issue()
        second = await refresh(world, await refresh(world, first), later=70)
        heal = world.fail_commits()
        with pytest.raises(Unavailable):
            await refresh(world, first, later=200)
        heal()
        assert is_active(world, second, 201)

    async def test_refresh_survives_a_restart(self, world):
        first = await world.issue()
        second = await refresh(world, first)
        await world.restart()
        assert is_active(world, second)
        assert (await refresh(world, first)).family.jti == second.family.jti
        assert (await refresh(world, second, later=70)).family.gen == 2
        await world.restart()
        assert not is_active(world, first, 3_000)

    @pytest.mark.parametrize("how", ["deleted", "expired"])
    async def test_issuing_key_is_asked_again(self, world, how):
        created = await world.create_key(expires_at=world.now + 30 if how == "expired" else None, expires_at_given=True)
        token = await world.issue(key=created.record)
        if how == "deleted":
            await world.services.keys.delete(
                created.record.id, key=world.key, org_id=world.org_id, revoke_tokens=False, now=world.now
            )
        with pytest.raises(InvalidToken, match="key"):
            await refresh(world, token)
        with pytest.raises(InvalidToken, match="key"):
            await exchange(world, token)
        assert is_active(world, token)

    async def test_key_that_is_deleted_between_check_and_commit_is_refused(self, world):
        created = await world.create_key()
        token = await world.issue(key=created.record)
        refreshing = asyncio.ensure_future(refresh(world, token))
        await world.services.keys.delete(
            created.record.id, key=world.key, org_id=world.org_id, revoke_tokens=False, now=world.now
        )
        outcome = (await asyncio.gather(refreshing, return_exceptions=True))[0]
        record = await stored(world, token)
        assert isinstance(outcome, InvalidToken) == (record.gen == 0)

    async def test_policy_that_leaves_nothing_is_a_403(self, world):
        token = await world.issue(topics=("$spaces/a",))
        await change(world, dollar_trees=())
        with pytest.raises(Forbidden, match="policy"):
            await refresh(world, token)
        await change(world, dollar_trees=("$spaces",))
        await refresh(world, token)

    async def test_organization_that_is_gone_is_refused(self, world):
        token = await world.issue()
        await world.services.organizations.delete(world.org_id, key=world.administrator)
        with pytest.raises(InvalidToken):
            await refresh(world, token)

    async def test_page_of_another_origin_is_forbidden_and_changes_nothing(self, world):
        token = await world.issue()
        with pytest.raises(Forbidden, match="origin"):
            await refresh(world, token, origin="https://attacker.example")
        assert await stored(world, token) == token.family
        assert (await refresh(world, token, origin="http://localhost:5173")).family.gen == 1

    async def test_30_generations_a_minute_and_repeats_are_not_counted(self, world):
        token = before = await world.issue()
        for _ in range(30):
            before, token = token, await refresh(world, token)
        with pytest.raises(RateLimited) as refused:
            await refresh(world, token)
        assert (refused.value.quota, refused.value.window_seconds) == (30, 60)
        assert refused.value.retry_after_seconds == 60
        assert (await refresh(world, before)).family == token.family
        await refresh(world, await world.issue())
        assert (await refresh(world, token, later=120)).family.gen == 31

    async def test_refreshes_are_spread_over_5_percent_where_that_is_set(self, world):
        tokens = [await world.issue() for _ in range(50)]
        assert {token.refresh_recommended_at for token in tokens} == {world.now + 3_240}
        await change(world, refresh_spread=True)
        tokens = [await world.issue(organization=world.organization) for _ in range(50)]
        moments = {token.refresh_recommended_at - world.now for token in tokens}
        assert len(moments) > 20 and 3_060 <= min(moments) and max(moments) <= 3_240
        assert {token.family.expires_at for token in tokens} == {world.now + 3_600}
        second = await refresh(world, tokens[0])
        assert second.refresh_recommended_at - tokens[0].refresh_recommended_at == 60


class TestExchange:
    async def test_child_has_a_family_of_its_own(self, world):
        parent = await world.issue("bob", integration_id="web", client_id="c1", ttl_seconds=600)
        child = await exchange(world, parent)
        family = child.family
        assert (family.parent_id, family.gen) == (parent.family.token_id, 0)
        assert family.token_id != parent.family.token_id and family.jti != parent.family.jti
        for name in ("user_id", "client_id", "key_id", "integration_id", "grants", "ttl_seconds", "ends_at"):
            assert getattr(family, name) == getattr(parent.family, name)
        assert (family.issued_at, family.expires_at) == (world.now + 60, world.now + 660)
        assert is_active(world, child) and is_active(world, parent)
        assert (await refresh(world, child, later=100)).family.gen == 1
        assert await stored(world, parent) == parent.family

    async def test_parents_expiry_ends_nothing(self, world):
        parent = await world.issue(ttl_seconds=600)
        child = await exchange(world, parent, later=500)
        assert is_active(world, child, 1_050)
        assert (await refresh(world, child, later=1_050)).family.gen == 1

    async def test_revoking_the_parent_revokes_the_children_everywhere(self, world):
        parent = await world.issue()
        child = await exchange(world, parent)
        grandchild = await exchange(world, child)
        assert grandchild.family.parent_id == parent.family.token_id
        assert (await revoke(world, token_id=parent.family.token_id)).revoked == 3
        for token in (parent, child, grandchild):
            assert not is_active(world, token)
            with pytest.raises(InvalidToken):
                await refresh(world, token)
        await world.restart()
        assert not is_active(world, grandchild)

    async def test_child_of_a_family_that_is_not_renewable_ends_with_it(self, world):
        parent = await world.issue(ttl_seconds=600, renewable=False)
        child = await exchange(world, parent, later=100)
        assert child.family.expires_at == child.family.ends_at == world.now + 600
        assert child.refresh_recommended_at == world.now + 600
        with pytest.raises(Forbidden):
            await refresh(world, child, later=200)

    async def test_expired_password_is_refused(self, world):
        token = await world.issue(ttl_seconds=600)
        for later in (600, 10_000):
            with pytest.raises(ExpiredToken):
                await exchange(world, token, later=later)

    async def test_one_before_is_exchanged_within_its_window_and_reuse_after(self, world):
        first = await world.issue(ttl_seconds=600)
        second = await refresh(world, first, later=500)
        assert (await exchange(world, first, later=610)).family.parent_id == first.family.token_id
        assert (await exchange(world, second, later=620)).family.gen == 0
        with pytest.raises(InvalidToken, match="superseded"):
            await exchange(world, first, later=630)
        assert not is_active(world, second, 631)

    @pytest.mark.parametrize("replacing", [Replacing(families=True), Replacing(sessions=True)])
    async def test_replaced_one_exchanges_nothing(self, world, replacing):
        token = await world.issue()
        await world.issue(replacing=replacing)
        with pytest.raises(InvalidToken):
            await exchange(world, token)

    async def test_replacing_ends_exchanged_ones_too(self, world):
        child = await exchange(world, await world.issue())
        await world.issue(replacing=Replacing(families=True))
        with pytest.raises(InvalidToken):
            await refresh(world, child)

    async def test_v102_failed_commit_makes_none(self, world):
        token = await world.issue()
        heal = world.fail_commits()
        with pytest.raises(Unavailable):
            await exchange(world, token)
        heal()
        await exchange(world, token)

    async def test_30_children_a_minute(self, world):
        token = await world.issue()
        for _ in range(30):
            await exchange(world, token)
        with pytest.raises(RateLimited):
            await exchange(world, token)
        await exchange(world, token, later=120)

    async def test_another_organization_is_refused(self, world):
        token = await world.issue()
        other, _ = await world.other_organization()
        with pytest.raises(InvalidToken):
            await exchange(world, token, organization=other)

    async def test_page_of_another_origin_is_forbidden_without_a_key(self, world):
        token = await world.issue()
        with pytest.raises(Forbidden):
            await exchange(world, token, origin="https://attacker.example")
        await exchange(world, token, origin="https://attacker.example", key=world.key)

    async def test_token_of_an_issuer_that_is_not_ours_finds_no_provider(self, world):
        foreign = msgspec.json.encode({"iss": "https://accounts.example"})
        token = await world.issue()
        text = token.text.split(".")
        text[1] = base64url.encode(foreign).decode()
        with pytest.raises(NotFound) as refused:
            await exchange(world, replace(token, text=".".join(text)))
        assert refused.value.code == "provider_not_found"

    @pytest.mark.parametrize("text", ["", "x", "a.b.c", "..", "eyJ.e30.x", "\u00fc.\u00fc.\u00fc"])
    async def test_what_is_no_token_is_refused(self, world, text):
        with pytest.raises(InvalidToken):
            await exchange(world, replace(await world.issue(), text=text))

    async def test_ours_with_a_broken_signature_is_refused(self, world):
        token = await world.issue()
        with pytest.raises(InvalidToken):
            await exchange(world, replace(token, text=token.text[:-4] + "AAAA"))


class TestElsewhere:
    async def test_newest_and_the_one_before_within_its_window_are_good(self, world):
        first = await world.issue()
        second = await refresh(world, first)
        assert is_active(world, first, 3_000)
        assert is_active(world, second, 3_000)
        # It was shown now, and took the place of the one before more than 30 s ago.
        assert not is_active(world, first, 3_001)

    async def test_one_before_is_good_for_30_s_whatever_is_shown(self, world):
        first = await world.issue()
        second = await refresh(world, first)
        assert is_active(world, second)
        assert is_active(world, first, 89) and not is_active(world, first, 90)

    async def test_older_ones_are_not_and_that_is_no_reuse(self, world):
        first = await world.issue()
        third = await refresh(world, await refresh(world, first))
        assert not is_active(world, first)
        assert is_active(world, third)
        assert told(world, "revoke") == []
