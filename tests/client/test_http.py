"""The management calls, against a stand-in for the network."""

import json

import httpx2
import pytest

from tokenmq.client.http import ServiceClient
from tokenmq.errors import InvalidRequest, ServiceError, Unreachable

URL = "http://service.example:8080"


class Fake:
    """Answers each request with the next reply and keeps what was asked."""

    def __init__(self, *replies: httpx2.Response | Exception) -> None:
        self.replies = list(replies)
        self.asked: list[tuple[str, str, object]] = []
        self.headers: list[httpx2.Headers] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content) if request.content else None
        self.asked.append((request.method, request.url.raw_path.decode(), body))
        self.headers.append(request.headers)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply


def client(fake: Fake, key: str | None = "sk_abc") -> ServiceClient:
    return ServiceClient(URL + "/", key, transport=httpx2.MockTransport(fake))


def answer(value: object, status: int = 200) -> httpx2.Response:
    return httpx2.Response(status, json=value)


POLICY = {"version": "1", "default": "deny", "rules": []}
ISSUED = {
    "token": "a.b.c",
    "token_id": "tok_1",
    "expires_at": "2026-11-24T13:00:00Z",
    "organization_id": "org_x",
    "user_id": "alice",
    "mqtt_username": "alice@org_x",
    "something_new": 1,
}


def test_the_policy_is_got_put_checked_and_asked() -> None:
    told = {"allowed": True, "decided_by": "rules[0]", "explanation": "because"}
    findings = {"valid": True, "findings": []}
    fake = Fake(answer(POLICY), answer(POLICY), answer(POLICY), answer(findings), answer(told))
    service = client(fake)
    assert service.policy(organization_id="org_x") == POLICY
    assert service.put_policy(POLICY) == POLICY
    assert service.put_policy(POLICY, revision="r", organization_id="org_x") == POLICY
    assert service.validate_policy({"x": 1}) == findings
    assert service.simulate(user_id="ann", action="publish", topic="a") == told
    assert fake.asked == [
        ("GET", "/v2/acl?organization_id=org_x", None),
        ("PUT", "/v2/acl", POLICY),
        ("PUT", "/v2/acl?organization_id=org_x", POLICY | {"revision": "r"}),
        ("POST", "/v2/acl/validate", {"x": 1}),
        ("POST", "/v2/acl/simulate", {"user_id": "ann", "action": "publish", "topic": "a"}),
    ]


def test_create_token_sends_what_is_asked_and_keeps_what_is_answered() -> None:
    fake = Fake(answer(ISSUED))
    made = client(fake).create_token(user_id="alice", topics=["chat/#"], permissions=["publish"])
    assert made == ISSUED
    assert fake.asked == [
        ("POST", "/v2/tokens", {"user_id": "alice", "topics": ["chat/#"], "permissions": ["publish"]})
    ]
    assert fake.headers[0]["authorization"] == "Bearer sk_abc"


def test_without_a_key_no_authorization_is_sent() -> None:
    fake = Fake(answer({"active": False}))
    assert client(fake, None).introspect("x") == {"active": False}
    assert "authorization" not in fake.headers[0]


def test_lists_follow_the_cursor() -> None:
    fake = Fake(
        answer({"tokens": [{"token_id": "tok_1"}], "next": "c 1"}),
        answer({"tokens": [{"token_id": "tok_2"}], "next": None}),
    )
    assert [token["token_id"] for token in client(fake).tokens(user_id="a&b", status="active")] == [
        "tok_1",
        "tok_2",
    ]
    assert [path for _, path, _ in fake.asked] == [
        "/v2/tokens?user_id=a%26b&status=active&limit=100",
        "/v2/tokens?user_id=a%26b&status=active&limit=100&cursor=c+1",
    ]


def test_each_call_has_its_path() -> None:
    org, key = {"id": "org_x", "name": "x"}, {"id": "k1", "kind": "sk", "key": "sk_…"}
    fake = Fake(
        answer(org),
        answer({"organizations": [org]}),
        answer(key),
        answer({"keys": [key]}),
        httpx2.Response(204),
        answer({"revoked": 1, "sessions_closed": 0}),
        answer({"active": True}),
    )
    with client(fake) as calls:
        assert calls.create_organization("x") == org
        assert list(calls.organizations()) == [org]
        assert calls.create_key(kind="sk", name="n", expires_at=None) == key
        assert list(calls.keys(organization_id="org_x")) == [key]
        calls.delete_key("k/1", organization_id="org_x", revoke_tokens=True)
        assert calls.revoke(user_id="alice") == {"revoked": 1, "sessions_closed": 0}
        assert calls.introspect("t", organization_id="org_x") == {"active": True}
    assert fake.asked == [
        ("POST", "/v2/organizations", {"name": "x"}),
        ("GET", "/v2/organizations?limit=100", None),
        ("POST", "/v2/keys", {"kind": "sk", "name": "n", "expires_at": None}),
        ("GET", "/v2/keys?organization_id=org_x&limit=100", None),
        ("DELETE", "/v2/keys/k%2F1?organization_id=org_x&revoke_tokens=true", None),
        ("POST", "/v2/tokens/revoke", {"user_id": "alice"}),
        ("POST", "/v2/tokens/introspect", {"token": "t", "organization_id": "org_x"}),
    ]


