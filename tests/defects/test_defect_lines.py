"""A defect is logged with its type and places; its words, which may quote a payload, are not."""

from __future__ import annotations

import types
from typing import Any

import pytest
from structlog.testing import capture_logs

from tokenmq import tracebacks
from tokenmq.config import BrokerSettings
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Connect
from tokenmq.server import hub as hubs
from tokenmq.server.hub import Hub
from tokenmq.server.peer import Peer


class Transport:
    """Takes what is written."""

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...


def failing(*_: object, **__: object) -> None:
    raise ZeroDivisionError("hunter2")


def only_defect(lines: list[Any]) -> dict[str, Any]:
    (line,) = (line for line in lines if line["event"] == "defect")
    assert set(line) == {"event", "error", "traceback", "log_level"}
    assert (line["error"], line["log_level"]) == ("ZeroDivisionError", "error")
    assert line["traceback"].startswith("defects/test_defect_lines.py:")
    assert "hunter2" not in repr(lines)
    return line


def test_innermost_place_comes_first() -> None:
    try:
        failing()
    except ZeroDivisionError as error:
        told = tracebacks.told(error)
    inner, outer = told["traceback"].split(" < ")
    assert inner.partition(":")[0] == outer.partition(":")[0] == "defects/test_defect_lines.py"
    assert int(inner.partition(":")[2]) < int(outer.partition(":")[2])


def test_of_a_link() -> None:
    doors: Any = types.SimpleNamespace(connect=failing)
    link = Hub(BrokerSettings(), doors, doors, doors, doors).make_link(
        Peer("127.0.0.1", 50_000, "tcp", None, trusted=True)
    )
    link.opened(Transport())  # type: ignore[arg-type]
    with capture_logs() as lines:
        link.received(codec.encode(Connect(protocol_version=4, client_id="c", keep_alive=60), 4))
    assert "server/link.py:" in only_defect(lines)["traceback"]


async def test_of_the_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Enough(BaseException):
        """Ends the timer."""

    doors: Any = types.SimpleNamespace()
    hub = Hub(BrokerSettings(), doors, doors, doors, doors)
    ticks = [failing, failing]

    async def sleep(_: float) -> None:
        if not ticks:
            raise Enough

    monkeypatch.setattr(hubs.asyncio, "sleep", sleep)
    monkeypatch.setattr(Hub, "tick", lambda *_: ticks.pop()())
    ticks.pop()
    with capture_logs() as lines, pytest.raises(Enough):
        await hub.run()
    assert "server/hub.py:" in only_defect(lines)["traceback"]
