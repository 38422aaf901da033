"""Providers: set up, held against policy and each other, kept sealed, and asked who proves whom."""

import hmac
import json
from dataclasses import replace

import msgspec
import pytest

from tokenmq.access.grants import Grant
from tokenmq.access.permission import Permission
from tokenmq.errors import (
    ClaimMissing,
    Conflict,
    ExpiredToken,
    Forbidden,
    InvalidRequest,
    InvalidToken,
    NotFound,
    Unavailable,
)
from tokenmq.services.audit import Filters
from tokenmq.services.providers import MAX_PROVIDERS, ProviderRequest
from tokenmq.services.sealing import Seal
from tokenmq.services.upstream import Upstream
from tokenmq.tokens import base64url
from tokenmq.tokens.foreign.configuration import ProviderKind

SECRET = "a-shared-secret-of-more-than-32-bytes"
ISSUER = "https://login.example"


@pytest.fixture
def here(world, endpoint):
    """Let keys be fetched from the endpoint on loopback."""
    upstream = Upstream({endpoint.host})
    world.services.providers._upstream = upstream
    world.services.key_sets._documents = upstream
    return world


@pytest.fixture
def add(world):
    """Set a provider up; an oidc one unless it is said otherwise."""

    async def create(name="idp", kind="oidc", *, secret=None, enabled=None, accept=True, key=None, **fields):
        if kind == "oidc":
            fields = {
                "issuer": ISSUER,
                "audience": ["web"],
                "jwks_url": "https://login.example/jwks",
                **fields,
            }
        request = ProviderRequest(
            name=name, configuration=fields, secret=secret, enabled=enabled, accept_open_policy=accept
        )
        return await world.services.providers.create(
            ProviderKind(kind), request, key=key or world.key, org_id=world.org_id, now=world.now
        )

    return create


@pytest.fixture
def patch(world):
    async def change(record, *, key=None, org_id=None, **asked):
        return await world.services.providers.patch(
            record.id,
            ProviderRequest(**asked),
            key=key or world.key,
            org_id=org_id or world.org_id,
            now=world.now,
        )

    return change


def listed(world):
    return world.services.providers.list(world.org_id)


