"""POST /v2/tokens/exchange with an identity provider's token, as JSON and as RFC 8693 has it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tokenmq.errors import Unavailable
from tokenmq.tokens import algorithms, base64url, jwk

ISSUER = "https://login.example"
PATH = "/v2/tokens/exchange"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS = "urn:ietf:params:oauth:token-type:access_token"
JWT = "urn:ietf:params:oauth:token-type:jwt"
GRANTS = [{"permissions": ["subscribe"], "topics": ["news/#"]}]


class Idp:
    """A provider whose key set needs no network."""

    def __init__(self) -> None:
        self.private = algorithms.generate("ES256")
        self.public = {**jwk.write(self.private.public_key()), "kid": "k"}
        self.works = True

    async def get(self, _url: str) -> bytes:
        if not self.works:
            raise Unavailable("no")
        return json.dumps({"keys": [self.public]}).encode()

    def token(self, world: Any, **claims: Any) -> str:
        said = {"iss": ISSUER, "aud": "web", "sub": "ann", "iat": int(world.now), "exp": int(world.now) + 60}
        parts = [
            base64url.encode(json.dumps(one).encode())
            for one in ({"alg": "ES256", "kid": "k"}, said | claims)
        ]
        message = b".".join(parts)
        signature = algorithms.signer(self.private).sign(message)
        return (message + b"." + base64url.encode(signature)).decode()


@pytest.fixture
async def idp(world: Any) -> Any:
    """Set one provider up for the time of a test."""
    made = Idp()
    made.works = True
    services = world.services
    documents, services.key_sets._documents = services.key_sets._documents, made
    made.id = await configure(world)
    yield made
    services.key_sets._documents = documents
    await world.ask("DELETE", f"/v2/providers/{made.id}", key=world.keys["sk"])


async def configure(world: Any, **changes: Any) -> str:
    body = {
        "provider": "oidc",
        "name": "login",
        "issuer": ISSUER,
        "audience": "web",
        "jwks_url": f"{ISSUER}/jwks",
        "accept_open_policy": True,
        **changes,
    }
    answer = await world.ask("POST", "/v2/providers", key=world.keys["sk"], body=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def change(world: Any, idp: Any, **changes: Any) -> None:
    path = f"/v2/providers/{idp.id}"
    answer = await world.ask("PATCH", path, key=world.keys["sk"], body=changes)
    assert answer.status_code == 200, answer.text


async def exchange(world: Any, token: str, *, key: str | None = None, headers: Any = (), **more: Any) -> Any:
    body = {"organization_id": world.org_id, "token": token, **more}
    return await world.ask("POST", PATH, body=body, key=key, headers=headers)


async def send_form(world: Any, token: str, *, key: str | None = None, headers: Any = (), **more: str) -> Any:
    form = {
        "grant_type": EXCHANGE,
        "subject_token": token,
        "subject_token_type": JWT,
        "audience": f"mqtt:{world.org_id}",
    } | more
    form = {name: value for name, value in form.items() if value is not None}
    return await world.ask("POST", PATH, form=form, key=key, headers=headers)


class TestJson:
    async def test_token_of_a_provider_becomes_one_of_ours(self, world: Any, idp: Any) -> None:
        await change(world, idp, user_prefix="o:", attrs=["plan"])
        token = idp.token(world, email="ann@example.org", plan="free")
        body = (await exchange(world, token, integration_id="web")).json()
        assert (body["user_id"], body["user_email"]) == ("o:ann", "ann@example.org")
        assert body["mqtt_username"] == f"o%3Aann@{world.org_id}"
        assert body["expires_in"] == 3_600
        assert "issued_token_type" not in body
        claims = world.claims(body["token"])
        assert (claims["sub"], claims["attrs"], claims["gen"]) == ("o:ann", {"plan": "free"}, 0)
        granted = {one for grant in claims["grants"] for one in grant["permissions"]}
        assert granted == {"publish", "subscribe", "presence", "history"}
        path = f"/v2/tokens/{body['token_id']}"
        shown = (await world.ask("GET", path, key=world.keys["sk"])).json()
        assert (shown["key_id"], shown["provider_id"], shown["integration_id"]) == (None, idp.id, "web")
        trail = await world.ask(
            "GET", "/v2/audit", key=world.keys["sk"], params={"object": f"token:{body['token_id']}"}
        )
        (row,) = trail.json()["entries"]
        assert (row["action"], row["user_id"], row["details"]["provider"]) == ("exchange", "o:ann", idp.id)
        assert row["actor"].startswith("user:")

    async def test_mapping_gives_the_grants(self, world: Any, idp: Any) -> None:
        await change(world, idp, mapping=[{"claim": "role", "equals": "reader", "grants": GRANTS}])
        body = (await exchange(world, idp.token(world, role="reader"))).json()
        assert (body["permissions"], body["topics"]) == (["subscribe"], ["news/#"])
        answer = await exchange(world, idp.token(world, role="none"))
        world.refused(answer, 403, "forbidden")
        beyond = [{"permissions": ["publish"], "topics": ["$notifications/x"]}]
        await change(world, idp, mapping=[{"claim": "role", "equals": "reader", "grants": beyond}])
        world.refused(await exchange(world, idp.token(world, role="reader")), 403, "forbidden")

    async def test_life_needs_a_key(self, world: Any, idp: Any) -> None:
        token = idp.token(world)
        body = world.refused(await exchange(world, token, ttl=120), 400, "invalid_request")
        assert body["errors"] == [{"field": "ttl", "message": "needs a key"}]
        for kind in ("sk", "pk"):
            answer = await exchange(world, token, ttl=120, key=world.keys[kind])
            assert answer.json()["expires_in"] == 120
        world.refused(await exchange(world, token, key=world.wrong_keys["expired"]), 401, "unauthorized")

    async def test_provider_may_be_named(self, world: Any, idp: Any) -> None:
        for name in ("oidc", idp.id):
            assert (await exchange(world, idp.token(world), provider=name)).status_code == 200
        world.refused(await exchange(world, idp.token(world), provider="clerk"), 404, "provider_not_found")

    @pytest.mark.parametrize(
        ("claims", "status", "code"),
        [
            ({"iss": "https://other.example"}, 404, "provider_not_found"),
            ({"aud": "other"}, 401, "unauthorized"),
            ({"exp": 1}, 401, "token_expired"),
            ({"sub": None}, 422, "invalid_token"),
            ({"sub": "server"}, 422, "invalid_token"),
        ],
        ids=str,
    )
    async def test_refusals_are_told_apart(
        self, world: Any, idp: Any, claims: dict[str, Any], status: int, code: str
    ) -> None:
        answer = await exchange(world, idp.token(world, **claims))
        body = world.refused(answer, status, code)
        assert answer.headers["access-control-allow-origin"] == "*"
        if claims == {"sub": None}:
            assert "email or sub claim required" in body["detail"]

    async def test_provider_without_keys_is_unavailable(self, world: Any, idp: Any) -> None:
        idp.works = False
        answer = await exchange(world, idp.token(world))
        world.refused(answer, 503, "unavailable")

    async def test_page_of_another_origin_is_refused_readably(self, world: Any, idp: Any) -> None:
        headers = {"Origin": "https://evil.example"}
        answer = await exchange(world, idp.token(world), headers=headers)
        world.refused(answer, 403, "forbidden")
        assert answer.headers["access-control-allow-origin"] == "*"
        allowed = {"Origin": "http://localhost:3000"}
        assert (await exchange(world, idp.token(world), headers=allowed)).status_code == 200
        # A server that shows its key is no page.
        with_key = await exchange(world, idp.token(world), headers=headers, key=world.keys["sk"])
        assert with_key.status_code == 200

    async def test_disabled_provider_refuses_exchanges_and_refreshes(self, world: Any, idp: Any) -> None:
        made = (await exchange(world, idp.token(world))).json()

        async def refresh(token: dict[str, Any]) -> Any:
            body = {"token_id": token["token_id"], "current_token_password": token["token"]}
            return await world.ask("POST", "/v2/tokens/refresh", body=body)

        renewed = await refresh(made)
        assert world.claims(renewed.json()["token"])["gen"] == 1
        await change(world, idp, enabled=False)
        world.refused(await refresh(renewed.json()), 401, "unauthorized")
        world.refused(await exchange(world, renewed.json()["token"]), 401, "unauthorized")
        world.refused(await exchange(world, idp.token(world)), 404, "provider_not_found")
        await change(world, idp, enabled=True, accept_open_policy=True)
        assert (await refresh(renewed.json())).status_code == 200

    async def test_token_of_ours_is_exchanged_as_before(self, world: Any, idp: Any) -> None:
        made = (await exchange(world, idp.token(world, plan="free"))).json()
        child = (await exchange(world, made["token"])).json()
        assert (child["user_id"], child["token_id"] != made["token_id"]) == ("ann", True)
        shown = await world.ask("GET", f"/v2/tokens/{child['token_id']}", key=world.keys["sk"])
        assert shown.json()["provider_id"] == idp.id

    async def test_key_of_the_organization_that_is_deleted_ends_nothing_of_a_provider(
        self, world: Any, idp: Any
    ) -> None:
        key = await world.key(kind="sk", name="short-lived")
        made = (await exchange(world, idp.token(world), key=key["key"], ttl=600)).json()
        await world.ask("DELETE", f"/v2/keys/{key['id']}", key=world.keys["sk"])
        body = {"token_id": made["token_id"], "current_token_password": made["token"]}
        assert (await world.ask("POST", "/v2/tokens/refresh", body=body)).status_code == 200


class TestForm:
    """RFC 8693."""

    async def test_answer_is_the_one_of_the_rfc(self, world: Any, idp: Any) -> None:
        answer = await send_form(world, idp.token(world))
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        body = answer.json()
        assert (body["issued_token_type"], body["token_type"], body["expires_in"]) == (
            ACCESS,
            "Bearer",
            3_600,
        )
        assert world.claims(body["access_token"])["sub"] == "ann"
        asked = await send_form(world, idp.token(world), requested_token_type=JWT)
        assert asked.json()["issued_token_type"] == JWT

    async def test_organization_follows_from_audience_key_or_our_own_parameter(
        self, world: Any, idp: Any
    ) -> None:
        token = idp.token(world)
        for more in (
            {"audience": world.org_id},
            {"audience": None, "organization_id": world.org_id},
            {"audience": None, "key": world.keys["pk"]},
            {"audience": None, "secret_key": world.keys["sk"], "ttl": "120"},
        ):
            assert (await send_form(world, token, **more)).status_code == 200, more

    async def test_unknown_parameters_are_ignored(self, world: Any, idp: Any) -> None:
        assert (await send_form(world, idp.token(world), later="x", client_id="app")).status_code == 200

    async def test_token_of_ours_is_exchanged_too(self, world: Any) -> None:
        made = await world.token(user_id="ann")
        answer = await send_form(world, made["token"], subject_token_type=ACCESS)
        assert answer.json()["issued_token_type"] == ACCESS

    @pytest.mark.parametrize(
        ("more", "code"),
        [
            ({"grant_type": "password"}, "unsupported_grant_type"),
            ({"grant_type": None}, "invalid_request"),
            ({"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request"),
            ({"subject_token": None}, "invalid_request"),
            ({"subject_token": "x"}, "invalid_request"),
            ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
            ({"actor_token": "x", "actor_token_type": JWT}, "invalid_request"),
            ({"resource": "https://api.example"}, "invalid_target"),
            ({"audience": "https://api.example"}, "invalid_target"),
            ({"audience": "mqtt:org_zzzzzzzzzzzz"}, "invalid_target"),
            ({"scope": "read"}, "invalid_scope"),
            ({"ttl": "120"}, "invalid_request"),
            ({"provider": "clerk"}, "invalid_request"),
        ],
        ids=str,
    )
    async def test_errors_are_those_of_the_rfc(
        self, world: Any, idp: Any, more: dict[str, Any], code: str
    ) -> None:
        answer = await send_form(world, idp.token(world), **more)
        self.refused(answer, 400, code)

    def refused(self, answer: Any, status: int, code: str) -> None:
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["access-control-allow-origin"] == "*"
        body = answer.json()
        assert set(body) == {"error", "error_description"}
        assert body["error"] == code

    @pytest.mark.parametrize(
        "claims", [{"aud": "other"}, {"exp": 1}, {"sub": None}, {"iss": "https://other.example"}], ids=str
    )
    async def test_subject_that_is_not_acceptable_is_an_invalid_request(
        self, world: Any, idp: Any, claims: dict[str, Any]
    ) -> None:
        self.refused(await send_form(world, idp.token(world, **claims)), 400, "invalid_request")

    async def test_other_refusals(self, world: Any, idp: Any) -> None:
        token = idp.token(world)
        wrong = await send_form(world, token, key=world.wrong_keys["unknown"])
        self.refused(wrong, 401, "invalid_client")
        assert wrong.headers["www-authenticate"] == "Bearer"
        page = await send_form(world, token, headers={"Origin": "https://evil.example"})
        self.refused(page, 400, "unauthorized_client")
        foreign = await send_form(
            world, token, key=world.keys["sk"], organization_id=world.org_id, audience="mqtt:org_other"
        )
        self.refused(foreign, 400, "invalid_target")
        twice = await world.ask(
            "POST",
            PATH,
            raw=b"grant_type=a&grant_type=b",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        self.refused(twice, 400, "invalid_request")
        idp.works = False
        await change(world, idp, attrs=["plan"])
        unavailable = await send_form(world, token)
        self.refused(unavailable, 503, "unavailable")
        assert unavailable.headers["retry-after"] == "1"

    async def test_json_with_the_names_of_the_rfc_is_not_the_rfcs(self, world: Any, idp: Any) -> None:
        body = {"grant_type": EXCHANGE, "subject_token": idp.token(world), "organization_id": world.org_id}
        world.refused(await world.ask("POST", PATH, body=body), 400, "invalid_request")
