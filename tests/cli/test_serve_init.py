"""`tokenmq init` and `tokenmq serve`, with a server that serves nothing."""

import builtins
import json
import os
import shlex
import stat
from pathlib import Path

import pytest

from tokenmq.errors import InvalidSettings

ADMIN = Path("tokenmq-data/admin.json")
DEMO = Path("tokenmq-data/demo.json")


def test_init_writes_the_administrators_key_and_does_not_print_it(run, wiring) -> None:
    ran = run("init")
    assert ran.code == 0
    assert "ik_1" not in ran.out + ran.err
    assert json.loads(ADMIN.read_text()) == {"url": "http://127.0.0.1:8080", "key": "ik_1"}
    assert not DEMO.exists()


def test_v05_credential_files_are_private(run, wiring) -> None:
    run("init", "--demo")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (ADMIN, DEMO, ADMIN.parent)] == [
        0o600,
        0o600,
        0o700,
    ]
    assert sorted(path.name for path in ADMIN.parent.iterdir()) == ["admin.json", "demo.json"]


def test_a_second_init_changes_nothing(run, wiring) -> None:
    run("init")
    ran = run("init")
    assert ran.code == 0 and "nothing was changed" in ran.out
    assert json.loads(ADMIN.read_text())["key"] == "ik_1"


def test_init_json(run, wiring) -> None:
    assert run("init", "--demo", "--json").json == {
        "data_folder": "tokenmq-data",
        "admin_file": "tokenmq-data/admin.json",
        "demo_file": "tokenmq-data/demo.json",
        "organization_id": "org_k7xm4pqr2n5t",
        "created": True,
    }
    assert run("init", "--json").json["created"] is False


def test_a_lost_administrators_file_is_made_again_and_the_demo_kept(run, wiring) -> None:
    run("init", "--demo")
    ADMIN.unlink()
    run("init", "--demo")
    assert json.loads(ADMIN.read_text())["key"] == "ik_3"
    assert json.loads(DEMO.read_text())["secret_key"] == "sk_2"


def test_files_that_outlived_the_database_are_made_true_again(run, wiring) -> None:
    run("serve", "--demo")
    wiring.keys.clear()
    assert "Secret key      sk_4" in run("serve", "--demo").out
    assert json.loads(ADMIN.read_text())["key"] == "ik_3"
    assert json.loads(DEMO.read_text())["secret_key"] == "sk_4"


def test_a_demo_can_be_added_later(run, wiring) -> None:
    run("init")
    assert run("init", "--demo").code == 0
    assert json.loads(ADMIN.read_text())["key"] == "ik_1"
    assert json.loads(DEMO.read_text())["organization_id"] == "org_k7xm4pqr2n5t"


def test_serve_demo_prints_the_same_on_every_start(run, wiring) -> None:
    first, second = run("serve", "--demo"), run("serve", "--demo")
    assert first.code == 0
    assert first.out == second.out


def test_serve_demo_prints_what_to_paste_unwrapped(run, wiring) -> None:
    lines = run("serve", "--demo").out.splitlines()
    assert "Organization    org_k7xm4pqr2n5t  (demo)" in lines
    assert "Secret key      sk_2" in lines
    asked = {
        "organization_id": "org_k7xm4pqr2n5t",
        "user_id": "alice",
        "permissions": ["publish", "subscribe"],
        "topics": ["chat/#"],
    }
    saved = "tokenmq-data/alice.json"
    json_type = "Content-Type: application/json"
    permitted = "--permission publish --permission subscribe --topic 'chat/#'"
    curl = f"curl -s http://127.0.0.1:8080/v2/tokens -H 'Authorization: Bearer sk_2' -H '{json_type}'"
    create = "tokenmq token create --url http://127.0.0.1:8080 --org org_k7xm4pqr2n5t --user alice"
    held = f"--url mqtt://127.0.0.1:1883 --token-file {saved}"
    assert [line for line in lines if line.startswith(("curl", ".venv", "TOKENMQ_KEY="))] == [
        f"{curl} -d '{json.dumps(asked)}' | tee {saved}",
        f"TOKENMQ_KEY=sk_2 .venv/bin/{create} {permitted} --out {saved}",
        f".venv/bin/tokenmq sub 'chat/#' {held}",
        f".venv/bin/tokenmq pub chat/room1 hello {held}",
    ]


