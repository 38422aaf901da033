"""`tokenmq pub` and `tokenmq sub`."""

import base64
import io
import json
import types
from pathlib import Path

import pytest

from tokenmq.client import Message
from tokenmq.errors import ConnectError, Denied


def jwt(**claims: object) -> str:
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b'=').decode()}.c2ln"


TOKEN = jwt(sub="alice", org="org_x")


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENMQ_TOKEN", TOKEN)


def login(broker) -> tuple[str, str]:
    return broker.made["username"], broker.made["password"]


def test_pub_publishes_once_at_qos_1_to_the_local_broker(run, broker) -> None:
    assert run("pub", "chat/room1", "hello").out == "published to chat/room1\n"
    assert broker.did == [("publish", "chat/room1", b"hello", 1), ("close",)]
    assert broker.made == {
        "url": "mqtt://127.0.0.1:1883",
        "username": "alice@org_x",
        "password": TOKEN,
        "client_id": None,
        "version": 5,
    }


def test_pub_says_when_nobody_listens(run, broker) -> None:
    broker.outcome = 0x10
    assert run("pub", "a", "b").out == "published to a (no matching subscribers)\n"
    assert run("pub", "a", "b", "--qos", "0", "--json").json == {
        "topic": "a",
        "qos": 0,
        "reason_code": 16,
        "reason": "No matching subscribers",
    }


def test_pub_without_an_answer_in_time_is_code_5(run, broker) -> None:
    broker.outcome = TimeoutError()
    assert (run("pub", "a", "b").code, run("pub", "a", "b").err) == (
        5,
        "tokenmq: the broker does not answer in time\n",
    )


def test_pub_that_is_refused_is_code_3(run, broker) -> None:
    broker.outcome = Denied("publish", "other/x", "why")
    ran = run("pub", "other/x", "")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err == "tokenmq: the broker refused the message to other/x: why (0x87)\n"


@pytest.mark.parametrize("payload", ["-5", "--x", "", "é"])
def test_pub_takes_any_payload(run, broker, payload: str) -> None:
    assert run("pub", "a", payload).code == 0
    assert broker.did[0] == ("publish", "a", payload.encode(), 1)


def test_pub_reads_the_payload_from_stdin(run, broker, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(b"\x00\xff\n")))
    run("pub", "a", "-")
    assert broker.did[0] == ("publish", "a", b"\x00\xff\n", 1)


@pytest.mark.parametrize("words", [["--token", "-"], ["--token-file", "-"]])
def test_stdin_cannot_be_payload_and_token(run, broker, words: list[str]) -> None:
    assert run("pub", "a", "-", *words).code == 2


def test_connection_options_are_passed_on(run, broker) -> None:
    run("pub", "a", "b", "--url", "ws://x:1/mqtt", "--client-id", "c", "--protocol", "3.1.1")
    assert broker.made | {"password": ""} == {
        "url": "ws://x:1/mqtt",
        "username": "alice@org_x",
        "password": "",
        "client_id": "c",
        "version": 4,
    }


def test_the_local_broker_is_the_one_of_the_settings(run, broker) -> None:
    Path("tokenmq.toml").write_text('[mqtt]\nhost = "0.0.0.0"\nport = 1999\nallow_plaintext = true\n')
    run("pub", "a", "b")
    assert broker.made["url"] == "mqtt://127.0.0.1:1999"
    Path("tokenmq.toml").write_text('[mqtt]\nhost = "::1"\n')
    run("pub", "a", "b")
    assert broker.made["url"] == "mqtt://[::1]:1883"


@pytest.mark.parametrize(
    ("words", "username"),
    [
        ([], "alice@org_x"),
        (["--user", "bob"], "bob@org_x"),
        (["--org", "org_y"], "alice@org_y"),
        (["--user", "b@b", "--org", "org_y"], "b%40b@org_y"),
        (["--user", "bob b", "--org", "org_y"], "bob%20b@org_y"),
    ],
)
def test_the_username_is_in_the_token_unless_it_is_said(run, broker, words: list[str], username: str) -> None:
    run("pub", "a", "b", *words)
    assert login(broker) == (username, TOKEN)


def test_a_server_connects_with_its_key(run, broker) -> None:
    run("pub", "a", "b", "--user", "server", "--org", "org_x", "--password", "sk_abc")
    assert login(broker) == ("server@org_x", "sk_abc")


