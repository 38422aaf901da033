"""What people read has no Python in it: no errno, no class name, no link of a library, no bytes literal."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tokenmq.client.http import ServiceClient
from tokenmq.client.sync import Client
from tokenmq.errors import ConnectError, ProtocolError, Unavailable, Unreachable
from tokenmq.mqtt.packets.connect import protocol_version
from tokenmq.stores.sql import SqlStore


def nobodys_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


async def test_of_a_store_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "tokenmq.db").write_bytes(b"this is no database, and long enough to be looked at")
    with pytest.raises(Unavailable) as refused:
        await SqlStore.open_folder(tmp_path)
    assert str(refused.value) == "the store cannot be opened: file is not a database"


def test_of_a_broker_that_is_not_there() -> None:
    with Client() as client, pytest.raises(ConnectError, match=r": Connection refused$"):
        client.connect(f"mqtt://127.0.0.1:{nobodys_port()}", username="a", password="b")


def test_of_a_service_that_is_not_there() -> None:
    client = ServiceClient(f"http://127.0.0.1:{nobodys_port()}")
    with pytest.raises(Unreachable, match=r": Connection refused$"):
        client.introspect("x")


def test_of_a_protocol_that_is_not_ours() -> None:
    with pytest.raises(ProtocolError) as refused:
        protocol_version(b"\x00\x06MQIsdp\x03", 0, 9)
    assert str(refused.value) == "protocol 'MQIsdp' version 3, wanted 'MQTT' version 4 or 5"