class TestSettingUp:
    async def test_provider_is_there_after_a_restart(self, world, add):
        record = await add(attrs=["plan"])
        assert record.enabled and record.configuration.attrs == ("plan",)
        assert listed(world) == [record]
        await world.restart()
        assert listed(world) == [record]

    async def test_policy_that_lets_everybody_do_everything_must_be_accepted(self, world, add, patch):
        with pytest.raises(Conflict, match="accept_open_policy"):
            await add(accept=False)
        assert listed(world) == []
        record = await add(enabled=False, accept=False)
        with pytest.raises(Conflict, match="accept_open_policy"):
            await patch(record, enabled=True)
        enabled = await patch(record, enabled=True, accept_open_policy=True)
        # What is enabled stays so.
        assert (await patch(enabled, name="renamed")).enabled

    async def test_policy_that_was_changed_needs_no_word(self, world, add, monkeypatch):
        monkeypatch.setattr(world.services.organizations, "policy_is_untouched", lambda _: False)
        assert (await add(accept=False)).enabled

    async def test_of_several_each_needs_its_own_prefix(self, world, add, patch):
        first = await add()
        with pytest.raises(Conflict, match="user_prefix"):
            await add("second", issuer="https://b.example", user_prefix="b:")
        first = await patch(first, configuration={"user_prefix": "a:"})
        second = await add("second", issuer="https://b.example", user_prefix="b:")
        for prefix in ("", "a:", "a", "a:b"):
            with pytest.raises(Conflict, match="user_prefix"):
                await patch(second, configuration={"user_prefix": prefix})
        # A disabled one is in nobody's way.
        await patch(second, enabled=False)
        await patch(first, configuration={"user_prefix": None})
        with pytest.raises(Conflict, match="user_prefix"):
            await patch(second, enabled=True, accept_open_policy=True)

    async def test_of_several_each_has_its_own_issuer(self, add):
        await add(user_prefix="a:")
        with pytest.raises(Conflict, match="issuer"):
            await add("second", user_prefix="b:")

    async def test_name_is_taken_once(self, add):
        await add(enabled=False)
        with pytest.raises(Conflict, match="taken"):
            await add(enabled=False)

    async def test_fields_that_are_wrong_are_named(self, add, patch):
        with pytest.raises(InvalidRequest) as refusal:
            await add(kind="auth0", domain="https://x", audience=["api"], project_id="p")
        assert [name for name, _ in refusal.value.problems] == ["project_id", "domain"]
        with pytest.raises(InvalidRequest, match="name"):
            await add(name="")
        with pytest.raises(InvalidRequest, match="name: required"):
            await add(name=None)
        record = await add()
        with pytest.raises(InvalidRequest, match="is needed for oidc"):
            await patch(record, configuration={"audience": None})
        with pytest.raises(InvalidRequest, match="audience"):
            await patch(record, configuration={"audience": 7})

    @pytest.mark.parametrize("url", ["http://login.example/jwks", "https://127.0.0.1/jwks", "https://[::1]/"])
    async def test_address_that_nothing_is_fetched_from_is_refused(self, add, url):
        with pytest.raises(InvalidRequest, match="jwks_url"):
            await add(jwks_url=url)
        with pytest.raises(InvalidRequest, match="project_url"):
            await add(kind="supabase", project_url="http://abc.example")
        with pytest.raises(InvalidRequest, match="issuer"):
            await add(jwks_url=None, issuer="http://abc.example")

    async def test_there_are_not_too_many(self, add):
        for number in range(MAX_PROVIDERS):
            await add(f"p{number}", enabled=False)
        with pytest.raises(Conflict, match="at most"):
            await add("one more", enabled=False)

    async def test_scope_and_organization_are_asked(self, world, add, patch):
        lacking = (await world.create_key("rk", scopes=("keys",))).record
        with pytest.raises(Forbidden):
            await add(key=lacking)
        opening = (await world.create_key("rk", scopes=("providers",))).record
        record = await add(key=opening)
        other, other_key = await world.other_organization()
        with pytest.raises(NotFound):
            await patch(record, key=other_key, name="x")
        with pytest.raises(NotFound) as missing:
            await patch(record, key=other_key, org_id=other.id, name="x")
        assert missing.value.code == "provider_not_found"
        with pytest.raises(NotFound):
            await world.services.providers.delete(record.id, key=other_key, org_id=other.id, now=world.now)
        assert listed(world) == [record]

    async def test_failed_commit_changes_nothing(self, world, add, patch):
        record = await add()
        restore = world.fail_commits()
        with pytest.raises(Unavailable):
            await patch(record, enabled=False)
        with pytest.raises(Unavailable):
            await world.services.providers.delete(
                record.id, key=world.key, org_id=world.org_id, now=world.now
            )
        restore()
        assert world.services.providers.require_enabled(record.id) == record

    async def test_providers_end_with_their_organization(self, world, add):
        record = await add()
        await world.services.organizations.delete(world.org_id, key=world.administrator, now=world.now)
        with pytest.raises(InvalidToken):
            world.services.providers.require_enabled(record.id)
        assert listed(world) == []


class TestSecret:
    async def supabase(self, add, **more):
        return await add(kind="supabase", project_url="https://abc.example", secret=SECRET, **more)

    async def test_secret_is_sealed_where_there_is_a_passphrase(self, world, add):
        record = await self.supabase(add)
        assert SECRET.encode() in record.secret
        assert SECRET not in repr(record)
        assert world.services.providers.secret_of(record) == SECRET.encode()
        providers = world.services.providers
        providers._seal = Seal("passphrase")
        # As at a start with a passphrase that was not there before.
        await providers.load()
        (sealed,) = await world.services.store.providers.load()
        assert SECRET.encode() not in sealed.secret
        assert providers.secret_of(sealed) == SECRET.encode()

    async def test_secret_comes_and_goes(self, world, add, patch):
        record = await self.supabase(add)
        changed = await patch(record, secret=SECRET[::-1])
        assert world.services.providers.secret_of(changed) == SECRET[::-1].encode()
        gone = await patch(record, drops_secret=True)
        assert (gone.secret, world.services.providers.secret_of(gone)) == (None, None)

    async def test_short_secret_and_one_for_another_kind_are_refused(self, add):
        with pytest.raises(InvalidRequest, match="jwt_secret"):
            await add(kind="supabase", project_url="https://abc.example", secret="x" * 31)
        with pytest.raises(InvalidRequest, match="jwt_secret: is for supabase only"):
            await add(secret=SECRET)


