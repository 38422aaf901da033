"""Every client of matrix.json, in both versions, through every scenario that it offers.

The table in docs/conformance.md is made of matrix.json (`make docs`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

MATRIX: dict[str, Any] = json.loads(Path(__file__).with_name("matrix.json").read_bytes())
# Clients that are Python packages need no other program.
PYTHON = {name for name, client in MATRIX["clients"].items() if client.get("pinned_in") == "constraints.txt"}
PAYLOAD_OF_256_KIB = bytes(range(256)) * 1024
RUN: set[str] = set()


def offering(*scenarios: str) -> pytest.MarkDecorator:
    """Run a test with every client, in both versions, that offers these scenarios."""
    RUN.update(scenarios)
    without = {
        row["client"]
        for row in MATRIX["not_offered"]
        for scenario in scenarios
        if scenario in row["scenarios"]
    }
    cases = [
        pytest.param(
            (name, int(version)),
            id=f"{name} {told}",
            marks=pytest.mark.system if name in PYTHON else pytest.mark.interop,
        )
        for name in MATRIX["clients"]
        for version, told in MATRIX["versions"].items()
        if name not in without
    ]
    return pytest.mark.parametrize("client", cases, indirect=True)


@pytest.fixture
def topic() -> str:
    """A topic of this case alone."""
    return f"chat/{uuid4().hex}"


def of(messages: Iterator[Any]) -> list[Any]:
    """Return what messages say: topic, payload, QoS, and whether retained."""
    return [(got.topic, got.payload, got.qos, got.is_retained) for got in messages]


@offering("connect")
def test_good_token_is_accepted_and_a_forged_one_refused(client: Any) -> None:
    assert client.visit() == 0
    assert client.connect().session_present in (False, None)

    token = client.create_token()
    token["token"] = token["token"][:-8] + "AAAAAAAA"
    # paho tells the codes of 3.1.1 in the words of 5.0.
    assert client.visit(token=token) in ((5, 0x87) if client.version == 4 else (0x87,))


@pytest.mark.parametrize("qos", [pytest.param(qos, id=f"QoS {qos}") for qos in (0, 1, 2)])
@offering("QoS 0", "QoS 1", "QoS 2")
def test_message_comes_once_in_order_at_its_qos(client: Any, topic: str, qos: int) -> None:
    receiver = client.connect(subscribe=(topic, qos))
    sender = client.connect()
    assert receiver.granted == qos
    payloads = [b"first", b"second", b"third"]
    for payload in payloads:
        sender.publish(topic, payload, qos=qos)

    got = of(islice(receiver.received(), 3))
    assert got == [(topic, payload, qos, False) for payload in payloads]


@offering("retained")
def test_retained_message_comes_to_who_subscribes_later_until_it_is_cleared(client: Any, topic: str) -> None:
    sender = client.connect()
    sender.publish(topic, b"kept", retain=True)
    receiver = client.connect(subscribe=(topic, 1))
    sender.publish(topic, b"live")
    assert of(islice(receiver.received(), 2)) == [(topic, b"kept", 1, True), (topic, b"live", 1, False)]

    sender.publish(topic, b"", retain=True)
    receiver = client.connect(subscribe=(topic, 1))
    sender.publish(topic, b"live")
    assert of(islice(receiver.received(), 1)) == [(topic, b"live", 1, False)]


@offering("will")
def test_will_comes_when_the_process_is_killed_and_not_after_disconnect(client: Any, topic: str) -> None:
    receiver = client.connect(subscribe=(topic, 1))
    client.visit(will=(topic, "disconnected"))
    client.connect_and_kill(will=(topic, "killed"))

    assert of(islice(receiver.received(), 1)) == [(topic, b"killed", 1, False)]


@offering("offline delivery")
def test_session_gets_what_was_published_while_its_client_was_away(client: Any, topic: str) -> None:
    session = {"client_id": f"matrix-{uuid4().hex}", "keeps_session": True}
    client.visit(**session, subscribe=(topic, 2))
    sender = client.connect()
    sent = [(b"first", 1), (b"second", 2), (b"third", 1), (b"fourth", 2)]
    for payload, qos in sent:
        sender.publish(topic, payload, qos=qos)

    receiver = client.connect(**session)
    assert receiver.session_present in (True, None)
    got = [(message.payload, message.qos) for message in islice(receiver.received(), 4)]
    # A client may hold a message back until its QoS 2 is over: each QoS has its own order.
    assert sorted(got, key=lambda one: one[1]) == sorted(sent, key=lambda one: one[1])


@offering("shared subscription")
def test_members_of_a_share_get_every_message_once_between_them(client: Any, topic: str) -> None:
    members = [client.connect(subscribe=(f"$share/workers/{topic}", 1)) for _ in range(2)]
    sender = client.connect()
    payloads = [f"{number}".encode() for number in range(4)]
    for payload in payloads:
        sender.publish(topic, payload)

    parts = [[got.payload for got in islice(member.received(), 2)] for member in members]
    assert sorted(parts[0] + parts[1]) == payloads


@offering("256 KiB payload")
def test_payload_of_256_kib_comes_unchanged(client: Any, topic: str) -> None:
    receiver = client.connect(subscribe=(topic, 1))
    sender = client.connect()
    sender.publish(topic, PAYLOAD_OF_256_KIB)

    assert of(islice(receiver.received(), 1)) == [(topic, PAYLOAD_OF_256_KIB, 1, False)]


def exchange(client: Any, topic: str, over: str) -> None:
    receiver = client.connect(over=over, subscribe=(topic, 1))
    sender = client.connect(over=over)
    # Several records of TLS, several frames of WebSocket.
    payload = PAYLOAD_OF_256_KIB[:100_000]
    sender.publish(topic, payload)

    assert of(islice(receiver.received(), 1)) == [(topic, payload, 1, False)]


@offering("TLS")
def test_tls_carries_both_ways(client: Any, topic: str) -> None:
    exchange(client, topic, "mqtts")


@offering("WebSocket")
def test_websocket_carries_both_ways(client: Any, topic: str) -> None:
    exchange(client, topic, "websocket")


@offering("WebSocket over TLS")
@pytest.mark.usefixtures("loopback_origins")
def test_websocket_over_tls_carries_both_ways(client: Any, topic: str) -> None:
    exchange(client, topic, "wss")


def test_every_scenario_of_the_matrix_is_run() -> None:
    assert set(MATRIX["scenarios"]) == RUN
