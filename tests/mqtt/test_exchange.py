from __future__ import annotations

import pytest

from tokenmq.errors import ProtocolError
from tokenmq.mqtt.exchange import MAX_ROUNDS, Exchange
from tokenmq.mqtt.packets import Auth

CONTINUE, AGAIN = 0x18, 0x19


def _code(exchange: Exchange, auth: Auth, *, connected: bool) -> int | None:
    try:
        exchange.received(auth, connected=connected)
    except ProtocolError as error:
        return error.reason_code
    return None


def _connected(method: str | None = "JWT") -> Exchange:
    exchange = Exchange(method)
    exchange.succeeded()
    return exchange


def test_v70_three_rounds_before_the_answer_and_no_fourth() -> None:
    exchange = Exchange("JWT")
    codes = [_code(exchange, Auth(CONTINUE, "JWT"), connected=False) for _ in range(4)]
    assert codes == [None, None, None, 0x87]
    assert MAX_ROUNDS == 3


def test_re_authentication_is_begun_continued_and_begun_anew() -> None:
    exchange = _connected()
    for _ in range(5):
        assert _code(exchange, Auth(AGAIN, "JWT"), connected=True) is None
        assert _code(exchange, Auth(CONTINUE, "JWT"), connected=True) is None
        exchange.succeeded()


def test_re_authentication_that_never_ends_is_0x87() -> None:
    exchange = _connected()
    codes = [_code(exchange, Auth(AGAIN, "JWT"), connected=True) for _ in range(4)]
    assert codes == [None, None, None, 0x87]


@pytest.mark.parametrize("method", [None, "jwt", "", "CUSTOM-JWT"])
@pytest.mark.parametrize("connected", [False, True])
def test_q10_auth_without_or_with_another_method_is_0x82(method: str | None, connected: bool) -> None:
    """[MQTT-4.12.0-5] [MQTT-4.12.1-1]."""
    exchange = _connected() if connected else Exchange("JWT")
    assert _code(exchange, Auth(AGAIN if connected else CONTINUE, method), connected=connected) == 0x82


@pytest.mark.parametrize("method", [None, "JWT"])
def test_q10_auth_where_the_connect_had_no_method_is_0x82(method: str | None) -> None:
    """[MQTT-4.12.0-7]."""
    assert _code(_connected(None), Auth(AGAIN, method), connected=True) == 0x82


def test_q10_re_authentication_before_the_answer_is_0x82() -> None:
    assert _code(Exchange("JWT"), Auth(AGAIN, "JWT"), connected=False) == 0x82


def test_q10_going_on_with_what_was_not_begun_is_0x82() -> None:
    assert _code(_connected(), Auth(CONTINUE, "JWT"), connected=True) == 0x82
