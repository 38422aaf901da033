"""`tokenmq provider`."""

import io
import json

PROVIDER = {
    "id": "idp_a",
    "provider": "auth0",
    "name": "web",
    "issuer": "https://tenant.example/",
    "enabled": True,
}
WHOLE = {**PROVIDER, "configuration": {"domain": "tenant.example", "audience": ["api"]}, "has_secret": False}


def test_provider_add_sends_what_is_said_and_nothing_else(run, service, tmp_path) -> None:
    service.answers["POST", "/v2/providers"] = (201, WHOLE)
    rules = [{"claim": "role", "equals": "admin", "grants": []}]
    (tmp_path / "mapping.json").write_text(json.dumps(rules))
    run("provider", "add", "auth0", "web", "--domain", "tenant.example", "--audience", "api")
    words = "--issuer https://a.example --audience web --audience app --jwks-url https://a.example/jwks"
    run(
        *f"provider add oidc own {words} --require plan --attr plan --user-prefix o: --org org_x".split(),
        *("--mapping", str(tmp_path / "mapping.json"), "--accept-open-policy", "--disabled"),
    )
    run("provider", "add", "clerk", "c", "--domain", "a.example", "--domain", "b.example")
    assert service.bodies == [
        {"provider": "auth0", "name": "web", "domain": "tenant.example", "audience": ["api"]},
        {
            "provider": "oidc",
            "name": "own",
            "issuer": "https://a.example",
            "audience": ["web", "app"],
            "jwks_url": "https://a.example/jwks",
            "user_prefix": "o:",
            "required_claims": ["plan"],
            "attrs": ["plan"],
            "mapping": rules,
            "accept_open_policy": True,
            "enabled": False,
            "organization_id": "org_x",
        },
        {"provider": "clerk", "name": "c", "domains": ["a.example", "b.example"]},
    ]


def test_provider_add_reads_the_secret_from_stdin(run, service, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a-secret\n"))
    service.answers["POST", "/v2/providers"] = (201, PROVIDER)
    words = ("provider", "add", "supabase", "s", "--project-url", "https://a.example", "--jwt-secret", "-")
    ran = run(*words)
    assert service.bodies[0]["jwt_secret"] == "a-secret"
    assert "a-secret" not in ran.out


def test_provider_add_refuses_what_cannot_be_sent(run, service, tmp_path) -> None:
    (tmp_path / "broken.json").write_text("[")
    for more in (
        ("--domain", "a.example", "--domain", "b.example"),
        ("--mapping", str(tmp_path / "broken.json")),
        ("--mapping", str(tmp_path / "missing.json")),
    ):
        assert run("provider", "add", "auth0", "web", *more).code == 2
    assert service.asked == []


def test_provider_list_and_show(run, service) -> None:
    service.answers["GET", "/v2/providers"] = (200, {"providers": [WHOLE]})
    out = run("provider", "list").out
    assert "idp_a" in out and "https://tenant.example/" in out and "true" in out
    assert run("provider", "list", "--json").json == [WHOLE]
    shown = run("provider", "show", "idp_a").out
    assert "issuer         https://tenant.example/" in shown and '"domain": "tenant.example"' in shown
    assert run("provider", "show", "idp_a", "--json").json == WHOLE
    missing = run("provider", "show", "idp_b")
    assert missing.code == 4 and "no such identity provider" in missing.err


def test_provider_is_enabled_disabled_and_deleted(run, service) -> None:
    service.answers["PATCH", "/v2/providers/idp_a"] = (200, PROVIDER)
    service.answers["DELETE", "/v2/providers/idp_a"] = (200, {"id": "idp_a", "deleted": True})
    run("provider", "enable", "idp_a")
    run("provider", "enable", "idp_a", "--accept-open-policy", "--org", "org_x")
    assert "enabled" in run("provider", "disable", "idp_a").out
    assert run("provider", "delete", "idp_a").out == "deleted  idp_a\n"
    assert run("provider", "delete", "idp_a", "--json").json == {"id": "idp_a", "deleted": True}
    assert service.bodies[:3] == [
        {"enabled": True},
        {"enabled": True, "accept_open_policy": True, "organization_id": "org_x"},
        {"enabled": False},
    ]