def test_the_printed_commands_run_as_they_stand(run, wiring, service, broker, monkeypatch) -> None:
    monkeypatch.delenv("TOKENMQ_KEY")
    monkeypatch.delenv("TOKENMQ_URL")
    wiring.ready.http_url = service.url
    lines = run("serve", "--demo").out.splitlines()
    curl, create, sub, pub = (line for line in lines if line.startswith(("curl", ".venv", "TOKENMQ_KEY=")))
    answer = {
        "token": "a.b.c",
        "token_id": "tok_1",
        "expires_at": "2030-03-17T17:46:40Z",
        "organization_id": "org_k7xm4pqr2n5t",
        "user_id": "alice",
        "mqtt_username": "alice@org_k7xm4pqr2n5t",
    }
    service.answers["POST", "/v2/tokens"] = (200, answer)
    variable, _, *words = shlex.split(create)
    with monkeypatch.context() as shell:
        shell.setenv(*variable.split("=", 1))
        assert run(*words).code == 0
    sent = shlex.split(curl)
    assert service.bodies == [json.loads(sent[sent.index("-d") + 1])]
    assert service.asked[0][3] == "Bearer sk_2"
    assert run(*shlex.split(sub)[1:]).code == 0
    assert run(*shlex.split(pub)[1:]).code == 0
    assert broker.made["username"] == "alice@org_k7xm4pqr2n5t"
    assert broker.did[-2] == ("publish", "chat/room1", b"hello", 1)


def test_serve_without_demo_prints_where_it_listens(run, wiring) -> None:
    run("init")
    out = run("serve").out
    assert (
        "http://127.0.0.1:8080" in out
        and "mqtt://127.0.0.1:1883" in out
        and "ws://127.0.0.1:8083/mqtt" in out
    )
    assert "curl" not in out and not DEMO.exists()


def test_serve_json_is_one_line(run, wiring) -> None:
    assert run("serve", "--demo", "--json").json == {
        "http_url": "http://127.0.0.1:8080",
        "mqtt_url": "mqtt://127.0.0.1:1883",
        "websocket_url": "ws://127.0.0.1:8083/mqtt",
        "organization_id": "org_k7xm4pqr2n5t",
        "secret_key": "sk_2",
    }


def test_serve_tells_listeners_with_tls_beside_the_others(run, wiring) -> None:
    wiring.ready.tls = {
        "https": "https://0.0.0.0:8443",
        "mqtts": "mqtts://0.0.0.0:8883",
        "wss": "wss://0.0.0.0:8084/mqtt",
    }
    run("init")
    assert run("serve", "--json").json == {
        "http_url": "http://127.0.0.1:8080",
        "https_url": "https://127.0.0.1:8443",
        "mqtt_url": "mqtt://127.0.0.1:1883",
        "mqtts_url": "mqtts://127.0.0.1:8883",
        "websocket_url": "ws://127.0.0.1:8083/mqtt",
        "wss_url": "wss://127.0.0.1:8084/mqtt",
    }
    lines = run("serve").out.splitlines()
    assert "MQTT            mqtts://127.0.0.1:8883" in lines
    assert "MQTT, browsers  wss://127.0.0.1:8084/mqtt" in lines
    told = {"url": "http://127.0.0.1:8080", "key": "ik_1", "mqtt_url": "mqtt://127.0.0.1:1883"}
    assert json.loads(ADMIN.read_text()) == told


def test_serve_without_listeners_in_the_open_tells_and_keeps_those_with_tls(run, wiring, monkeypatch) -> None:
    urls = {"https": "https://127.0.0.1:8443", "wss": "wss://127.0.0.1:8084/mqtt"}
    monkeypatch.setattr(type(wiring.ready), "urls", urls)
    told = run("serve", "--demo", "--json").json
    assert [name for name in told if name.endswith("_url")] == ["https_url", "wss_url"]
    kept = json.loads(ADMIN.read_text())
    assert (kept["url"], kept["mqtt_url"]) == (urls["https"], urls["wss"])
    monkeypatch.setattr(type(wiring.ready), "urls", {"https": urls["https"]})
    out = run("serve", "--demo").out
    assert "MQTT" not in out.replace("TOKENMQ", "") and "tokenmq sub 'chat/#' --token-file" in out
    assert "mqtt_url" not in json.loads(ADMIN.read_text())


