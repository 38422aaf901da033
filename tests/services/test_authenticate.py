"""Whose a connection is: every way in, and every refusal."""

import inspect

import pytest

from tokenmq.access.grants import Grant
from tokenmq.access.permission import Permission
from tokenmq.errors import (
    BadCredentials,
    ClientIdNotPermitted,
    ExpiredToken,
    InvalidToken,
    UnknownMethod,
)
from tokenmq.services.authenticate import Authenticator, Credentials
from tokenmq.services.tokens import Replacing, RevokeRequest


def connect(world, shown, now=None):
    return world.services.authenticator.connect(shown, world.now if now is None else now)


class TestToken:
    async def test_token_as_password_gives_its_identity(self, world):
        token = await world.issue("ann@x/y", client_id="c*")
        identity = connect(world, world.credentials(token))
        family = token.family
        assert identity.username == f"ann%40x%2Fy@{world.org_id}" == token.username
        assert (identity.org_id, identity.user_id) == (world.org_id, "ann@x/y")
        assert (identity.token_id, identity.jti, identity.gen) == (family.token_id, family.jti, 0)
        assert (identity.grants, identity.expires_at) == (family.grants, family.expires_at)
        assert (identity.key_id, identity.client_id, identity.is_server) == (None, "c*", False)

    async def test_token_that_this_process_does_not_know_gives_the_same_identity(self, world):
        token = await world.issue()
        known = connect(world, world.credentials(token))
        await world.restart()
        assert connect(world, world.credentials(token)) == known

    async def test_token_is_refused_from_its_expiry_on(self, world):
        token = await world.issue(ttl_seconds=60)
        connect(world, world.credentials(token), world.now + 59.9)
        with pytest.raises(ExpiredToken):
            connect(world, world.credentials(token), world.now + 60)

    @pytest.mark.parametrize(
        "username",
        ["", None, "ann", "bob@{org}", "ANN@{org}", "%61nn@{org}", "ann@{org} ", "@{org}", "{org}"],
    )
    async def test_wrong_username_is_refused(self, world, username):
        token = await world.issue()
        shown = username.format(org=world.org_id) if username else username
        with pytest.raises(BadCredentials):
            connect(world, world.credentials(token, username=shown))

    async def test_username_of_another_organization_makes_the_token_foreign(self, world):
        token = await world.issue()
        other, _ = await world.other_organization()
        with pytest.raises(InvalidToken):
            connect(world, world.credentials(token, username=f"ann@{other.id}"))

    @pytest.mark.parametrize("password", [None, b"", b"x", b"a.b.c", b"\xff" * 9000, b"\x00"])
    async def test_what_is_no_token_is_refused(self, world, password):
        shown = world.credentials(username=f"ann@{world.org_id}", password=password)
        with pytest.raises(InvalidToken):
            connect(world, shown)

    async def test_key_is_no_token(self, world):
        shown = world.credentials(username=f"ann@{world.org_id}", password=world.key_text.encode())
        with pytest.raises(InvalidToken):
            connect(world, shown)

    async def test_token_bound_to_a_client_id_connects_with_it_alone(self, world):
        exact, prefix = await world.issue(client_id="c1"), await world.issue(client_id="tab-*")
        connect(world, world.credentials(exact, client_id="c1"))
        connect(world, world.credentials(prefix, client_id="tab-7"))
        for token, client_id in ((exact, "c2"), (exact, ""), (prefix, "tab"), (prefix, "c1")):
            with pytest.raises(ClientIdNotPermitted):
                connect(world, world.credentials(token, client_id=client_id))

    async def test_revoked_token_is_refused(self, world):
        token = await world.issue()
        await world.services.tokens.revoke(
            RevokeRequest(user_id="ann"), key=world.key, org_id=world.org_id, now=world.now
        )
        with pytest.raises(InvalidToken, match="revoked"):
            connect(world, world.credentials(token))

    async def test_token_replaced_with_its_sessions_is_refused_one_without_is_not(self, world):
        first = await world.issue()
        second = await world.issue(replacing=Replacing(families=True))
        connect(world, world.credentials(first))
        await world.issue(replacing=Replacing(sessions=True))
        for token in (first, second):
            with pytest.raises(InvalidToken, match="replaced"):
                connect(world, world.credentials(token))

    async def test_token_of_a_deleted_organization_is_refused(self, world):
        token = await world.issue()
        await world.services.organizations.delete(world.org_id, key=world.administrator, now=world.now)
        with pytest.raises(InvalidToken):
            connect(world, world.credentials(token))

    async def test_origin_is_held_against_the_organizations_own_list(self, world):
        token = await world.issue()
        connect(world, world.credentials(token, origin="http://localhost:5173"))
        with pytest.raises(InvalidToken, match="origin"):
            connect(world, world.credentials(token, origin="https://evil.example"))
        with pytest.raises(InvalidToken, match="origin"):
            connect(world, world.credentials(token, origin="http://localhost:80@evil.example"))

    async def test_token_needs_no_trusted_link(self, world):
        connect(world, world.credentials(await world.issue(), trusted_link=False))


