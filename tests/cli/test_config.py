"""`tokenmq config` shows what holds."""

from pathlib import Path

import pytest


def test_every_setting_is_shown_with_where_it_comes_from(run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("tokenmq.toml").write_text('[http]\nport = 9000\n[tokens]\nsigning_key_secret = "hush-hush"\n')
    monkeypatch.setenv("TOKENMQ_LOG_LEVEL", "debug")
    rows = {(row["table"], row["key"]): row for row in run("config", "--json").json}
    assert (rows["http", "port"]["value"], rows["http", "port"]["origin"]) == (9000, "tokenmq.toml")
    assert rows["log", "level"]["origin"] == "TOKENMQ_LOG_LEVEL"
    assert rows["mqtt", "port"] == {
        "table": "mqtt",
        "key": "port",
        "variable": "TOKENMQ_MQTT_PORT",
        "value": 1883,
        "origin": "default",
        "sentence": "Port of MQTT over TCP; 0 takes any free one.",
    }
    assert rows["tokens", "signing_key_secret"]["value"] == "********"


def test_the_table_names_settings_and_hides_secrets(run) -> None:
    Path("tokenmq.toml").write_text('[database]\nurl = "postgresql://u:hunter2@h/d"\n')
    ran = run("config")
    assert "[http] port" in ran.out and "hunter2" not in ran.out
    assert len({len(line) for line in ran.out.splitlines()}) == 1


def test_a_wrong_setting_is_one_sentence(run) -> None:
    Path("other.toml").write_text("[http]\nprot = 1\n")
    ran = run("config", "--config", "other.toml")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "tokenmq: other.toml: unknown key prot in [http]; the nearest known one is port\n"
