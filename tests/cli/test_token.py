"""`tokenmq token`."""

import base64
import io
import json
import shlex
import stat
from pathlib import Path

import pytest

from tokenmq.cli.files import AdminFile, admin_path, write


def jwt(**claims: object) -> str:
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in ({"alg": "ES256", "typ": "at+jwt"}, claims)
    ]
    return ".".join([*parts, "c2ln"])


TOKEN = jwt(sub="alice", org="org_x", exp=1_900_000_000)

ISSUED = {
    "token": TOKEN,
    "token_id": "tok_1",
    "expires_at": "2030-03-17T17:46:40Z",
    "organization_id": "org_x",
    "user_id": "alice",
    "mqtt_username": "alice@org_x",
    "permissions": ["publish", "subscribe"],
    "topics": ["chat/#"],
    "grants": [],
}


@pytest.fixture
def issuing(service):
    service.answers["POST", "/v2/tokens"] = (200, ISSUED)
    return service


def test_create_sends_only_what_is_said(run, issuing) -> None:
    run("token", "create", "--user", "alice")
    assert issuing.bodies == [{"user_id": "alice"}]


def test_create_sends_everything_that_is_said(run, issuing) -> None:
    run(
        *(
            "token",
            "create",
            "--email",
            "a@b.c",
            "--topic",
            "chat/#",
            "--topic",
            "x/+",
            "--permission",
            "publish",
        ),
        *(
            "--ttl",
            "60",
            "--client-id",
            "web-*",
            "--no-renewable",
            "--integration-id",
            "i",
            "--replace-existing",
        ),
        *("--replace-sessions", "--org", "org_x"),
    )
    assert issuing.bodies == [
        {
            "user_email": "a@b.c",
            "topics": ["chat/#", "x/+"],
            "permissions": ["publish"],
            "ttl": 60,
            "client_id": "web-*",
            "renewable": False,
            "integration_id": "i",
            "replace_existing": True,
            "replace_sessions": True,
            "organization_id": "org_x",
        }
    ]


def test_create_takes_grants(run, issuing) -> None:
    run("token", "create", "--user", "alice", "--grant", "publish,subscribe=chat/#", "--grant", "history=a=b")
    assert issuing.bodies[0]["grants"] == [
        {"topics": ["chat/#"], "permissions": ["publish", "subscribe"]},
        {"topics": ["a=b"], "permissions": ["history"]},
    ]


def test_create_prints_token_expiry_username_and_commands_to_paste(run, issuing) -> None:
    lines = run("token", "create", "--user", "alice").out.splitlines()
    assert lines[0] == f"token     {TOKEN}"
    assert "expires   2030-03-17T17:46:40Z" in lines and "username  alice@org_x" in lines
    assert lines[-3:] == [
        f"export TOKENMQ_TOKEN={TOKEN}",
        ".venv/bin/tokenmq sub 'chat/#'",
        ".venv/bin/tokenmq pub chat/room1 hello",
    ]