class TestMethod:
    def shown(self, world, token, **changes):
        data = token.text.encode()
        changes = {"method": "JWT", "data": data, "username": None, "password": None, **changes}
        return world.credentials(token, **changes)

    @pytest.mark.parametrize("method", ["JWT", "OAUTH2-JWT", "CUSTOM-JWT"])
    async def test_token_stands_in_the_data_and_the_username_is_optional(self, world, method):
        token = await world.issue()
        for username in (None, "", token.username):
            shown = self.shown(world, token, method=method, username=username)
            assert connect(world, shown).token_id == token.family.token_id

    @pytest.mark.parametrize("method", ["", "jwt", "PLAIN", "SCRAM-SHA-256"])
    async def test_unknown_method_is_refused(self, world, method):
        with pytest.raises(UnknownMethod):
            connect(world, self.shown(world, await world.issue(), method=method))

    async def test_username_that_is_there_must_fit(self, world):
        token = await world.issue()
        with pytest.raises(BadCredentials):
            connect(world, self.shown(world, token, username=f"bob@{world.org_id}"))

    async def test_password_beside_it_must_be_equal(self, world):
        token, other = await world.issue(), await world.issue()
        connect(world, self.shown(world, token, password=token.text.encode()))
        for password in (b"", b"x", other.text.encode()):
            with pytest.raises(InvalidToken):
                connect(world, self.shown(world, token, password=password))

    @pytest.mark.parametrize("data", [None, b"", b"x"])
    async def test_data_that_is_no_token_is_refused_whatever_the_password(self, world, data):
        token = await world.issue()
        with pytest.raises(InvalidToken):
            connect(world, self.shown(world, token, data=data, password=token.text.encode()))
        with pytest.raises(InvalidToken):
            connect(world, self.shown(world, token, data=data))

    async def test_key_is_not_taken_by_method(self, world):
        data = world.key_text.encode()
        shown = self.shown(world, await world.issue(), data=data, username=f"server@{world.org_id}")
        with pytest.raises(InvalidToken):
            connect(world, shown)


