import contextlib
import json
from collections.abc import Callable

import pytest
from bench.links import Target, dial
from bench.load import main
from bench.pubsub import Plan
from bench.reflector import Reflector
from bench.wire import BadStream

from bench import pubsub, wire


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("vary", [False, True], ids=["fixed", "varied"])
@pytest.mark.parametrize("batch", [False, True], ids=["each", "batch"])
def test_everything_sent_arrives_over_sockets(reflector_port: int, qos: int, vary: bool, batch: bool) -> None:
    plan = Plan(
        Target("127.0.0.1", reflector_port), pairs=2, qos=qos, seconds=0.05, warmup_seconds=0.01,
        vary=vary, batch=batch,
    )  # fmt: skip
    result = pubsub.run(plan)
    assert result["received"] == result["want"]
    assert int(str(result["received"])) > 0


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_each_message_on_another_topic_arrives(reflector_port: int, qos: int) -> None:
    plan = Plan(
        Target("127.0.0.1", reflector_port), pairs=2, qos=qos, seconds=0.05, warmup_seconds=0.01, scatter=True
    )
    result = pubsub.run(plan)
    assert result["received"] == result["want"]
    assert result["parsed"] == 0


class Faulty(Reflector):
    """A reflector that does something else with the third piece of packets that it passes on."""

    def __init__(self, fault: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self._fault = fault
        self._pieces = 0

    def deliver(self, pair: bytes, data: bytes) -> None:
        self._pieces += 1
        super().deliver(pair, self._fault(data) if self._pieces == 3 else data)


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize(
    "fault",
    [lambda data: b"", lambda data: data + data, lambda data: data[:-1] + b"?"],
    ids=["lost", "doubled", "altered"],
)
def test_a_message_lost_or_doubled_or_altered_on_the_way_ends_the_run(
    serve: Callable[[Reflector], int],
    monkeypatch: pytest.MonkeyPatch,
    qos: int,
    fault: Callable[[bytes], bytes],
) -> None:
    monkeypatch.setattr(pubsub, "QUIET_SECONDS", 0.2)
    port = serve(Faulty(fault))
    with pytest.raises(BadStream):
        pubsub.run(Plan(Target("127.0.0.1", port), pairs=1, qos=qos, seconds=0.2, warmup_seconds=0.01))


def test_a_message_lost_last_of_all_ends_the_run(
    serve: Callable[[Reflector], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pubsub, "QUIET_SECONDS", 0.2)
    port = serve(Faulty(lambda data: b""))
    plan = Plan(Target("127.0.0.1", port), pairs=3, seconds=0.0, warmup_seconds=0.0)
    with pytest.raises(BadStream, match="lost: sent 300, received 200 of 300"):
        pubsub.run(plan)


def test_a_broker_that_keeps_no_session_is_told(reflector_port: int) -> None:
    plan = Plan(
        Target("127.0.0.1", reflector_port),
        pairs=1,
        qos=1,
        seconds=0.02,
        warmup_seconds=0.01,
        persistent=True,
    )
    with pytest.raises(BadStream, match="the broker kept no session"):
        pubsub.run(plan)


def test_the_reflector_acknowledges_packets_that_are_smaller_than_the_first(reflector_port: int) -> None:
    sizes = (300, 16, 40)
    packets = [
        wire.publish("bench/0", bytes(size), qos=1, version=4, packet_id=number)
        for number, size in enumerate(sizes, start=1)
    ]
    with contextlib.closing(dial(Target("127.0.0.1", reflector_port))) as publisher:
        publisher.send(b"".join(packets))
        answer = b""
        while len(answer) < 4 * len(sizes):
            answer += publisher.recv(64)
    assert answer == bytes.fromhex("40020001 40020002 40020003")


def test_fan_out_counts_every_receiver(reflector_port: int) -> None:
    plan = Plan(
        Target("127.0.0.1", reflector_port, version=5), pairs=1, fanout=7, seconds=0.05, warmup_seconds=0.01,
        properties=True,
    )  # fmt: skip
    result = pubsub.run(plan)
    assert result["received"] == 7 * int(str(result["sent"]))


def test_a_paced_load_reports_latencies(reflector_port: int) -> None:
    plan = Plan(
        Target("127.0.0.1", reflector_port), pairs=2, qos=1, seconds=0.1, warmup_seconds=0.02, rate=5000
    )
    result = pubsub.run(plan)
    assert 0 < float(str(result["p50_us"])) <= float(str(result["p99_us"])) <= float(str(result["max_us"]))


@pytest.mark.parametrize("mode", [["pubsub", "--seconds", "0.02"], ["connect", "--count", "20"]])
def test_one_json_line_and_status_0(
    reflector_port: int, mode: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--port", str(reflector_port), *mode]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["mode"] == mode[0]


def test_no_server_is_an_error_in_one_json_line_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", "1", "pubsub"]) == 1
    assert "refused" in json.loads(capsys.readouterr().out)["error"]