def test_the_printed_commands_run_as_they_stand(
    run, issuing, broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, export, sub, pub = run("token", "create", "--user", "alice").out.splitlines()
    name, _, value = shlex.split(export)[1].partition("=")
    monkeypatch.setenv(name, value)
    assert run(*shlex.split(pub)[1:]).code == 0
    assert broker.did[0] == ("publish", "chat/room1", b"hello", 1)
    assert (broker.made["username"], broker.made["password"]) == ("alice@org_x", TOKEN)
    assert run(*shlex.split(sub)[1:]).code == 0


def printed(run) -> list[str]:
    """Return the commands that a creation prints, without the variable."""
    return run("token", "create", "--user", "alice").out.splitlines()[-2:]


def test_commands_name_the_broker_where_the_service_has_said_where_it_is(run, issuing, broker) -> None:
    write(
        admin_path(Path("tokenmq-data")),
        AdminFile(url=issuing.url, key="ik_1", mqtt_url="mqtt://127.0.0.1:2883"),
    )
    sub, pub = printed(run)
    assert sub == ".venv/bin/tokenmq sub 'chat/#' --url mqtt://127.0.0.1:2883"
    assert pub == ".venv/bin/tokenmq pub chat/room1 hello --url mqtt://127.0.0.1:2883"
    # A service of another address says nothing of this one.
    write(
        admin_path(Path("tokenmq-data")), AdminFile(url="http://127.0.0.1:1", key="ik_1", mqtt_url="mqtt://x")
    )
    assert printed(run)[0] == ".venv/bin/tokenmq sub 'chat/#'"


def test_commands_name_the_broker_of_settings_that_they_do_not_find(run, issuing) -> None:
    Path("other.toml").write_text("[mqtt]\nport = 2883\n")
    out = run("token", "create", "--user", "alice", "--config", "other.toml").out
    assert out.endswith("tokenmq pub chat/room1 hello --url mqtt://127.0.0.1:2883\n")
    Path("other.toml").rename("tokenmq.toml")
    assert printed(run)[1] == ".venv/bin/tokenmq pub chat/room1 hello"


def test_only_what_the_token_permits_is_suggested(run, service) -> None:
    grants = [{"topics": ["a/+/b"], "permissions": ["publish"]}]
    service.answers["POST", "/v2/tokens"] = (
        200,
        {**ISSUED, "permissions": [], "topics": [], "grants": grants},
    )
    out = run("token", "create", "--user", "alice").out
    assert "tokenmq pub a/room1/b hello" in out and "tokenmq sub" not in out


def test_quiet_prints_the_token_alone(run, issuing) -> None:
    assert run("token", "create", "--user", "alice", "--quiet").out == f"{TOKEN}\n"


def test_json_prints_the_answer_alone(run, issuing) -> None:
    assert run("token", "create", "--user", "alice", "--json").json == ISSUED


def test_v05_out_writes_a_private_file_that_token_file_reads(run, issuing, broker) -> None:
    Path("alice.json").write_text("older and open to all")
    out = run("token", "create", "--user", "alice", "--out", "alice.json").out
    assert "export" not in out
    assert "tokenmq sub 'chat/#' --token-file alice.json" in out
    assert stat.S_IMODE(Path("alice.json").stat().st_mode) == 0o600
    assert json.loads(Path("alice.json").read_text()) == ISSUED
    assert run("pub", "chat/x", "hi", "--token-file", "alice.json").code == 0
    assert broker.made["password"] == TOKEN


def test_a_refusal_is_the_services_sentence(run, service) -> None:
    service.answers["POST", "/v2/tokens"] = (
        403,
        {"error": "forbidden", "detail": "filter # is wider than chat/#"},
    )
    ran = run("token", "create", "--user", "alice", "--topic", "#")
    assert (ran.code, ran.out, ran.err) == (3, "", "tokenmq: filter # is wider than chat/#\n")


HELD = jwt(sub="alice", org="org_x", fam="tok_1", exp=1_900_000_000)


def test_refresh_asks_without_a_key_and_writes_the_file_anew(run, service) -> None:
    service.answers["POST", "/v2/tokens/refresh"] = (200, ISSUED)
    Path("alice.json").write_text(json.dumps({**ISSUED, "token": HELD}))
    ran = run("token", "refresh", "--token-file", "alice.json")
    assert ran.code == 0 and "--token-file alice.json" in ran.out
    assert service.bodies == [{"token_id": "tok_1", "current_token_password": HELD}]
    assert service.asked[0][3] is None
    assert json.loads(Path("alice.json").read_text()) == ISSUED
    assert stat.S_IMODE(Path("alice.json").stat().st_mode) == 0o600


def test_refresh_of_a_text_prints_the_next(run, service) -> None:
    service.answers["POST", "/v2/tokens/refresh"] = (200, ISSUED)
    assert run("token", "refresh", HELD, "--quiet").out == f"{TOKEN}\n"
    assert run("token", "refresh", HELD, "--json").json == ISSUED


def test_exchange_names_the_organization_of_the_token(run, service) -> None:
    service.answers["POST", "/v2/tokens/exchange"] = (200, ISSUED)
    ran = run("token", "exchange", HELD, "--out", "other.json")
    assert ran.code == 0
    assert service.bodies == [{"token": HELD, "organization_id": "org_x"}]
    assert json.loads(Path("other.json").read_text()) == ISSUED


@pytest.mark.parametrize("command", ["refresh", "exchange"])
def test_what_names_no_family_and_organization_is_not_sent(run, service, command: str) -> None:
    ran = run("token", command, jwt(sub="alice"))
    assert ran.code != 0 and service.bodies == []
    assert run("token", command, HELD, "--quiet", "--json").code != 0


def test_inspect_without_a_key_says_that_nothing_is_verified(run) -> None:
    ran = run("token", "inspect", TOKEN)
    assert ran.code == 0
    assert ran.out.startswith("NOT VERIFIED")
    assert "alice@org_x" in ran.out and "2030-03-17T17:46:40Z" in ran.out and "ES256" in ran.out


def test_inspect_tells_that_a_token_is_over(run) -> None:
    assert "(over)" in run("token", "inspect", jwt(sub="a", org="o", exp=1)).out


@pytest.mark.parametrize("exp", [2**70, -(2**70), "soon", None, 1.5, True])
def test_inspect_shows_a_token_with_a_strange_expiry(run, exp: object) -> None:
    assert run("token", "inspect", jwt(sub="a\x1b[2J", exp=exp)).code == 0


def test_inspect_asks_the_service_when_there_is_a_key(run, service) -> None:
    service.answers["POST", "/v2/tokens/introspect"] = (200, {"active": True, "sub": "alice"})
    ran = run("token", "inspect", TOKEN, "--json")
    assert ran.code == 0
    assert ran.json == {
        "verified": True,
        "username": "alice@org_x",
        "header": {"alg": "ES256", "typ": "at+jwt"},
        "claims": {"sub": "alice", "org": "org_x", "exp": 1_900_000_000},
        "introspection": {"active": True, "sub": "alice"},
        "not_checked": None,
    }
    assert service.bodies == [{"token": TOKEN}]


def test_inspect_names_the_tokens_organization_for_an_administrator(run, service) -> None:
    service.answers["POST", "/v2/tokens/introspect"] = (200, {"active": True})
    run("token", "inspect", TOKEN, "--key", "ik_abc")
    assert service.bodies == [{"token": TOKEN, "organization_id": "org_x"}]


def test_inspect_of_a_token_that_the_service_refuses_is_code_3(run, service) -> None:
    service.answers["POST", "/v2/tokens/introspect"] = (200, {"active": False})
    ran = run("token", "inspect", TOKEN)
    assert ran.code == 3
    assert "NOT ACTIVE" in ran.out
    assert run("token", "inspect", TOKEN, "--json").json["verified"] is False


def test_inspect_says_why_the_service_could_not_be_asked(run, service) -> None:
    ran = run("token", "inspect", TOKEN)
    assert ran.code == 0
    assert ran.out.startswith("NOT VERIFIED") and "not checked  no such object" in ran.out


@pytest.mark.parametrize("how", ["variable", "stdin", "file"])
def test_inspect_takes_the_token_from_elsewhere_than_the_command_line(run, how: str, monkeypatch) -> None:
    words = ["token", "inspect"]
    if how == "variable":
        monkeypatch.setenv("TOKENMQ_TOKEN", TOKEN)
    elif how == "stdin":
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{TOKEN}\n"))
        words.append("-")
    else:
        Path("t").write_text(f"{TOKEN}\n")
        words += ["--token-file", "t"]
    assert "alice@org_x" in run(*words).out


def test_inspect_of_what_is_no_token_fails_without_showing_it(run) -> None:
    ran = run("token", "inspect", "sk_canary")
    assert (ran.code, ran.out) == (1, "")
    assert "canary" not in ran.err


def test_list(run, service) -> None:
    found = [
        {
            "token_id": "tok_1",
            "user_id": "alice",
            "status": "active",
            "permissions": ["publish"],
            "topics": ["a", "b"],
        }
    ]
    service.answers["GET", "/v2/tokens"] = (200, {"tokens": found, "next": None})
    assert run("token", "list", "--user", "alice", "--status", "active", "--json").json == found
    assert service.asked[0][1] == "/v2/tokens?user_id=alice&status=active&limit=100"
    assert "publish=a,b" in run("token", "list").out


def test_list_shows_different_grants(run, service) -> None:
    grants = [
        {"topics": ["a"], "permissions": ["publish", "history"]},
        {"topics": ["b"], "permissions": ["subscribe"]},
    ]
    found = [{"token_id": "tok_1", "permissions": [], "topics": [], "grants": grants}]
    service.answers["GET", "/v2/tokens"] = (200, {"tokens": found})
    assert "publish,history=a; subscribe=b" in run("token", "list").out


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (["tok_1"], {"token_id": "tok_1"}),
        (["--user", "alice"], {"user_id": "alice"}),
        (["--client-id", "c"], {"client_id": "c"}),
        (["--made-by", "k"], {"key_id": "k"}),
        (["--all", "--reason", "leak", "--issued-before", "2026-01-01T00:00:00Z"],
         {"all": True, "reason": "leak", "issued_before": "2026-01-01T00:00:00Z"}),
        (["tok_1", "--org", "org_x"], {"token_id": "tok_1", "organization_id": "org_x"}),
    ],
)  # fmt: skip
def test_revoke(run, service, words: list[str], body: dict[str, object]) -> None:
    service.answers["POST", "/v2/tokens/revoke"] = (200, {"revoked": 2, "sessions_closed": 1})
    assert run("token", "revoke", *words).out == "tokens revoked      2\nconnections closed  1\n"
    assert service.bodies == [body]


def test_revoke_json(run, service) -> None:
    service.answers["POST", "/v2/tokens/revoke"] = (200, {"revoked": 0, "sessions_closed": 0})
    assert run("token", "revoke", "tok_1", "--json").json == {"revoked": 0, "sessions_closed": 0}
