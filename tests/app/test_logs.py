"""Logs say what happened and never what must not be told."""

from __future__ import annotations

import io
import json

import pytest
import structlog

from tokenmq.app import logs
from tokenmq.config import LogSettings
from tokenmq.tokens import secret
from tokenmq.tokens.records import KeyKind

TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
KEY = secret.create(KeyKind.SECRET, entropy=bytes(range(secret.KEY_ENTROPY))).text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restore_structlog():
    yield
    structlog.reset_defaults()


def logged(stream=None, settings=None, **fields):
    stream = stream or io.StringIO()
    logs.configure(settings or LogSettings(), stream)
    structlog.get_logger().info("event_name", **fields)
    return stream.getvalue()


def test_one_json_line_an_event_when_not_on_a_terminal():
    line = logged(org_id="org_a", code=135)
    assert line.count("\n") == 1
    event = json.loads(line)
    assert event.pop("timestamp").endswith("Z")
    assert event == {"event": "event_name", "level": "info", "org_id": "org_a", "code": 135}


def test_readable_on_a_terminal():
    text = logged(Terminal(), org_id="org_a")
    assert "event_name" in text
    assert "org_a" in text
    assert not text.startswith("{")


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
@pytest.mark.parametrize(
    "value", [TOKEN, KEY, f"text {TOKEN} text", KEY[:20], f"-----BEGIN PRIVATE KEY-----\n{'A' * 64}"]
)
def test_v46_secrets_are_hidden_by_what_they_look_like(stream, value):
    text = logged(stream(), reason=value, detail={"nested": value}, listed=[value])
    for part in (TOKEN[10:40], KEY[3:19], "A" * 10):
        assert part not in text


@pytest.mark.parametrize(
    "name", ["password", "token", "secret", "authorization", "payload", "key", "private_pem", "data"]
)
def test_v46_secrets_are_hidden_by_their_field(name):
    assert "opaque-value" not in logged(**{name: "opaque-value"})


def test_v107_control_characters_are_never_raw():
    line = logged(client_id='a\r\n{"event": "forged"}\x1b[31m')
    assert line.count("\n") == 1
    assert "\x1b" not in line


def test_a_field_is_cut_at_256_characters():
    assert len(json.loads(logged(topic="x" * 5_000))["topic"]) == 256


def test_events_below_the_level_are_not_written():
    assert logged(settings=LogSettings(level="warning")) == ""


def test_a_traceback_is_kept_and_hides_secrets():
    stream = io.StringIO()
    logs.configure(LogSettings(), stream)
    try:
        raise ValueError(f"bad {TOKEN}")
    except ValueError:
        structlog.get_logger().exception("defect")
    event = json.loads(stream.getvalue())
    assert "test_logs.py" in event["exception"]
    assert TOKEN not in stream.getvalue()
