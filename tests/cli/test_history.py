"""`tokenmq history`."""

import json

import pytest

RULES = {
    "rules": [
        {"topic": "chat/#", "max_age": 86_400, "max_messages": 100, "durable": False},
        {"topic": "log/#", "max_age": 60, "max_messages": 5, "durable": True},
    ]
}
MESSAGE = {
    "id": 64, "topic": "chat/a", "payload": "hello\x1b", "qos": 1, "retain": False,
    "user_id": "ann", "at": "2026-11-24T12:00:00Z",
}  # fmt: skip
BINARY = {**MESSAGE, "id": 128, "payload_base64": "/wA="}
del BINARY["payload"]


@pytest.fixture
def rules(service):
    service.answers["GET", "/v2/history/rules"] = (200, RULES)
    service.answers["PUT", "/v2/history/rules"] = (200, RULES)
    return service


def put(service):
    method, path, body = service.asked[-1][:3]
    assert (method, path) == ("PUT", "/v2/history/rules")
    return body


def test_rules_are_shown(run, rules) -> None:
    out = run("history", "rules").out
    assert "chat/#" in out and "86400" in out and "true" in out
    assert run("history", "rules", "--json").json == RULES


@pytest.mark.parametrize("document", [RULES, RULES["rules"]])
def test_rules_are_put_from_a_file(run, rules, tmp_path, document) -> None:
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(document))
    assert run("history", "rules", str(file)).code == 0
    assert put(rules) == RULES


def test_a_rule_is_put_in_its_place_or_as_the_last_one(run, rules) -> None:
    of = ("--max-age", "5", "--max-messages", "6")
    run("history", "rules", "--topic", "chat/#", *of, "--durable")
    changed = {"topic": "chat/#", "max_age": 5, "max_messages": 6, "durable": True}
    assert put(rules) == {"rules": [changed, RULES["rules"][1]]}
    run("history", "rules", "--topic", "new", *of)
    assert put(rules)["rules"][2] == {"topic": "new", "max_age": 5, "max_messages": 6, "durable": False}


def test_a_rule_is_taken_out(run, rules) -> None:
    run("history", "rules", "--remove", "chat/#")
    assert put(rules) == {"rules": RULES["rules"][1:]}
    assert run("history", "rules", "--remove", "other").code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("--topic", "a"),
        ("--max-age", "5"),
        ("--topic", "a", "--max-age", "1", "--max-messages", "1", "--remove", "b"),
        ("missing.json",),
    ],
)
def test_rules_that_are_asked_for_wrongly_are_refused(run, rules, words) -> None:
    told = run("history", "rules", *words)
    assert told.code != 0
    assert told.err


def test_a_file_without_rules_is_refused(run, rules, tmp_path) -> None:
    for content in ("{", "{}", "[1]"):
        (tmp_path / "rules.json").write_text(content)
        assert run("history", "rules", str(tmp_path / "rules.json")).code == 2


def test_messages_are_listed(run, service) -> None:
    service.answers["GET", "/v2/history"] = (
        200,
        {"recorded": True, "messages": [BINARY, MESSAGE], "next": None},
    )
    out = run("history", "list", "chat/#").out
    assert "hello\\x1b" in out and "base64 /wA=" in out
    assert run("history", "list", "chat/#", "--limit", "1", "--json").json == [BINARY]
    run("history", "list", "a", "--since", "5", "--until", "9", "--after", "3", "--oldest-first")
    assert service.asked[-1][1] == "/v2/history?topic=a&since=5&until=9&after=3&order=asc&limit=100"


def test_history_is_erased(run, service) -> None:
    service.answers["DELETE", "/v2/history"] = (200, {"erased": 7})
    assert run("history", "erase", "chat/#").out == "erased  7 messages\n"
    assert service.asked[-1][1] == "/v2/history?topic=chat%2F%23"
    assert run("history", "erase", "--user", "ann", "--json").json == {"erased": 7}
    assert service.asked[-1][1] == "/v2/history?user_id=ann"
    assert run("history", "erase").code == run("history", "erase", "a", "--user", "b").code == 2