def test_a_refusal_carries_status_code_and_detail() -> None:
    fake = Fake(answer({"error": "forbidden", "detail": "the key lacks tokens:create"}, 403))
    with pytest.raises(ServiceError) as caught:
        client(fake).create_token(user_id="alice")
    assert (caught.value.status, caught.value.code, caught.value.detail) == (
        403,
        "forbidden",
        "the key lacks tokens:create",
    )
    assert str(caught.value) == "the key lacks tokens:create"


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"{}"], ids=["empty", "html", "list", "object"])
def test_a_refusal_of_another_shape_is_still_one(content: bytes) -> None:
    with pytest.raises(ServiceError) as caught:
        client(Fake(httpx2.Response(500, content=content))).create_token(user_id="alice")
    assert (caught.value.status, caught.value.code) == (500, "error")
    assert str(caught.value) == "the token service answered 500 without saying why"


def test_a_redirect_is_a_refusal_and_not_followed() -> None:
    fake = Fake(httpx2.Response(307, headers={"location": "http://evil.example/"}))
    with pytest.raises(ServiceError):
        client(fake).create_token(user_id="alice")
    assert len(fake.asked) == 1


@pytest.mark.parametrize(
    "reply",
    [
        httpx2.Response(200, content=b"<html>"),
        answer([]),
        answer({"token": 1}),
        answer({**ISSUED, "token": None}),
    ],
    ids=["html", "list", "too-little", "null"],
)
def test_success_that_is_no_answer_of_ours_is_refused(reply: httpx2.Response) -> None:
    with pytest.raises(ServiceError) as caught:
        client(Fake(reply)).create_token(user_id="alice")
    assert caught.value.code == "bad_answer"


def test_a_page_without_its_list_is_refused() -> None:
    with pytest.raises(ServiceError):
        list(client(Fake(answer({"next": None}))).keys())


def test_no_connection_and_no_answer_in_time_are_unreachable() -> None:
    with pytest.raises(
        Unreachable, match=r"no token service answers at http://service\.example:8080: refused"
    ):
        client(Fake(httpx2.ConnectError("refused"))).create_token(user_id="alice")
    with pytest.raises(Unreachable, match="does not answer in time"):
        client(Fake(httpx2.ReadTimeout("slow"))).create_token(user_id="alice")


@pytest.mark.parametrize(
    "url", ["", "service.example", "ftp://x", "http://", "http://:80", "mqtt://127.0.0.1"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest):
        ServiceClient(url, "sk_abc")


@pytest.mark.parametrize("key", ["", "sk_a\nX: y", "sk_é", "sk a"])
def test_a_key_that_cannot_be_a_header_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ServiceClient(URL, key)
    assert not key or key not in str(caught.value)


def test_only_an_administrators_key_needs_to_name_organizations() -> None:
    assert ServiceClient(URL, "ik_x").is_administrator
    assert not ServiceClient(URL, "sk_x").is_administrator
    assert not ServiceClient(URL).is_administrator


def test_signing_keys_are_listed_added_used_and_retired() -> None:
    key = {"kid": "-a_b", "algorithm": "ES256", "status": "waiting"}
    fake = Fake(answer({"signing_keys": [key], "next": None}), *(answer(key) for _ in range(4)))
    service = client(fake, "ik_abc")
    assert list(service.signing_keys()) == [key]
    assert service.add_signing_key() == service.add_signing_key("EdDSA", current=True) == key
    assert service.use_signing_key("-a_b") == service.retire_signing_key("a/b") == key
    assert fake.asked == [
        ("GET", "/v2/signing-keys?limit=100", None),
        ("POST", "/v2/signing-keys", {"current": False}),
        ("POST", "/v2/signing-keys", {"current": True, "algorithm": "EdDSA"}),
        ("POST", "/v2/signing-keys/-a_b/use", None),
        ("POST", "/v2/signing-keys/a%2Fb/retire", None),
    ]


def test_publish_sends_an_object_as_it_is() -> None:
    fake = Fake(answer({"success": True, "message_id": "msg_1"}))
    made = client(fake).publish("chat/a", {"a": 1}, retain=True, organization_id="org_x")
    assert made == {"success": True, "message_id": "msg_1"}
    body = {"topic": "chat/a", "payload": {"a": 1}, "qos": 1, "retain": True}
    assert fake.asked == [("POST", "/v1/publish?organization_id=org_x", body)]


def test_names_stand_in_paths_as_they_are_encoded() -> None:
    fake = Fake(answer({}), answer({"username": "u", "sessions_terminated": 0}), answer({}))
    service = client(fake)
    service.delete_session("a/b c")
    service.terminate_user("ann@org_x")
    service.delete_retained("$spaces/é")
    assert [path for _, path, _ in fake.asked] == [
        "/v2/sessions/a%2Fb%20c",
        "/v2/utilities/users/ann%40org_x/terminate",
        "/v2/utilities/retained/%24spaces%2F%C3%A9",
    ]
