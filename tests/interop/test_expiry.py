"""A token of 60 seconds: its connections end with it, and it opens no more."""

import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.system


def wait_out(expiring: Any, version: int) -> tuple[float, int | None]:
    """Wait for the end of a connection of the token; return how long after `exp` it came, and its code."""
    at, code = expiring.clients[version].wait_ended(max(0.0, expiring.exp - time.time()) + 10)
    return at - expiring.exp, code


@pytest.mark.timeout(180)
def test_connection_ends_within_a_second_of_the_tokens_end_and_connect_is_refused_after(
    service: Any, paho: Callable[..., Any], expiring: Any
) -> None:
    late, code = wait_out(expiring, 5)
    assert code == 0xA0
    assert -0.1 <= late < 1.5, "a second, and what a busy machine takes to tell"
    late, code = wait_out(expiring, 4)
    assert code is None
    assert -0.1 <= late < 1.5
    assert not service.is_active(expiring.token["token"])
    assert paho(expiring.token).connect() == 0x87
    assert paho(expiring.token, version=4).connect() == 0x87
    for version, client in expiring.renewed.items():
        assert client.is_connected
        payload = b"still %d" % version
        assert client.publish("chat/room1", payload) == 0
        while client.receive() != ("chat/room1", payload):
            pass  # what others have published since
