"""The generator against servers that do one thing wrong: it must notice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest
from fuzz.good import Report
from fuzz.judging import Bounds, Outcome, problems
from fuzz.scripts import Ending, Script, Step
from fuzz.traffic import Fault, Tally, Traffic

from fuzz import traffic

Serve = Callable[[], "Answering"]
GOOD = Report(sent=10, lost=0, p50_ms=1, p99_ms=2, max_ms=3, connects=4, connect_max_ms=5, problems=[])
FORBIDDEN = b"of another"


def make_script(ending: Ending, *, awaits: bool = True) -> Script:
    first = Step(b"\x10\x00", 1, "packet" if awaits else "")
    return Script(3, "tcp", 5, (first, Step(b"\xc0\x00", 1)), ending, 1, (b"\x10\x00", b"\xc0\x00"))


class Answering(asyncio.Protocol):
    """Gives its answers in turn as bytes come, and then nothing, or closes."""

    def __init__(self, answers: tuple[bytes, ...], *, close: bool, half: bool) -> None:
        self.gone = asyncio.get_running_loop().create_future()
        self._answers = list(answers)
        self._close = close
        self._half = half

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._answers:
            self._transport.write(self._answers.pop(0))
        if self._close and not self._answers:
            self._transport.close()
        elif self._half and not self._answers:
            self._transport.write_eof()

    def eof_received(self) -> bool:
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set_result(None)

    async def end(self) -> None:
        self._transport.abort()
        await self.gone


def answering(*answers: bytes, close: bool = False, half: bool = False) -> Serve:
    """Make such servers; `half` sends FIN and goes on reading."""
    return lambda: Answering(answers, close=close, half=half)


async def perform(serve: Serve, script: Script) -> Tally:
    made: list[Answering] = []

    def make() -> Answering:
        made.append(serve())
        return made[-1]

    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    async with server:
        sent = Traffic("127.0.0.1", {"tcp": server.sockets[0].getsockname()[1]}, FORBIDDEN)
        await sent.perform(script)
        for one in made:
            await one.end()
    return sent.tally


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "HANG_SECONDS", 0.4)
    monkeypatch.setattr(traffic, "LINGER_SECONDS", 0.01)


CONNACK, PINGRESP = b"\x20\x03\x00\x00\x00", b"\xd0\x00"


async def test_a_server_that_answers_is_fine() -> None:
    tally = await perform(answering(CONNACK, PINGRESP), make_script(Ending.ANSWER))
    assert (tally.faults, tally.answered, tally.packets) == ([], 1, 2)


async def test_a_server_that_closes_is_fine() -> None:
    for ending in (Ending.ANSWER, Ending.LINGER):
        tally = await perform(answering(CONNACK, close=True), make_script(ending))
        assert (tally.faults, tally.closed) == ([], 1)


@pytest.mark.parametrize(
    ("serve", "script", "told"),
    [
        (answering(), make_script(Ending.ANSWER), "no answer to the first bytes"),
        (answering(CONNACK), make_script(Ending.ANSWER), Ending.ANSWER.value),
        (answering(CONNACK, PINGRESP), make_script(Ending.REFUSAL), Ending.REFUSAL.value),
        (answering(CONNACK), make_script(Ending.LINGER), "not closed"),
        (answering(CONNACK, half=True), make_script(Ending.LINGER), Ending.LINGER.value),
        (answering(b"", b""), make_script(Ending.STALL, awaits=False), Ending.STALL.value),
        (answering(b"\x10\x00", close=True), make_script(Ending.ANSWER), "no packet"),
        (answering(b"\xe0\x10internal error00", close=True), make_script(Ending.ANSWER), "internal error"),
        (
            answering(b"\x30\x10\x00\x01aof another...", close=True),
            make_script(Ending.ANSWER),
            "another client",
        ),
    ],
    ids=[
        "mute",
        "no PINGRESP",
        "not refused",
        "not closed",
        "not cut",
        "not in time",
        "no packet",
        "defect",
        "let in",
    ],
)
async def test_a_server_that_does_it_wrong_is_noticed(serve: Serve, script: Script, told: str) -> None:
    (fault,) = (await perform(serve, script)).faults
    assert told in fault.what and fault.script is script


async def test_a_server_that_is_gone_is_noticed() -> None:
    sent = Traffic("127.0.0.1", {"tcp": 1}, FORBIDDEN)
    await sent.perform(make_script(Ending.ANSWER))
    assert "no connection" in sent.tally.faults[0].what


def outcome(**changes: object) -> Outcome:
    fine: dict[str, object] = {
        "seed": 7,
        "transport": "both",
        "tally": Tally(packets=100, connections=10),
        "seconds": 1.0,
        "alive": True,
        "warm_bytes": 1 << 26,
        "end_bytes": 1 << 26,
        "files_left": 0,
        "good": GOOD,
    }
    return Outcome(**{**fine, **changes})  # type: ignore[arg-type]


def slower(**changes: object) -> Report:
    fields = {name: getattr(GOOD, name) for name in Report.__slots__}
    return Report(**{**fields, **changes})  # type: ignore[arg-type]


def test_nothing_is_wrong_with_what_is_as_it_must_be() -> None:
    assert problems(outcome(), Bounds()) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"alive": False}, "has ended"),
        ({"defects": ['{"event":"defect"}']}, "the log says"),
        ({"suspects": {5: (b"\x10\x00",)}}, "--seed 7 --transport both --first 5 --connections 1\n    1000"),
        (
            {"tally": Tally(faults=[Fault("mute", make_script(Ending.ANSWER))])},
            "mute: connection 3 (tcp, version 5)",
        ),
        ({"end_bytes": (1 << 26) + (25 << 20)}, "memory grew by 25.0 MiB"),
        ({"files_left": 1}, "1 descriptors"),
        ({"good": slower(lost=1)}, "lost 1 of 10"),
        ({"good": slower(p99_ms=251.0)}, "p99"),
        ({"good": slower(max_ms=2_001.0)}, "waited"),
        ({"good": slower(connect_max_ms=2_001.0)}, "waited"),
        ({"good": slower(problems=["closed"])}, "closed"),
    ],
    ids=lambda value: "" if isinstance(value, str) else ",".join(value),
)
def test_what_is_not_as_it_must_be_is_told(changes: dict[str, object], told: str) -> None:
    (problem,) = problems(outcome(**changes), Bounds())
    assert told in problem


async def test_a_service_that_closes_before_all_is_sent_is_not_waited_for() -> None:
    """Although our end stays open."""
    tally = await perform(answering(close=True), make_script(Ending.LINGER))
    assert (tally.faults, tally.closed) == ([], 1)
