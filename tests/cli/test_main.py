"""Exit codes, one sentence on stderr, and what is common to all commands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tokenmq
from tokenmq import __version__
from tokenmq.cli import document, main
from tokenmq.cli.exits import status_of
from tokenmq.errors import (
    ConnectError,
    DataFolderInUse,
    Denied,
    InvalidKey,
    InvalidRequest,
    InvalidSettings,
    NotDelivered,
    ServiceError,
    TokenError,
    TokenmqError,
    Unreachable,
)

COMMANDS = [
    "serve", "init", "org create", "org list", "key create", "key list", "key revoke", "token create",
    "token inspect", "token list", "token revoke", "pub", "sub", "config", "version",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_json(run, command: str) -> None:
    ran = run(*command.split(), "--help")
    assert ran.code == 0
    assert "--json" in ran.out
    assert ran.err == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nope"], "nope"),
        (["token", "crate"], 'Did you mean "create"?'),
        (["pub", "a"], "PAYLOAD"),
        (["sub"], "TOPIC_FILTERS"),
        (["version", "--colour"], "--colour"),
        (["token", "create", "--ttl", "soon"], "--ttl"),
        (["sub", "a", "--qos", "2"], "--qos"),
        (["token", "revoke"], "name one of"),
        (["token", "revoke", "tok_1", "--all"], "name one of"),
        (["token", "create", "--grant", "publish"], "--grant"),
        (["token", "create", "--quiet", "--json"], "exclude each other"),
        (["token", "list", "--url", "nowhere", "--key", "sk_x"], "nowhere"),
    ],
)
def test_wrong_usage_is_code_2_and_one_line(run, words: list[str], told: str) -> None:
    ran = run(*words)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("tokenmq: ") and told in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ServiceError(400, "invalid_request", "x"), 1),
        (ServiceError(401, "unauthorized", "x"), 3),
        (ServiceError(403, "forbidden", "x"), 3),
        (ServiceError(404, "not_found", "x"), 4),
        (ServiceError(409, "conflict", "x"), 1),
        (ServiceError(502, "bad_answer", "x"), 5),
        (ServiceError(503, "unavailable", "x"), 5),
        (ConnectError("x", reason_code=0x80), 1),
        (ConnectError("x", reason_code=0x86), 3),
        (ConnectError("x", reason_code=0x87), 3),
        (ConnectError("x", reason_code=0xA0), 3),
        (ConnectError("x", reason_code=0x88), 5),
        (ConnectError("x"), 5),
        (Denied("publish", "a", "x"), 3),
        (Denied("publish", "a", "x", reason_code=0x97), 1),
        (NotDelivered("a", "x"), 1),
        (TokenError("auth_failed", "x"), 3),
        (InvalidKey("x"), 3),
        (Unreachable("x"), 5),
        (InvalidRequest(("a", "x")), 2),
        (InvalidSettings("x"), 1),
        (DataFolderInUse("x"), 1),
        (TokenmqError("x"), 1),
    ],
    ids=lambda value: value if isinstance(value, int) else f"{type(value).__name__}",
)
def test_each_error_has_its_exit_code(error: TokenmqError, code: int) -> None:
    assert status_of(error) == code


def test_a_message_that_was_not_delivered_has_the_exit_code_of_what_kept_it() -> None:
    error = NotDelivered("a", "x")
    error.__cause__ = ConnectError("token expired", reason_code=0xA0)
    assert status_of(error) == 3


def test_what_others_send_cannot_steer_the_terminal(run, service) -> None:
    service.answers["GET", "/v2/tokens"] = (400, {"error": "x", "detail": "a\x1b[2Jb\nc"})
    assert run("token", "list").err == "tokenmq: a\\x1b[2Jb\\nc\n"


def test_an_interruption_is_code_130(run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tokenmq.cli.config.load", interrupted)
    assert run("config").code == 130


def test_a_defect_keeps_its_traceback(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenmq.cli.config.load", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["config"])


def test_the_page_in_the_docs_is_the_one_of_these_commands() -> None:
    kept = Path(__file__).parents[2] / "docs" / "cli.md"
    assert kept.read_text(encoding="utf-8") == document()


def test_version(run) -> None:
    assert run("version").out == f"tokenmq {__version__}\n"
    assert run("--version").out == f"{__version__}\n"
    assert run("version", "--json").json["version"] == __version__


def test_the_module_can_be_run_and_a_reader_may_leave() -> None:
    command = f"{sys.executable} -m tokenmq config | head -c 1"
    done = subprocess.run(command, shell=True, capture_output=True, env=_environment(), timeout=60)
    assert done.stderr == b""


def test_plain_commands_do_not_import_the_server() -> None:
    server = {"sqlalchemy", "starlette", "uvicorn", "cryptography", "picows", "structlog"}
    code = f"import sys, tokenmq.cli; print(sorted({server} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=_environment(), timeout=60)
    assert (done.stdout, done.stderr) == (b"[]\n", b"")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(tokenmq.__file__).parents[1])}
