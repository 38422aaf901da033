"""What somebody without credentials can take: no memory to speak of, and not for long."""

import contextlib
import resource
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

SOCKETS = 2_000
CONNECT_TIMEOUT_SECONDS = 3


@pytest.fixture(scope="module")
def guarded(start_service: Callable[..., Any]) -> Any:
    return start_service(TOKENMQ_BROKER_CONNECT_TIMEOUT_SECONDS=str(CONNECT_TIMEOUT_SECONDS))


@pytest.fixture(autouse=True)
def _descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < SOCKETS + 200:
        pytest.skip(f"only {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, SOCKETS + 200), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def memory_bytes(service: Any) -> int:
    """Resident memory of the service."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


def open_all(where: tuple[str, int], first_bytes: bytes, stack: contextlib.ExitStack) -> list[socket.socket]:
    sockets = []
    for _ in range(SOCKETS):
        sockets.append(stack.enter_context(socket.create_connection(where, timeout=30)))
        sockets[-1].sendall(first_bytes)
    return sockets


def wait_until_closed(sockets: list[socket.socket]) -> None:
    for one in sockets:
        with contextlib.suppress(ConnectionResetError):
            while one.recv(4096):
                pass


CASES = {
    "v02 CONNECT of 256 MiB": b"\x10\xff\xff\xff\x7f\x00",
    "v03 PUBLISH of 256 MiB": b"\x30\xff\xff\xff\x7f\x00",
    "v41 CONNECT of 60 KiB that stops": b"\x10\xe0\xd4\x03\x00\x04MQTT",
    "v41 nothing but the first byte": b"\x10",
}


@pytest.mark.parametrize("first_bytes", CASES.values(), ids=CASES)
def test_many_connections_without_credentials_cost_little_and_end(guarded: Any, first_bytes: bytes) -> None:
    before = memory_bytes(guarded)
    with contextlib.ExitStack() as stack:
        sockets = open_all(guarded.mqtt, first_bytes, stack)
        last_opened = time.monotonic()
        assert memory_bytes(guarded) - before < 100 * 1024 * 1024
        wait_until_closed(sockets)
        # The time to connect, the time to linger, and a busy machine.
        assert time.monotonic() - last_opened < CONNECT_TIMEOUT_SECONDS + 5
    assert guarded.is_active(guarded.create_token()["token"])


def test_v42_upgrades_that_stop_cost_little_and_end(guarded: Any) -> None:
    host, port = guarded.websocket_url.removeprefix("ws://").removesuffix("/mqtt").split(":")
    before = memory_bytes(guarded)
    with contextlib.ExitStack() as stack:
        sockets = open_all((host, int(port)), b"GET /mqtt HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 8_000, stack)
        last_opened = time.monotonic()
        assert memory_bytes(guarded) - before < 100 * 1024 * 1024
        wait_until_closed(sockets)
        assert time.monotonic() - last_opened < CONNECT_TIMEOUT_SECONDS + 5


def test_q12_what_follows_a_refused_connect_is_not_done(service: Any) -> None:
    token = service.create_token()
    username, password = token["mqtt_username"].encode(), b"not a token"
    body = b"\x00\x04MQTT\x05\xc2\x00\x3c\x00\x00\x01a"
    body += len(username).to_bytes(2, "big") + username + len(password).to_bytes(2, "big") + password
    publish = b"\x32\x0f\x00\x0achat/room1\x00\x01\x00x"
    with socket.create_connection(service.mqtt, timeout=10) as client:
        client.sendall(
            b"\x10" + bytes([len(body)]) + body + publish[:1] + bytes([len(publish) - 2]) + publish[2:]
        )
        got = b""
        while chunk := client.recv(4096):
            got += chunk

    # CONNACK with 0x87, and no PUBACK (0x40) after it.
    assert (got[0], got[3]) == (0x20, 0x87)
    assert len(got) == 2 + got[1]