class TestProof:
    @pytest.fixture
    async def idp(self, here, add, endpoint, answers, first_key, second_key):
        """A provider whose keys are on loopback."""
        endpoint.answer = answers.reply({"keys": [first_key.public, second_key.public]})
        return await add(
            jwks_url=f"{endpoint.url}/jwks",
            user_prefix="o:",
            attrs=["plan"],
            mapping=[
                {
                    "claim": "role",
                    "equals": "admin",
                    "grants": [{"permissions": ["publish"], "topics": ["a/#"]}],
                }
            ],
        )

    @pytest.fixture
    def claims(self, world):
        return {
            "iss": ISSUER,
            "aud": "web",
            "sub": "ann",
            "role": "admin",
            "plan": "free",
            "iat": world.now,
            "exp": world.now + 60,
        }

    @pytest.fixture
    def prove(self, world):
        async def ask(token, *, provider=None, now=None, org_id=None):
            return await world.services.proofs.prove(
                org_id or world.org_id, token, provider=provider, now=now or world.now
            )

        return ask

    async def test_keys_of_both_kinds_prove_a_user(self, idp, prove, claims, first_key, second_key, world):
        for key in (first_key, second_key):
            user = await prove(key.token(**claims))
            assert (user.user_id, user.user_email, user.attrs) == ("o:ann", "o:ann", {"plan": "free"})
            assert user.grants == (Grant((Permission.PUBLISH,), ("a/#",)),)
            assert (user.provider_id, user.provider, user.expires_at) == (idp.id, "oidc", world.now + 60)

    async def test_rotation_is_followed_and_a_withdrawn_key_ends(
        self, idp, prove, claims, first_key, new_key, endpoint, answers, world
    ):
        clock = [1_000.0]
        world.services.key_sets._mono = lambda: clock[0]
        await prove(first_key.token(**claims))
        third = new_key("ES256", "third")
        endpoint.answer = answers.reply({"keys": [third.public]})
        clock[0] += 30
        assert (await prove(third.token(**claims))).user_id == "o:ann"
        with pytest.raises(InvalidToken, match="no key"):
            await prove(first_key.token(**claims))
        # A key that is not the one of that name.
        with pytest.raises(InvalidToken, match="signature"):
            await prove(new_key("ES256", "third").token(**claims))

    async def test_shared_secret_proves_without_any_fetch(self, world, add, prove, claims, endpoint):
        await add(kind="supabase", project_url="https://abc.example", secret=SECRET)
        said = {
            **claims,
            "iss": "https://abc.example/auth/v1",
            "aud": "authenticated",
            "role": "authenticated",
        }
        parts = [base64url.encode(msgspec.json.encode(one)) for one in ({"alg": "HS256", "typ": "JWT"}, said)]
        message = b".".join(parts)
        text = (message + b"." + base64url.encode(hmac.digest(SECRET.encode(), message, "sha256"))).decode()
        assert (await prove(text)).user_id == "ann"
        with pytest.raises(InvalidToken, match="signature"):
            await prove(text[:-4] + "AAAA")
        assert endpoint.connections == 0

    async def test_provider_may_be_named_and_must_fit(self, idp, prove, claims, first_key):
        token = first_key.token(**claims)
        for name in ("oidc", idp.id, None):
            assert (await prove(token, provider=name)).user_id == "o:ann"
        for name in ("auth0", "idp_other", "", "OIDC"):
            with pytest.raises(NotFound) as missing:
                await prove(token, provider=name)
            assert missing.value.code == "provider_not_found"

    async def test_token_of_an_unknown_issuer_has_no_provider(self, idp, prove, claims, first_key):
        for issuer in ("https://other.example", f"{ISSUER}/", ""):
            with pytest.raises(NotFound) as missing:
                await prove(first_key.token(**{**claims, "iss": issuer}))
            assert missing.value.code == "provider_not_found"

    async def test_another_organizations_provider_is_none(self, idp, prove, claims, first_key, world):
        other, _ = await world.other_organization()
        with pytest.raises(NotFound):
            await prove(first_key.token(**claims), org_id=other.id)

    async def test_disabled_or_deleted_provider_proves_nobody(
        self, idp, prove, claims, first_key, patch, world
    ):
        providers = world.services.providers
        token = first_key.token(**claims)
        await patch(idp, enabled=False)
        with pytest.raises(NotFound):
            await prove(token)
        with pytest.raises(InvalidToken):
            providers.require_enabled(idp.id)
        await patch(idp, enabled=True, accept_open_policy=True)
        await prove(token)
        assert providers.require_enabled(idp.id).id == idp.id
        await providers.delete(idp.id, key=world.key, org_id=world.org_id, now=world.now)
        with pytest.raises(NotFound):
            await prove(token)
        with pytest.raises(InvalidToken):
            providers.require_enabled(idp.id)

    async def test_provider_that_is_changed_while_its_keys_are_fetched_proves_nobody(
        self, idp, prove, claims, first_key, world, monkeypatch
    ):
        """What was found before the await is held against what is true after it."""
        find = world.services.key_sets.find

        async def slow(*asked):
            key = await find(*asked)
            world.services.providers._take(replace(idp, enabled=False))
            return key

        monkeypatch.setattr(world.services.key_sets, "find", slow)
        with pytest.raises(InvalidToken, match="disabled or deleted"):
            await prove(first_key.token(**claims))

    async def test_what_is_wrong_with_a_token_is_told_apart(self, idp, prove, claims, first_key, world):
        with pytest.raises(ExpiredToken):
            await prove(first_key.token(**claims), now=world.now + 90)
        with pytest.raises(ClaimMissing, match="email or sub claim required"):
            await prove(first_key.token(**{**claims, "sub": None}))
        with pytest.raises(Forbidden, match="mapping"):
            await prove(first_key.token(**{**claims, "role": "user"}))
        with pytest.raises(InvalidToken, match="audience"):
            await prove(first_key.token(**{**claims, "aud": "other"}))
        for junk in ("", "x", "a.b.c", "é"):
            with pytest.raises(InvalidToken):
                await prove(junk)

    async def test_keys_that_cannot_be_had_are_no_fault_of_the_token(
        self, idp, prove, claims, first_key, endpoint, answers
    ):
        endpoint.answer = answers.reply(b"", status=500)
        with pytest.raises(Unavailable):
            await prove(first_key.token(**claims))

    async def test_token_of_ours_proves_nobody_here(self, idp, prove, world):
        token = await world.issue()
        with pytest.raises(NotFound):
            await prove(token.text)