class TestServer:
    def shown(self, world, text, **changes):
        changes = {"username": f"server@{world.org_id}", "password": text.encode(), **changes}
        return world.credentials(**changes)

    async def test_secret_key_may_do_everything_uncut(self, world):
        identity = connect(world, self.shown(world, world.key_text))
        everything = Grant(tuple(Permission), ("#", "$notifications/#", "$spaces/#"))
        assert (identity.user_id, identity.username) == ("server", f"server@{world.org_id}")
        assert (identity.grants, identity.key_id, identity.token_id) == ((everything,), world.key.id, None)
        assert identity.expires_at is None
        assert identity.owner == ("key", world.key.id)

    async def test_restricted_key_with_mqtt_has_its_own_rights_and_end(self, world):
        created = await world.create_key(
            "rk",
            scopes=("mqtt",),
            permissions=("publish",),
            topics=("a/#",),
            expires_at=world.now + 60,
            expires_at_given=True,
        )
        identity = connect(world, self.shown(world, created.text))
        assert identity.grants == (Grant((Permission.PUBLISH,), ("a/#",)),)
        assert identity.expires_at == world.now + 60
        with pytest.raises(BadCredentials):
            connect(world, self.shown(world, created.text), world.now + 60)

    async def test_other_kinds_of_key_open_no_connection(self, world):
        publishable = await world.create_key("pk")
        other_scope = await world.create_key("rk", scopes=("tokens:read",))
        for text in (publishable.text, other_scope.text):
            with pytest.raises(InvalidToken):
                connect(world, self.shown(world, text))
        with pytest.raises(BadCredentials):
            connect(world, self.shown(world, world.administrator_text))

    async def test_page_or_open_link_is_refused_before_the_key_is_looked_at(self, world):
        for text in (world.key_text, "sk_wrong"):
            for change in ({"origin": "http://localhost:1"}, {"trusted_link": False}):
                with pytest.raises(InvalidToken):
                    connect(world, self.shown(world, text, **change))

    async def test_wrong_key_username_or_organization_is_refused(self, world):
        other, _ = await world.other_organization()
        good = world.key_text
        wrong = good[:-10] + ("A" if good[-10] != "A" else "B") + good[-9:]
        for text, username in (
            (wrong, f"server@{world.org_id}"),
            ("", f"server@{world.org_id}"),
            (good, f"server@{other.id}"),
            (good, "server@org_aaaaaaaaaaaa"),
            (good, "server@"),
            (good, f"server@x@{world.org_id}"),
        ):
            with pytest.raises(BadCredentials):
                connect(world, self.shown(world, text, username=username))
        with pytest.raises(BadCredentials):
            connect(world, self.shown(world, good, password=None))

    async def test_token_opens_no_servers_connection(self, world):
        token = await world.issue()
        with pytest.raises(BadCredentials):
            connect(world, self.shown(world, token.text))

    async def test_deleted_key_is_refused(self, world):
        await world.services.keys.delete(
            world.key.id, key=world.key, org_id=world.org_id, revoke_tokens=False, now=world.now
        )
        with pytest.raises(BadCredentials):
            connect(world, self.shown(world, world.key_text))


def test_authentication_awaits_nothing():
    assert not inspect.iscoroutinefunction(Authenticator.connect)


def test_v69_credentials_do_not_show_themselves():
    shown = Credentials("u", b"canary-1", None, b"canary-2", "c", None, trusted_link=True)
    assert "canary" not in repr(shown)


class TestRenewal:
    async def test_another_token_of_the_same_user_gives_its_identity(self, world):
        first, second = await world.issue(), await world.issue()
        authenticator = world.services.authenticator
        identity = connect(world, world.credentials(first))
        renewed = authenticator.renew(identity, "c1", second.text.encode(), world.now)
        assert renewed == connect(world, world.credentials(second))
        assert renewed.token_id == second.family.token_id

    async def test_a_token_of_somebody_else_is_refused(self, world):
        identity = connect(world, world.credentials(await world.issue("ann")))
        other = await world.issue("bob")
        with pytest.raises(InvalidToken, match="another user's"):
            world.services.authenticator.renew(identity, "c1", other.text.encode(), world.now)

    async def test_a_token_for_another_client_id_is_refused(self, world):
        identity = connect(world, world.credentials(await world.issue()))
        bound = await world.issue(client_id="c2")
        with pytest.raises(ClientIdNotPermitted):
            world.services.authenticator.renew(identity, "c1", bound.text.encode(), world.now)

    async def test_a_token_whose_end_has_come_is_refused(self, world):
        token = await world.issue(ttl_seconds=60)
        identity = connect(world, world.credentials(token))
        with pytest.raises(ExpiredToken):
            world.services.authenticator.renew(identity, "c1", token.text.encode(), world.now + 60)

    async def test_nothing_is_awaited(self, world):
        assert not inspect.iscoroutinefunction(Authenticator.renew)
