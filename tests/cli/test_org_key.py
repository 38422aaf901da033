"""`tokenmq org` and `tokenmq key`."""

KEY = {"id": "abcd1234", "kind": "sk", "name": "backend", "key": "sk_secret", "expires_at": None}


def test_org_create(run, service) -> None:
    service.answers["POST", "/v2/organizations"] = (200, {"id": "org_x", "name": "shop"})
    assert run("org", "create", "shop").out == "id    org_x\nname  shop\n"
    assert run("org", "create", "shop", "--json").json == {"id": "org_x", "name": "shop"}
    assert service.bodies == [{"name": "shop"}] * 2


def test_org_list(run, service) -> None:
    found = [{"id": "org_x", "name": "[red]shop\x1b", "created_at": "2026-11-24T13:00:00Z"}]
    service.answers["GET", "/v2/organizations"] = (200, {"organizations": found, "next": None})
    assert run("org", "list", "--json").json == found
    assert "[red]shop\\x1b" in run("org", "list").out


def test_key_create_shows_the_key_once(run, service) -> None:
    service.answers["POST", "/v2/keys"] = (200, KEY)
    ran = run("key", "create", "backend")
    assert "sk_secret" in ran.out and "not shown again" in ran.out
    assert service.bodies == [{"kind": "sk", "name": "backend"}]
    assert run("key", "create", "backend", "--json").json == KEY


def test_key_create_sends_everything_that_is_said(run, service) -> None:
    service.answers["POST", "/v2/keys"] = (200, KEY)
    words = (
        "key create r --kind rk --scope tokens:create --scope mqtt --permission publish --topic a/# --topic b"
    )
    run(*words.split(), "--expires-at", "2027-01-01T00:00:00Z", "--org", "org_x")
    run("key", "create", "r", "--expires-at", "never")
    assert service.bodies == [
        {
            "kind": "rk",
            "name": "r",
            "scopes": ["tokens:create", "mqtt"],
            "permissions": ["publish"],
            "topics": ["a/#", "b"],
            "expires_at": "2027-01-01T00:00:00Z",
            "organization_id": "org_x",
        },
        {"kind": "sk", "name": "r", "expires_at": None},
    ]


def test_key_list(run, service) -> None:
    masked = {
        "id": "abcd1234",
        "kind": "sk",
        "name": "backend",
        "masked": "sk_...cret",
        "scopes": ["mqtt", "publish"],
    }
    service.answers["GET", "/v2/keys"] = (200, {"keys": [masked], "next": None})
    out = run("key", "list").out
    assert "sk_...cret" in out and "mqtt, publish" in out
    assert run("key", "list", "--json").json == [masked]


def test_key_revoke(run, service) -> None:
    service.answers["DELETE", "/v2/keys/abcd1234"] = (200, {})
    assert run("key", "revoke", "abcd1234").out == "revoked  abcd1234\n"
    assert run("key", "revoke", "abcd1234", "--revoke-tokens", "--json").json == {
        "id": "abcd1234",
        "revoked": True,
    }
    assert [path for _, path, _, _ in service.asked] == [
        "/v2/keys/abcd1234",
        "/v2/keys/abcd1234?revoke_tokens=true",
    ]


def test_a_key_that_is_not_there_is_code_4(run, service) -> None:
    ran = run("key", "revoke", "nope")
    assert (ran.code, ran.err) == (4, "tokenmq: no such object\n")


def test_key_rotate_shows_the_new_secret_and_how_long_the_old_one_works(run, service) -> None:
    told = {**KEY, "earlier_until": "2026-11-27T12:00:00Z"}
    service.answers["POST", "/v2/keys/abcd1234/rotate"] = (200, told)
    out = run("key", "rotate", "abcd1234").out
    assert "sk_secret" in out and "not shown again" in out and "2026-11-27T12:00:00Z" in out
    words = ("--grace-seconds", "0", "--expires-at", "never", "--org", "org_x")
    assert run("key", "rotate", "abcd1234", *words, "--json").json == told
    assert service.bodies == [{}, {"grace_seconds": 0, "expires_at": None, "organization_id": "org_x"}]


def test_key_list_marks_what_ends_soon(run, service) -> None:
    ends = {"expires_at": "2026-11-27T12:00:00Z"}
    keys = [{**KEY, **ends, "expires_soon": True}, {**KEY, **ends, "expires_soon": False}]
    service.answers["GET", "/v2/keys"] = (200, {"keys": keys, "next": None})
    out = run("key", "list").out
    assert out.count("2026-11-27T12:00:00Z") == 2
    assert out.count("2026-11-27T12:00:00Z (soon)") == 1
