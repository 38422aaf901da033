"""Which service, which key, which organization."""

import io
import json
from pathlib import Path

import pytest

from tokenmq.cli import management
from tokenmq.config import load

ORGS = {"organizations": [{"id": "org_a", "name": "a"}]}


def admin_file(url: str, key: str = "ik_local") -> Path:
    path = Path("tokenmq-data/admin.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"url": url, "key": key}))
    path.chmod(0o600)
    return path


@pytest.fixture
def local(service, monkeypatch: pytest.MonkeyPatch):
    """The service as the data folder's admin.json names it."""
    monkeypatch.delenv("TOKENMQ_URL")
    monkeypatch.delenv("TOKENMQ_KEY")
    admin_file(service.url)
    service.answers["GET", "/v2/organizations"] = (200, ORGS)
    return service


def used_key(service) -> str | None:
    return service.asked[-1][3]


def test_admin_json_names_service_and_key(run, local) -> None:
    assert run("org", "list").code == 0
    assert used_key(local) == "Bearer ik_local"


def test_admin_json_is_in_the_data_folder_of_the_settings(run, local) -> None:
    Path("tokenmq-data").rename("elsewhere")
    Path("my.toml").write_text('[data]\nfolder = "elsewhere"\n')
    assert run("org", "list", "--config", "my.toml").code == 0


def test_variables_win_over_admin_json_and_options_over_variables(run, local, monkeypatch) -> None:
    monkeypatch.setenv("TOKENMQ_KEY", "ik_variable")
    run("org", "list")
    assert used_key(local) == "Bearer ik_variable"
    run("org", "list", "--key", "ik_option")
    assert used_key(local) == "Bearer ik_option"


def test_a_dash_reads_the_key_from_stdin(run, local, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("ik_stdin\nmore"))
    assert run("org", "list", "--key", "-").code == 0
    assert used_key(local) == "Bearer ik_stdin"


def test_the_local_key_is_never_sent_elsewhere(run, local) -> None:
    admin_file("http://127.0.0.1:1")
    ran = run("org", "list", "--url", local.url)
    assert ran.code == 3
    assert "set TOKENMQ_KEY" in ran.err
    assert local.asked == []


def test_the_local_address_with_a_slash_is_still_local(run, local) -> None:
    assert run("org", "list", "--url", f"{local.url}/").code == 0


def test_without_a_key_the_sentence_says_where_to_get_one(run) -> None:
    ran = run("org", "list")
    assert ran.code == 3
    assert (
        ran.err
        == "tokenmq: no key: set TOKENMQ_KEY, or run `tokenmq init` where the service keeps its data\n"
    )


def test_v05_an_admin_file_that_others_can_read_is_refused(run, local) -> None:
    path = admin_file(local.url)
    path.chmod(0o640)
    ran = run("org", "list")
    assert ran.code == 1
    assert "others can read it; run: chmod 600 tokenmq-data/admin.json" in ran.err
    assert local.asked == []


@pytest.mark.parametrize("content", ["", "{}", '{"url": 1, "key": "k"}', '{"url": "u", "key": "k", "x": 1}'])
def test_a_damaged_admin_file_is_refused(run, local, content: str) -> None:
    admin_file(local.url).write_text(content)
    assert "tokenmq-data/admin.json is damaged" in run("org", "list").err


def test_the_only_organization_need_not_be_named(run, local) -> None:
    local.answers["GET", "/v2/tokens"] = (200, {"tokens": []})
    assert run("token", "list").code == 0
    assert local.asked[-1][1] == "/v2/tokens?organization_id=org_a&limit=100"


def test_of_several_organizations_one_must_be_named(run, local, monkeypatch) -> None:
    local.answers["GET", "/v2/organizations"] = (
        200,
        {"organizations": [*ORGS["organizations"], {"id": "org_b", "name": "b"}]},
    )
    local.answers["GET", "/v2/tokens"] = (200, {"tokens": []})
    ran = run("token", "list")
    assert (ran.code, ran.err) == (2, "tokenmq: --org: there are several organizations; name one\n")
    assert run("token", "list", "--org", "org_b").code == 0
    monkeypatch.setenv("TOKENMQ_ORG", "org_b")
    assert run("token", "list").code == 0
    assert {path for _, path, _, _ in local.asked[1:]} == {"/v2/tokens?organization_id=org_b&limit=100"}


def test_without_any_organization_the_sentence_says_how_to_make_one(run, local) -> None:
    local.answers["GET", "/v2/organizations"] = (200, {"organizations": []})
    ran = run("key", "list")
    assert ran.code == 4 and "tokenmq org create" in ran.err


def test_a_key_of_one_organization_names_none(run, service) -> None:
    service.answers["GET", "/v2/tokens"] = (200, {"tokens": []})
    run("token", "list")
    assert [path for _, path, _, _ in service.asked] == ["/v2/tokens?limit=100"]


def test_nobody_there_is_code_5(run, service) -> None:
    url = service.url
    service.close()
    service.close = lambda: None
    ran = run("token", "list")
    assert ran.code == 5
    assert ran.err.startswith(f"tokenmq: no token service answers at {url}: ")


def test_addresses_without_listeners_in_the_open_are_those_with_tls() -> None:
    off = {"TOKENMQ_HTTP_ENABLED": "false", "TOKENMQ_HTTPS_ENABLED": "true", "TOKENMQ_MQTT_ENABLED": "false"}
    settings = load("/dev/null", {**off, "TOKENMQ_TLS_CERTIFICATE": "server.pem"})

    assert management.address(settings) == "https://127.0.0.1:8443"
    assert management.broker_address(settings) == "mqtts://127.0.0.1:8883"
