"""`tokenmq signing-key`."""

KID = "-Xqytabc"
KEY = {"kid": KID, "algorithm": "ES256", "status": "waiting", "created_at": "2026-11-24T13:00:00Z"}


def test_list(run, service) -> None:
    service.answers["GET", "/v2/signing-keys"] = (200, {"signing_keys": [KEY], "next": None})
    out = run("signing-key", "list").out
    assert KID in out and "waiting" in out
    assert run("signing-key", "list", "--json").json == [KEY]


def test_add_says_what_to_do_next(run, service) -> None:
    service.answers["POST", "/v2/signing-keys"] = (201, KEY)
    assert f"tokenmq signing-key use {KID}" in run("signing-key", "add").out
    assert run("signing-key", "add", "--algorithm", "EdDSA", "--use", "--json").json == KEY
    assert "signing-key use" not in run("signing-key", "add", "--use").out
    assert service.bodies == [
        {"current": False},
        {"current": True, "algorithm": "EdDSA"},
        {"current": True},
    ]


def test_use_and_retire_take_a_kid_that_begins_with_a_hyphen(run, service) -> None:
    for action, status in (("use", "current"), ("retire", "retired")):
        told = {**KEY, "status": status}
        service.answers["POST", f"/v2/signing-keys/{KID}/{action}"] = (200, told)
        assert (
            run("signing-key", action, KID).out
            == f"kid        {KID}\nalgorithm  ES256\nstatus     {status}\n"
        )
        assert run("signing-key", action, KID, "--json").json == told


def test_a_key_that_is_not_there_is_code_4_and_another_algorithm_is_wrong_usage(run, service) -> None:
    assert run("signing-key", "use", "nope").code == 4
    assert run("signing-key", "add", "--algorithm", "HS256").code == 2
    assert len(service.asked) == 1
