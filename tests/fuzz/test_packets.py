"""What the generator makes: right packets are right, and everything follows from the seed."""

from __future__ import annotations

from random import Random

import pytest
from fuzz.frames import walk
from fuzz.packets import Credential, Maker
from fuzz.scripts import Ending, script

from fuzz import mutations
from tokenmq.errors import ProtocolError
from tokenmq.mqtt import codec

CREDENTIALS = [Credential(b"ann@org_a", b"x" * 200), Credential(b"ben@org_a", b"y" * 200)]
FIRST, LATER = 65_536, 1_048_576


def maker(seed: int, version: int, strange: float = 0.0) -> Maker:
    return Maker(Random(seed), version, CREDENTIALS, strange)


def decode_all(stream: bytes, version: int) -> list[str]:
    """Decode packets with the service's own codec; return their kinds."""
    found, pos = [], 0
    while pos < len(stream):
        frame = codec.frame(stream, pos, LATER)
        assert frame is not None
        first, start, pos = frame
        found.append(type(codec.decode(first, stream, start, pos, version)).__name__)
    return found


@pytest.mark.parametrize("version", [4, 5])
def test_packets_in_which_nothing_is_strange_are_right(version: int) -> None:
    """All but those that are made to be wrong: otherwise no connection would get anywhere."""
    kinds = set()
    for seed in range(400):
        made = maker(seed, version)
        right = set(made.kinds) - {Maker.foreign, Maker.auth}
        kinds |= set(decode_all(made.connect(), version))
        for make in sorted(right, key=lambda kind: kind.__name__):
            kinds |= set(decode_all(make(made), version))
    wanted = {
        "Connect",
        "Publish",
        "Puback",
        "Pubrec",
        "Pubrel",
        "Pubcomp",
        "Unsubscribe",
        "Pingreq",
        "Disconnect",
    }
    assert kinds >= wanted


def test_strange_packets_are_refused_in_many_ways() -> None:
    reasons = set()
    for seed in range(1_500):
        made = maker(seed, 5, strange=0.1)
        for make in (Maker.connect, *made.kinds):
            try:
                decode_all(make(made), 5)
            except ProtocolError as error:
                reasons.add(str(error))
            except AssertionError:
                reasons.add("not whole")
    assert len(reasons) > 100


@pytest.mark.parametrize("transport", ["tcp", "websocket"])
def test_script_follows_from_seed_and_number(transport: str) -> None:
    for number in range(50):
        assert script(7, number, (transport,), CREDENTIALS) == script(7, number, (transport,), CREDENTIALS)  # type: ignore[arg-type]
    assert script(7, 1, ("tcp",), CREDENTIALS) != script(8, 1, ("tcp",), CREDENTIALS)


def test_scripts_end_in_every_way_and_ask_for_an_answer_mostly() -> None:
    endings = [script(1, number, ("tcp", "websocket"), CREDENTIALS).ending for number in range(2_000)]
    assert set(endings) == set(Ending)
    assert endings.count(Ending.ANSWER) > 800


def test_a_stream_that_asks_for_an_answer_ends_at_a_border_behind_a_pingreq() -> None:
    for number in range(500):
        made = script(2, number, ("tcp",), CREDENTIALS)
        stream = b"".join(step.data for step in made.steps)
        found = walk(stream, max_first=FIRST, max_packet=LATER)
        if made.ending is Ending.ANSWER:
            assert stream.endswith(b"\xc0\x00") and not found.missing and not found.fatal
            assert found.pings == made.pings
        elif made.ending is Ending.REFUSAL:
            assert found.fatal
        if len(made.packets) > 1:
            assert sum(step.packets for step in made.steps) >= len(found.starts) - 1


def test_bending_changes_bytes_and_never_fails() -> None:
    random = Random(5)
    packets = [maker(3, 5).publish(), b"\xc0\x00", b"\x30", maker(4, 5).connect()]
    results = {mutations.bend(random, random.choice(packets), packets) for _ in range(5_000)}
    assert len(results) > 2_000
    assert max(map(len, results)) < 100_000


def test_cutting_loses_nothing() -> None:
    random = Random(6)
    for size in (1, 2, 50, 1_000):
        data = random.randbytes(size)
        for _ in range(50):
            assert b"".join(mutations.cut(random, data)) == data
