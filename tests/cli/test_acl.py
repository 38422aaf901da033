"""`tokenmq acl`."""

import io
import json

import msgspec
import pytest

from tokenmq.access.checking import check
from tokenmq.access.policy import starting_document
from tokenmq.access.rules import PolicyDocument

RULE = {"user": "*", "permissions": ["publish"], "topics": ["a"], "effect": "allow"}
DOCUMENT = {"version": "1", "default": "deny", "rules": [RULE]}
FINDING = {"path": "rules[0]", "severity": "warning", "message": "not so\x1b"}
ANSWER = DOCUMENT | {"revision": "abc", "untouched": False, "findings": [FINDING]}
PRESETS = ["open", "notifications", "chat", "agents", "blank"]
TREES = ("$notifications", "$spaces")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(DOCUMENT))
    return str(path)


def test_get_shows_a_document_that_put_takes_and_warns_beside(run, service):
    service.answers["GET", "/v2/acl"] = (200, ANSWER)
    ran = run("acl", "get", "--org", "org_x")
    assert json.loads(ran.out) == DOCUMENT
    assert ran.err == "warning rules[0]: not so\\x1b\n"
    assert run("acl", "get", "--json").json == ANSWER
    assert service.asked[0][1] == "/v2/acl?organization_id=org_x"


def test_put(run, service, file):
    service.answers["PUT", "/v2/acl"] = (200, ANSWER)
    ran = run("acl", "put", file)
    assert ran.out == "in force  1 rules\nrevision  abc\n" and "rules[0]" in ran.err
    assert run("acl", "put", file, "--revision", "abc", "--json").json == ANSWER
    assert service.bodies == [DOCUMENT, DOCUMENT | {"revision": "abc"}]


def test_put_of_stdin(run, service, monkeypatch):
    service.answers["PUT", "/v2/acl"] = (200, ANSWER)
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(DOCUMENT)))
    assert run("acl", "put", "-").code == 0
    assert service.bodies == [DOCUMENT]


@pytest.mark.parametrize("content", ["", "[]", "{", '"x"'])
def test_what_is_no_document_is_code_2(run, service, tmp_path, content):
    path = tmp_path / "wrong.json"
    path.write_text(content)
    for command in ("put", "validate", "import"):
        assert run("acl", command, str(path)).code == 2
    assert service.asked == []
    assert run("acl", "put", str(tmp_path / "missing.json")).code == 1


def test_validate_asks_the_service(run, service, file):
    error = FINDING | {"severity": "error", "path": ""}
    service.answers["POST", "/v2/acl/validate"] = (200, {"valid": False, "findings": [error]})
    ran = run("acl", "validate", file)
    assert (ran.code, ran.out) == (1, "error: not so\\x1b\nthis is no policy\n")
    service.answers["POST", "/v2/acl/validate"] = (200, {"valid": True, "findings": [FINDING]})
    assert run("acl", "validate", file, "--json").json == {"valid": True, "findings": [FINDING]}
    assert run("acl", "validate", file).code == 0


def test_validate_locally_needs_no_service(run, tmp_path):
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(DOCUMENT | {"rules": [RULE | {"topics": ["a/#/b"]}]}))
    ran = run("acl", "validate", str(path), "--local")
    assert ran.code == 1 and "error rules[0].topics[0]" in ran.out
    path.write_text(json.dumps(DOCUMENT))
    assert run("acl", "validate", str(path), "--local").out == "the policy is good\n"


def test_simulate(run, service, tmp_path):
    told = {"allowed": True, "decided_by": "rules[0]", "explanation": "because"}
    service.answers["POST", "/v2/acl/simulate"] = (200, told)
    ran = run(
        *[
            "acl",
            "simulate",
            "publish",
            "a/b",
            "--user",
            "ann",
            "--client-id",
            "c",
            "--claim",
            "role=admin",
            "--claim",
            "n=7",
        ],
        *("--claim", 'l=["x"]'),
    )
    assert (ran.code, ran.out) == (0, "allowed     because\ndecided by  rules[0]\n")
    service.answers["POST", "/v2/acl/simulate"] = (200, told | {"allowed": False})
    assert (
        run(*["acl", "simulate", "subscribe", "#", "--token", "t.o.k", "--org", "org_x", "--json"]).code == 1
    )
    path = tmp_path / "token"
    path.write_text("f.i.le")
    assert run("acl", "simulate", "history", "a", "--token-file", str(path)).code == 1
    assert service.bodies == [
        {
            "action": "publish",
            "topic": "a/b",
            "user_id": "ann",
            "client_id": "c",
            "claims": {"role": "admin", "n": 7, "l": ["x"]},
        },
        {"action": "subscribe", "topic": "#", "token": "t.o.k", "organization_id": "org_x"},
        {"action": "history", "topic": "a", "token": "f.i.le"},
    ]


@pytest.mark.parametrize("words", ["publish a", "publish a --user ann --claim role", "read a --user ann"])
def test_simulate_of_a_question_that_is_none_is_code_2(run, service, words):
    assert run("acl", "simulate", *words.split()).code == 2


def test_presets_are_listed(run):
    assert [line.split()[0] for line in run("acl", "presets").out.splitlines()] == PRESETS
    assert list(run("acl", "presets", "--json").json) == PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_policy_and_only_the_open_one_is_open(run, name):
    tree = json.loads(run("acl", "presets", name).out)
    assert run("acl", "presets", name, "--json").json == tree
    checked = check(tree, dollar_trees=TREES)
    assert checked.document is not None
    assert [one.path for one in checked.findings] == (["rules[0].topics[0]"] if name == "open" else [])


def test_the_open_preset_is_the_starting_document(run):
    tree = run("acl", "presets", "open", "--json").json
    assert msgspec.convert(tree, PolicyDocument) == starting_document(TREES)


def test_import_prints_a_document_and_reports_beside(run, tmp_path):
    old = {"rules": [{"user": "a-%", "topic": "t/%u", "permission": "both"}]}
    path = tmp_path / "old.json"
    path.write_text(json.dumps(old))
    ran = run("acl", "import", str(path), "--sql-patterns")
    rule = {
        "user": "a-*",
        "permissions": ["publish", "subscribe"],
        "topics": ["t/{user_id}"],
        "effect": "allow",
    }
    assert json.loads(ran.out) == DOCUMENT | {"rules": [rule]}
    assert "presence" in ran.err
    told = run("acl", "import", str(path), "--json").json
    assert told["policy"]["rules"] == [] and told["report"][-1]["path"] == "rules[0]"