def test_a_key_alone_does_not_tell_the_username(run, broker, monkeypatch) -> None:
    monkeypatch.setenv("TOKENMQ_TOKEN", "sk_canary")
    ran = run("pub", "a", "b")
    assert ran.code == 2 and "--user, --org" in ran.err and "canary" not in ran.err


def test_without_a_token_the_sentence_says_where_to_put_it(run, broker, monkeypatch) -> None:
    monkeypatch.delenv("TOKENMQ_TOKEN")
    ran = run("pub", "a", "b")
    assert (ran.code, ran.err) == (
        3,
        "tokenmq: no token: name its file with --token-file, or set TOKENMQ_TOKEN\n",
    )


def test_the_token_may_come_from_stdin(run, broker, monkeypatch) -> None:
    other = jwt(sub="bob", org="org_x")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{other}\n"))
    run("pub", "a", "b", "--token", "-")
    assert login(broker) == ("bob@org_x", other)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (f"{TOKEN}\n", ("alice@org_x", TOKEN)),
        ('{"token": "a.b.c", "mqtt_username": "bob@org_y", "more": 1}', ("bob@org_y", "a.b.c")),
        (f'\n {{"token": "{TOKEN}"}}', ("alice@org_x", TOKEN)),
    ],
    ids=["text", "answer", "answer-without-username"],
)
def test_a_token_file_wins_and_has_the_token_or_the_answer(
    run, broker, content: str, expected: object
) -> None:
    Path("t").write_text(content)
    run("pub", "a", "b", "--token-file", "t")
    assert login(broker) == expected


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"detail": "no such key"}', "t holds no token: no such key"),
        (b"{}", "t holds no token: it names no token"),
        (b"{", "t holds no token"),
        (b"\xff\xfe", "t holds no token: it is not text"),
    ],
    ids=["refusal", "empty", "broken", "binary"],
)
def test_a_file_without_a_token_says_why(run, broker, content: bytes, told: str) -> None:
    Path("t").write_bytes(content)
    ran = run("pub", "a", "b", "--token-file", "t")
    assert ran.code == 3 and told in ran.err


def test_a_token_file_that_is_not_there_is_one_sentence(run, broker) -> None:
    ran = run("pub", "a", "b", "--token-file", "nope")
    assert (ran.code, ran.err) == (1, "tokenmq: nope: No such file or directory\n")


def test_sub_prints_a_line_a_message(run, broker) -> None:
    broker.inbox = [Message("a", b"one", 0, retain=False), Message("b", b"\xfftwo\x1b[2J\n", 1, retain=True)]
    ran = run("sub", "a", "b/#")
    assert ran.out == "a one\nb \\\\xfftwo\\x1b[2J\\n\n".replace("\\\\xff", "\\xff")
    assert ran.err == "listening to a, b/# as alice@org_x, Ctrl-C ends\n"
    assert broker.did == [("subscribe", "a", 1), ("subscribe", "b/#", 1), ("close",)]


def test_sub_json_prints_an_object_a_line(run, broker) -> None:
    broker.inbox = [Message("a", b"one\n", 0, retain=False), Message("b", b"\xff", 1, retain=True)]
    lines = [json.loads(line) for line in run("sub", "#", "--json", "--qos", "0").out.splitlines()]
    assert lines == [
        {"topic": "a", "qos": 0, "retain": False, "payload": "one\n"},
        {"topic": "b", "qos": 1, "retain": True, "payload_base64": "/w=="},
    ]
    assert broker.did[0] == ("subscribe", "#", 0)


def test_sub_ends_after_count_messages(run, broker) -> None:
    broker.inbox = [Message("a", b"one", 0, retain=False), AssertionError("one too many")]
    assert run("sub", "a", "--count", "1").code == 0


def test_sub_is_ended_by_interruption_with_success(run, broker) -> None:
    broker.inbox = [Message("a", b"one", 0, retain=False), KeyboardInterrupt()]
    ran = run("sub", "a")
    assert (ran.code, ran.out) == (0, "a one\n")


def test_sub_ends_with_3_when_the_token_does(run, broker) -> None:
    broker.inbox = [ConnectError("disconnected: token expired at noon (0xA0)", reason_code=0xA0)]
    ran = run("sub", "a")
    assert ran.code == 3
    assert ran.err.endswith("tokenmq: disconnected: token expired at noon (0xA0)\n")
