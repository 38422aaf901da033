"""The wire contract's table of answers, and that nothing unknown ever means success."""

from __future__ import annotations

import inspect

import pytest

from tokenmq import errors
from tokenmq.broker.reasons import reason_code
from tokenmq.errors import (
    BadCredentials,
    ClientIdNotPermitted,
    Conflict,
    ExpiredToken,
    InvalidKey,
    InvalidToken,
    ProtocolError,
    TokenmqError,
    Unavailable,
    UnknownMethod,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadCredentials("x"), 0x86),
        (InvalidKey("x"), 0x86),
        (InvalidToken("x"), 0x87),
        (ExpiredToken("x", 1), 0x87),
        (ClientIdNotPermitted("x"), 0x85),
        (UnknownMethod("x"), 0x8C),
        (Unavailable("x"), 0x88),
        (ProtocolError(0x94, "x"), 0x94),
        (Conflict("x"), 0x83),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else hex(value),
)
def test_each_error_has_its_code(error, code):
    assert reason_code(error) == code


def test_no_error_of_the_tree_is_answered_with_success():
    kinds = [
        kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, TokenmqError)
    ]
    assert len(kinds) > 10
    for kind in kinds:
        error = kind.__new__(kind)
        error.reason_code = 0x82
        assert reason_code(error) >= 0x80
