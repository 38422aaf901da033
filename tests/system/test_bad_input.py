"""Bad input by hand: what a person tries first, against the running service."""

import base64
import json
from typing import Any

import pytest

pytestmark = pytest.mark.system


def flip(text: str, index: int) -> str:
    """Change one letter."""
    return text[:index] + ("A" if text[index] != "A" else "B") + text[index + 1 :]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"user_id": "u"', ""),
        (b"", ""),
        (b"[]", ""),
        (b'"text"', ""),
        (b'{"user_id": "u", "user_id": "v"', ""),
        (b'{"user_id": "u", "topic": ["chat/#"]}', "topic"),
        (b'{"user_id": "u", "topics": []}', "topics"),
        (b'{"user_id": "u", "topics": null}', "topics"),
        (b'{"user_id": "u", "permissions": null}', "permissions"),
        (b'{"user_id": "u", "permissions": []}', "permissions"),
        (b'{"user_id": "u", "permissions": ["admin"]}', "permissions"),
        (b'{"user_id": "u", "grants": []}', "grants"),
        (b'{"user_id": "u", "ttl": 5}', "ttl"),
        (b'{"user_id": "u", "ttl": 86401}', "ttl"),
        (b'{"user_id": "u", "ttl": "3600"}', "ttl"),
        (b'{"user_id": "u", "ttl": true}', "ttl"),
        (b'{"user_id": "u", "topics": ["chat/#/x"]}', "topics"),
        (b'{"user_id": "u", "topics": ["chat/a+"]}', "topics"),
        (b'{"user_id": "u", "topics": [""]}', "topics"),
        (b'{"user_id": "u", "topics": ["a\\u0000b"]}', ""),
        (b'{"user_id": "u", "topics": ["{nobody}/#"]}', "topics"),
        (b'{"user_id": "server"}', "user_id"),
        (b'{"user_id": ""}', "user_id"),
        (b'{"user_id": 7}', "user_id"),
        (b'{"topics": ["chat/#"]}', "user_id"),
        (b'{"user_id": "\xff"}', ""),
    ],
)
def test_bad_body_is_a_400_that_names_the_field(service: Any, body: bytes, field: str) -> None:
    answer = service.call("POST", "/v2/tokens", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400, answer.text
    problem = answer.json()
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert problem["error"] == "invalid_request"
    assert problem["error_description"] == problem["message"] == problem["detail"]
    assert field in problem["detail"]


def test_key_with_one_letter_changed_is_refused(service: Any) -> None:
    key = service.secret_key
    for index in range(3, len(key), 7):
        answer = service.call("POST", "/v2/tokens", key=flip(key, index), json={"user_id": "u"})
        assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("key", [None, "x", "sk_", "Bearer", "sk_" + "A" * 57])
def test_no_key_and_nonsense_keys_are_refused(service: Any, key: str | None) -> None:
    answer = service.call("POST", "/v2/tokens", key=key, json={"user_id": "u"})

    assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")


def test_key_of_another_organization_is_refused_here(service: Any) -> None:
    _, foreign_key = service.create_organization("elsewhere")
    body = {"user_id": "u", "organization_id": service.organization_id}
    answer = service.call("POST", "/v2/tokens", key=foreign_key, json=body)

    assert answer.status_code in (400, 403, 404)
    assert "token" not in answer.json()


def test_token_with_one_byte_changed_is_not_active(service: Any) -> None:
    token = service.create_token()["token"]
    head, claims, signature = token.split(".")
    # The last letter of base64url holds bits that are not part of the value: any change counts.
    places = [
        0,
        len(head) - 1,
        len(head) + 1,
        len(head) + len(claims) - 1,
        len(token) - len(signature),
        len(token) - 1,
    ]
    for place in places:
        assert not service.is_active(flip(token, place)), place
    for changed in (token + "=", token + ".", " " + token, token + "\n", token.replace(".", "..", 1)):
        assert not service.is_active(changed), changed


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "HS256", "ES384", ""])
def test_j2_token_with_another_algorithm_is_not_active(service: Any, algorithm: str) -> None:
    head, claims, signature = service.create_token()["token"].split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    forged = base64.urlsafe_b64encode(json.dumps(header | {"alg": algorithm}).encode()).rstrip(b"=").decode()

    assert not service.is_active(f"{forged}.{claims}.{signature}")
    assert not service.is_active(f"{forged}.{claims}.")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("PUT", "/v2/tokens", 405),
        ("GET", "/v2/keys/x", 405),
        ("POST", "/%00", 404),
    ],
)
def test_unknown_paths_and_methods_answer_in_json(service: Any, method: str, path: str, status: int) -> None:
    answer = service.call(method, path)

    assert answer.status_code == status
    assert answer.json()["status"] == status and answer.json()["error"]


def test_nothing_secret_is_in_the_log(service: Any) -> None:
    token = service.create_token()
    service.call("POST", "/v2/tokens", key=flip(service.secret_key, 20), json={"user_id": "u"})
    service.call("GET", f"/v2/tokens?token={token['token']}")
    log = service.log_path.read_text()

    assert token["token"] not in log and token["token"].split(".")[2] not in log
    assert service.secret_key not in log and service.admin_key not in log
    assert flip(service.secret_key, 20) not in log
