"""A peer that sends and never reads, on a real socket: its own packets stop, nothing grows."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Connect, Publish

pytestmark = pytest.mark.system

# More than kernel and broker hold of unread answers, by far.
MOST_BYTES = 256 * 2**20
# In which a broker that reads has taken something.
STALLED_SECONDS = 3


def memory_bytes(process_id: int) -> int:
    return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * 4_096


def send_all_of(peer: socket.socket, data: bytes) -> None:
    sent = 0
    while sent < MOST_BYTES:
        sent += peer.send(data)


@pytest.mark.parametrize("what", ["pings", "refused publishes"])
def test_v02_a_peer_that_never_reads_is_held_before_it_fills_our_memory(service, what):
    token = service.create_token("glutton")
    connect = Connect(5, "glutton", username=token["mqtt_username"], password=token["mqtt_password"].encode())
    packet = b"\xc0\x00" if what == "pings" else codec.encode(Publish("x", b"", 1, packet_id=1), 5)
    before = memory_bytes(service.process.pid)
    with socket.create_connection(service.mqtt, timeout=30) as peer:
        peer.sendall(codec.encode(connect, 5))
        assert peer.recv(4)[:1] == b"\x20"
        peer.settimeout(STALLED_SECONDS)
        data = packet * (65_536 // len(packet))
        with pytest.raises(TimeoutError):
            send_all_of(peer, data)
        assert memory_bytes(service.process.pid) - before < 64 * 2**20
    assert service.call("GET", "/healthz", key=None).status_code == 200
