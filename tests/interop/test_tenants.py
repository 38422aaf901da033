"""Two organizations with the same topics, client ids and users never see each other."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

pytestmark = pytest.mark.system


class Tenant(NamedTuple):
    org_id: str
    key: str


@pytest.fixture(scope="module")
def tenants(service: Any) -> tuple[Tenant, Tenant]:
    return Tenant(*service.create_organization("one")), Tenant(*service.create_organization("two"))


FILTERS = ["chat/room1", "chat/+", "chat/#", "#", "+/room1", "$notifications/user-123/#"]
TOPICS = ["chat/room1", "chat/room2", "other", "$notifications/user-123/x", "chat/room1/deep"]


@pytest.mark.parametrize("version", [4, 5])
def test_messages_stay_within_their_organization(
    service: Any, paho: Callable[..., Any], tenants: tuple[Tenant, Tenant], version: int
) -> None:
    grants = [
        {"topics": ["#", "$notifications/user-123/#"], "permissions": ["subscribe"]},
        {"topics": ["#"], "permissions": ["publish"]},
    ]
    clients, servers = [], []
    for tenant in tenants:
        body = {"user_id": "user-123", "grants": grants, "organization_id": tenant.org_id}
        answer = service.call("POST", "/v2/tokens", key=tenant.key, json=body)
        assert answer.status_code == 200, answer.text
        clients.append(paho(answer.json(), version=version, client_id="same-client"))
        servers.append(paho(username=f"server@{tenant.org_id}", password=tenant.key, client_id="same-server"))
    for client in (*clients, *servers):
        assert client.connect() == 0
    # The second tenant's client id took nothing from the first.
    assert all(client.is_connected for client in (*clients, *servers))
    for client in clients:
        assert client.subscribe(*FILTERS, qos=1) == [1] * len(FILTERS)

    for index, server in enumerate(servers):
        for topic in TOPICS:
            assert server.publish(topic, f"{index} {topic}") == 0
    for index, client in enumerate(clients):
        assert client.publish("end", f"{index} end") == 0
        got = []
        while not got or got[-1][0] != "end":
            got.append(client.receive())
        # A message once for each subscription that matches, or once for all: both are MQTT.
        assert {topic for topic, _ in got} == {*TOPICS, "end"}
        assert {payload.split()[0] for _, payload in got} == {str(index).encode()}


def test_token_of_one_organization_opens_nothing_in_another(
    service: Any, paho: Callable[..., Any], tenants: tuple[Tenant, Tenant]
) -> None:
    one, two = tenants
    token = service.create_token(key=one.key)

    for version, code in ((5, 0x87), (4, 0x87)):
        stranger = paho(token, username=f"user-123@{two.org_id}", version=version)
        assert stranger.connect() == code
    assert paho(username=f"server@{two.org_id}", password=one.key).connect() == 0x86


def test_objects_of_another_organization_answer_as_if_they_did_not_exist(
    service: Any, tenants: tuple[Tenant, Tenant]
) -> None:
    one, two = tenants
    token = service.create_token("user-of-one", key=one.key)
    key_id = service.call("GET", "/v2/keys", key=one.key).json()["keys"][0]["id"]

    for method, path, missing in (
        ("GET", f"/v2/tokens/{token['token_id']}", "/v2/tokens/tok_doesnotexist"),
        ("DELETE", f"/v2/tokens/{token['token_id']}", "/v2/tokens/tok_doesnotexist"),
        ("DELETE", f"/v2/keys/{key_id}", "/v2/keys/AAAAAAAA"),
    ):
        foreign, absent = service.call(method, path, key=two.key), service.call(method, missing, key=two.key)
        assert foreign.status_code == absent.status_code == 404
        assert foreign.json()["error"] == absent.json()["error"]
    asked = [
        service.call("POST", "/v2/tokens", key=two.key, json={"user_id": "u", "organization_id": org_id})
        for org_id in (one.org_id, "org_aaaaaaaaaaaa")
    ]
    assert asked[0].status_code == asked[1].status_code >= 400
    assert asked[0].json()["error"] == asked[1].json()["error"]
    answer = service.call("POST", "/v2/tokens/introspect", key=two.key, json={"token": token["token"]})
    assert answer.json() == {"active": False}
    assert service.call("POST", "/v2/tokens/revoke", key=two.key, json={"user_id": "user-of-one"}).json() == {
        "revoked": 0,
        "sessions_closed": 0,
    }
    active = service.call("POST", "/v2/tokens/introspect", key=one.key, json={"token": token["token"]})
    assert active.json()["active"] is True
