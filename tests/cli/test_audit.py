"""`tokenmq audit`."""

import pytest

ROW = {
    "number": 7,
    "at": "2026-11-24T12:00:00Z",
    "actor": "key:abc",
    "action": "issue",
    "object": "token:tok_1",
    "result": "ok",
    "user_id": "ann",
    "address": "::1",
    "details": {"ttl": 60, "name": "a\x1bb"},
}
CHECK = {"intact": True, "rows": 3, "number": 3, "hash": "ab", "broken_at": None, "problem": None}


def test_list(run, service) -> None:
    service.answers["GET", "/v2/audit"] = (200, {"entries": [ROW, ROW], "next": None})
    out = run("audit").out
    assert "token:tok_1" in out and "ttl=60" in out and "ann" in out
    assert "\x1b" not in out
    assert run("audit", "--limit", "1", "--json").json == [ROW]


def test_filters_are_sent(run, service) -> None:
    service.answers["GET", "/v2/audit"] = (200, {"entries": [], "next": None})
    words = ["--action", "revoke", "--actor", "system", "--object", "key:a", "--user", "ann"]
    words += ["--since", "2026-11-24T12:00:00Z", "--org", "org_a"]
    assert run("audit", *words).code == 0
    (asked,) = service.asked
    for part in ("action=revoke", "actor=system", "object=key%3Aa", "user_id=ann", "organization_id=org_a"):
        assert part in asked[1]
    assert "until" not in asked[1]


def test_verify_walks_all_parts(run, service, monkeypatch) -> None:
    service.answers["GET", "/v2/audit/verify"] = (200, {**CHECK, "next": None})
    ran = run("audit", "--verify")
    assert (ran.code, ran.out.splitlines()[0].split()) == (0, ["intact", "true"])
    assert run("audit", "--verify", "--json").json == CHECK


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_broken_chain_is_code_1(run, service, flags) -> None:
    told = {**CHECK, "intact": False, "broken_at": 4, "problem": "it is not what was written", "next": None}
    service.answers["GET", "/v2/audit/verify"] = (200, told)
    ran = run("audit", "--verify", *flags)
    assert ran.code == 1
    assert "it is not what was written" in ran.out
