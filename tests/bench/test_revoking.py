import base64
import json
from typing import Any

import pytest
from bench.links import Target
from bench.revoking import _check, family, run
from bench.wire import BadStream


def test_the_family_is_read_out_of_the_token() -> None:
    payload = base64.urlsafe_b64encode(json.dumps({"fam": "tok_1", "sub": "?>"}).encode()).decode()
    assert family(f"e30.{payload.rstrip('=')}.c2ln") == "tok_1"


@pytest.mark.parametrize("said", [b"", b"\xe0\x01", b"\xe0\x02\x98\x00", b"\x20\x02\x87\x00"])
def test_an_end_without_its_reason_is_an_error(said: bytes) -> None:
    with pytest.raises(BadStream):
        _check(said)


@pytest.mark.system
@pytest.mark.parametrize("at_once", [False, True])
def test_connections_are_revoked_by_the_real_call(service: Any, at_once: bool) -> None:
    fields = {"kind": "sk", "name": "bench", "organization_id": service.organization_id}
    made = service.call("POST", "/v2/keys", key=service.admin_key, json=fields).json()
    tokens = [service.create_token(f"u{number}", key=made["key"]) for number in range(5)]
    credentials = [(token["mqtt_username"], token["token"]) for token in tokens]
    host, port = service.mqtt
    told = run(
        Target(host, port, version=5, credentials=credentials),
        http_port=int(service.http_url.rpartition(":")[2]),
        key=service.secret_key,
        count=5,
        key_id=made["id"] if at_once else "",
    )
    assert (told["ok"], told["calls"]) == (5, 1 if at_once else 5)
    assert 1 <= told["answered_us"] <= told["asked_us"]
    assert not any(service.is_active(token["token"]) for token in tokens)