def test_serve_keeps_the_address_in_admin_json_true(run, wiring) -> None:
    run("init")
    wiring.ready.http_url = "http://127.0.0.1:9000"
    run("serve")
    told = {"url": "http://127.0.0.1:9000", "key": "ik_1", "mqtt_url": "mqtt://127.0.0.1:1883"}
    assert json.loads(ADMIN.read_text()) == told


def test_init_rotate_makes_another_administrators_key_and_keeps_the_addresses(run, wiring) -> None:
    run("init")
    run("serve")
    ran = run("init", "--rotate")
    assert ran.code == 0 and "nothing was changed" not in ran.out
    assert "ik_2" not in ran.out + ran.err
    told = {"url": "http://127.0.0.1:8080", "key": "ik_2", "mqtt_url": "mqtt://127.0.0.1:1883"}
    assert json.loads(ADMIN.read_text()) == told


@pytest.mark.skipif(os.name != "posix", reason="files have modes on POSIX alone")
def test_v05_an_administrators_file_that_others_can_read_is_refused_before_anything_listens(
    run, wiring, monkeypatch
) -> None:
    run("init")
    ADMIN.chmod(0o644)
    monkeypatch.setattr(wiring, "serve", lambda *_: pytest.fail("it listens"), raising=False)
    ran = run("serve")
    assert (ran.code, ran.out) == (1, "")
    assert "chmod 600" in ran.err


def test_where_all_addresses_are_listened_on_one_to_connect_to_is_printed(run, wiring) -> None:
    wiring.ready.http_url = "http://0.0.0.0:8080"
    wiring.ready.mqtt_url = "mqtt://[::]:1883"
    told = run("serve", "--demo", "--json").json
    assert (told["http_url"], told["mqtt_url"]) == ("http://127.0.0.1:8080", "mqtt://[::1]:1883")
    assert json.loads(ADMIN.read_text())["url"] == "http://127.0.0.1:8080"


def test_serve_without_init_says_that_nobody_can_manage_it(run, wiring) -> None:
    assert "`.venv/bin/tokenmq init`" in run("serve").err


def test_a_taken_port_is_code_1_and_one_sentence(run, wiring) -> None:
    wiring.fails = InvalidSettings("port 1883 is taken; [mqtt] port moves it")
    ran = run("serve", "--demo")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "tokenmq: port 1883 is taken; [mqtt] port moves it\n"


def test_the_data_folder_is_the_one_of_the_settings(run, wiring) -> None:
    Path("my.toml").write_text('[data]\nfolder = "a b"\n')
    out = run("serve", "--demo", "--config", "my.toml").out
    assert Path("a b/demo.json").exists()
    assert "--token-file 'a b/alice.json'" in out


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch):
    """Make the wiring's import fail for want of a module."""
    real = builtins.__import__

    def miss(module: str) -> None:
        def importing(name, *rest):
            if name == "tokenmq" and "app" in (rest[2] or ()):
                raise ModuleNotFoundError(f"No module named {module!r}", name=module)
            return real(name, *rest)

        monkeypatch.setattr(builtins, "__import__", importing)

    return miss


@pytest.mark.parametrize("command", ["init", "serve"])
def test_without_the_server_part_the_sentence_says_what_to_install(run, missing, command: str) -> None:
    missing("uvicorn")
    ran = run(command)
    assert ran.code == 1
    assert ran.err == (
        'tokenmq: the server part is not installed (uvicorn is missing); run: pip install "tokenmq[server]"\n'
    )
    assert not ADMIN.exists()


def test_a_module_of_ours_that_is_missing_is_a_defect(run, missing) -> None:
    missing("tokenmq.gone")
    with pytest.raises(ModuleNotFoundError):
        run("init")