async def test_n6_each_change_leaves_its_row_and_no_secret(world, patch):
    request = ProviderRequest(
        name="shop",
        configuration={"project_url": "https://abc.example"},
        secret=SECRET,
        accept_open_policy=True,
    )
    record = await world.services.providers.create(
        ProviderKind.SUPABASE, request, key=world.key, org_id=world.org_id, now=world.now
    )
    with pytest.raises(InvalidRequest):
        await patch(record, configuration={"issuer": "x"})
    await patch(record, enabled=False, configuration={"attrs": ["plan"]})
    await world.services.providers.delete(record.id, key=world.key, org_id=world.org_id, now=world.now)
    page = await world.services.audit.list(
        Filters(object=f"provider:{record.id}"), key=world.key, org_id=world.org_id, limit=9, cursor=None
    )
    shared = {"kind": "supabase", "name": "shop"}
    assert [(told.row.actor, told.row.action, json.loads(told.row.details)) for told in page.items][::-1] == [
        (
            f"key:{world.key.id}",
            "provider_create",
            {
                **shared,
                "enabled": True,
                "changed": ["project_url", "jwt_secret"],
                "open_policy_accepted": True,
            },
        ),
        (f"key:{world.key.id}", "provider_update", {**shared, "enabled": False, "changed": ["attrs"]}),
        (f"key:{world.key.id}", "provider_delete", {**shared, "enabled": False}),
    ]
