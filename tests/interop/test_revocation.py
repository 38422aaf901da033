"""Revocation: connections end at once, and the token opens none, after a restart either."""

import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.system


def test_revoking_a_user_ends_connections_at_once_and_for_ever(
    start_service: Any, database_variables: dict[str, str], paho: Callable[..., Any]
) -> None:
    service = start_service(**database_variables)
    alice, bob = service.create_token("alice"), service.create_token("bob")
    clients = {version: paho(alice, where=service.mqtt, version=version) for version in (4, 5)}
    other = paho(bob, where=service.mqtt)
    assert [client.connect() for client in (*clients.values(), other)] == [0, 0, 0]

    began = time.time()
    assert service.revoke(user_id="alice", reason="left") == {"revoked": 1, "sessions_closed": 2}
    (at, code), (_, code_311) = clients[5].wait_ended(), clients[4].wait_ended()
    assert (code, code_311) == (0x87, None)
    assert at - began < 1.0
    assert paho(alice, where=service.mqtt).connect() == 0x87
    assert other.is_connected
    # What is issued later is new.
    again = service.create_token("alice")
    assert paho(again, where=service.mqtt).connect() == 0

    service.restart()
    assert paho(alice, where=service.mqtt).connect() == 0x87
    assert paho(alice, where=service.mqtt, version=4).connect() == 0x87
    assert paho(again, where=service.mqtt).connect() == 0
    assert paho(bob, where=service.mqtt).connect() == 0
    assert not service.is_active(alice["token"])


def test_revoked_token_ends_a_connection_over_websocket_too(service: Any, paho: Callable[..., Any]) -> None:
    token = service.create_token("wendy")
    host, port = service.websocket_url.removeprefix("ws://").removesuffix("/mqtt").split(":")
    client = paho(token, where=(host, int(port)), transport="websockets")
    assert client.connect() == 0

    assert service.call("DELETE", f"/v2/tokens/{token['token_id']}").status_code in (200, 204)
    assert client.wait_ended()[1] == 0x87


def test_deleting_a_key_ends_the_servers_connection(service: Any, paho: Callable[..., Any]) -> None:
    made = service.call("POST", "/v2/keys", json={"kind": "sk", "name": "temporary"}).json()
    server = paho(username=f"server@{service.organization_id}", password=made["key"])
    assert server.connect() == 0

    assert service.call("DELETE", f"/v2/keys/{made['id']}").status_code in (200, 204)
    assert server.wait_ended()[1] == 0x87
    assert paho(username=f"server@{service.organization_id}", password=made["key"]).connect() == 0x86


def test_shutdown_says_so_to_connected_clients(start_service: Any, paho: Callable[..., Any]) -> None:
    service = start_service()
    client = paho(service.create_token(), where=service.mqtt)
    assert client.connect() == 0

    assert service.stop() == 0
    assert client.wait_ended()[1] == 0x8B
