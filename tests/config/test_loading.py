"""One file, the environment over it, everything checked."""

from pathlib import Path

import pytest

from tokenmq.config import Secret, Settings, load
from tokenmq.errors import InvalidSettings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "tokenmq.toml") -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def refusal(path: Path | None = None, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(InvalidSettings) as caught:
        load(path, environ or {})
    return str(caught.value)


def test_without_anything_the_defaults_hold() -> None:
    assert load(environ={}) == Settings()
    assert load(environ={}).origins == {}


def test_the_file_wins_over_the_defaults() -> None:
    write('[http]\nport = 9000\n[tokens]\nalgorithm = "EdDSA"\n')
    settings = load(environ={})
    assert (settings.http.port, settings.tokens.algorithm, settings.mqtt.port) == (9000, "EdDSA", 1883)
    assert settings.origins == {"http.port": "tokenmq.toml", "tokens.algorithm": "tokenmq.toml"}


def test_the_environment_wins_over_the_file() -> None:
    write("[http]\nport = 9000\n")
    settings = load(environ={"TOKENMQ_HTTP_PORT": "9001", "PATH": "/bin"})
    assert settings.http.port == 9001
    assert settings.origins == {"http.port": "TOKENMQ_HTTP_PORT"}


def test_the_environment_of_this_process_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOKENMQ_URL", "TOKENMQ_KEY", "TOKENMQ_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TOKENMQ_LOG_LEVEL", "debug")
    assert load().log.level == "debug"


@pytest.mark.parametrize(
    ("argument", "here", "variable", "port"),
    [
        ("named.toml", True, True, 1),
        (None, True, True, 2),
        (None, False, True, 3),
        (None, True, False, 2),
        (None, False, False, 8080),
    ],
)
def test_the_file_is_the_argument_then_the_one_here_then_the_variable(
    argument: str | None, here: bool, variable: bool, port: int
) -> None:
    write("[http]\nport = 1\n", "named.toml")
    write("[http]\nport = 3\n", "variable.toml")
    if here:
        write("[http]\nport = 2\n")
    environ = {"TOKENMQ_CONFIG": "variable.toml"} if variable else {}
    assert load(argument, environ).http.port == port


def test_a_named_file_that_is_not_there_is_refused() -> None:
    assert refusal(Path("nope.toml")) == "nope.toml cannot be read: No such file or directory"
    assert "gone.toml" in refusal(environ={"TOKENMQ_CONFIG": "gone.toml"})


@pytest.mark.parametrize("content", [b"[http", b"\xff\xfe", b"a = "], ids=["table", "encoding", "value"])
def test_a_file_that_is_not_toml_is_refused(content: bytes) -> None:
    Path("tokenmq.toml").write_bytes(content)
    assert refusal().startswith("tokenmq.toml is not TOML: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[htp]\nport = 1", "tokenmq.toml: unknown table [htp]; the nearest known one is http"),
        ("[http]\nprot = 1", "tokenmq.toml: unknown key prot in [http]; the nearest known one is port"),
        (
            "[mqtt]\nmax_inflight = 1",
            "tokenmq.toml: unknown key max_inflight in [mqtt]; the nearest known one is",
        ),
        ("http = 1", "tokenmq.toml: http is a table, written [http]"),
        ("port = 1", "tokenmq.toml: port stands outside every table; the nearest known one is ["),
    ],
)
def test_unknown_names_in_the_file_name_the_nearest(text: str, message: str) -> None:
    write(text)
    assert refusal().startswith(message)


def test_unknown_variables_name_the_nearest() -> None:
    assert refusal(environ={"TOKENMQ_HTTP_PROT": "1"}) == (
        "unknown environment variable TOKENMQ_HTTP_PROT; the nearest known one is TOKENMQ_HTTP_PORT"
    )


def test_variables_of_the_command_line_are_known() -> None:
    names = ("TOKENMQ_URL", "TOKENMQ_KEY", "TOKENMQ_ORG", "TOKENMQ_TOKEN", "TOKENMQ_REQUIRE_INTEROP")
    assert load(environ=dict.fromkeys(names, "x")) == Settings()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[http]\nport = 65536", "[http] port: a whole number from 0 to 65535 is wanted, not 65536"),
        ("[http]\nport = '80'", "[http] port: a whole number from 0 to 65535 is wanted, not '80'"),
        ("[http]\nport = true", "[http] port: a whole number from 0 to 65535 is wanted, not True"),
        ("[http]\nport = 80.5", "[http] port: a whole number from 0 to 65535 is wanted, not 80.5"),
        ("[http]\nhost = ''", "[http] host: a text is wanted, not ''"),
        ("[mqtt]\nallow_plaintext = 1", "[mqtt] allow_plaintext: true or false is wanted, not 1"),
        ("[websocket]\npath = 'mqtt'", "[websocket] path: a text that begins with / is wanted, not 'mqtt'"),
        (
            "[broker]\nmax_inflight = 0",
            "[broker] max_inflight: a whole number from 1 to 1024 is wanted, not 0",
        ),
        (
            "[broker]\nmax_connections = 0",
            "[broker] max_connections: a whole number from 1 up is wanted, not 0",
        ),
        (
            "[broker]\ntrusted_proxies = '::1'",
            "[broker] trusted_proxies: a list of texts is wanted, not '::1'",
        ),
        (
            "[tokens]\nalgorithm = 'none'",
            "[tokens] algorithm: one of ES256, EdDSA, RS256 is wanted, not 'none'",
        ),
        ("[data]\nfolder = ''", "[data] folder: a path is wanted, not ''"),
    ],
)
def test_wrong_values_say_what_is_wanted(line: str, message: str) -> None:
    write(line)
    assert refusal() == f"tokenmq.toml: {message}"


@pytest.mark.parametrize("value", ["12345678", "['leak-me']"], ids=["number", "list"])
def test_a_wrong_secret_is_not_shown(value: str) -> None:
    write(f"[tokens]\nsigning_key_secret = {value}")
    assert refusal() == "tokenmq.toml: [tokens] signing_key_secret: a text is wanted, not what is there"


@pytest.mark.parametrize("text", ["", "null", "8080 ", "0x50", "80.5", "8_080x"])
def test_numbers_in_variables_are_plain(text: str) -> None:
    assert "TOKENMQ_HTTP_PORT" in refusal(environ={"TOKENMQ_HTTP_PORT": text})


def test_an_empty_variable_is_refused_and_not_taken_for_the_default() -> None:
    assert refusal(environ={"TOKENMQ_TOKENS_SIGNING_KEY_SECRET": ""}) == (
        "environment variable TOKENMQ_TOKENS_SIGNING_KEY_SECRET is empty; unset it for the default"
    )


def test_variables_carry_every_type() -> None:
    settings = load(
        environ={
            "TOKENMQ_MQTT_ALLOW_PLAINTEXT": "true",
            "TOKENMQ_MQTT_HOST": "0.0.0.0",
            "TOKENMQ_BROKER_TRUSTED_PROXIES": "10.0.0.0/8, ::1",
            "TOKENMQ_DATA_FOLDER": "/srv/tokenmq",
            "TOKENMQ_DATABASE_URL": "postgresql://u:p@db/x",
            "TOKENMQ_TOKENS_ALGORITHM": "RS256",
        }
    )
    assert settings.mqtt.allow_plaintext is True
    assert settings.broker.trusted_proxies == ("10.0.0.0/8", "::1")
    assert settings.data.folder == Path("/srv/tokenmq")
    assert settings.database.url == Secret("postgresql://u:p@db/x")
    assert settings.tokens.algorithm == "RS256"


@pytest.mark.parametrize("table", ["http", "mqtt", "websocket"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "broker.example"])
def test_a_public_listener_without_tls_needs_a_word(table: str, host: str) -> None:
    write(f"[{table}]\nhost = '{host}'")
    assert f"[{table}] allow_plaintext = true" in refusal()
    write(f"[{table}]\nhost = '{host}'\nallow_plaintext = true")
    assert load(environ={})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "broker.example"])
def test_a_public_listener_of_the_administrator_needs_a_word(host: str) -> None:
    write(f"[admin]\nhost = '{host}'")
    assert load(environ={}).admin.enabled is False
    write(f"[admin]\nenabled = true\nhost = '{host}'")
    assert "[admin] allow_plaintext = true" in refusal()
    write(f"[admin]\nenabled = true\nhost = '{host}'\nallow_plaintext = true")
    assert load(environ={}).admin.host == host


@pytest.mark.parametrize(("table", "with_tls"), [("http", "https"), ("mqtt", "mqtts"), ("websocket", "wss")])
def test_a_public_listener_without_tls_is_told_which_one_has_it(table: str, with_tls: str) -> None:
    write(f"[{table}]\nhost = '0.0.0.0'")
    assert f"[{with_tls}] has, with [tls] certificate" in refusal()
    write(
        f"[{table}]\nhost = '0.0.0.0'\nenabled = false\n[tls]\ncertificate = 'c.pem'\n[https]\nenabled = true"
    )
    assert load(environ={})


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"TLS_PRIVATE_KEY": "k"}, "[tls] private_key is set, and [tls] certificate is not"),
        ({"TLS_CLIENT_CA": "c"}, "[tls] client_ca is set, and [tls] certificate is not"),
        (
            {"TLS_CERTIFICATE": "c", "TLS_CLIENT_CRL": "r"},
            "[tls] client_crl is set, and [tls] client_ca is not",
        ),
        (
            {"TLS_CERTIFICATE": "c", "TLS_REQUIRE_CLIENT_CERTIFICATE": "true"},
            "[tls] require_client_certificate is set, and [tls] client_ca is not",
        ),
        ({"HTTPS_ENABLED": "true"}, "[https] enabled is true, and [tls] certificate is not set"),
        (
            {"HTTP_ENABLED": "false"},
            "[http] enabled and [https] enabled are both false: nobody could make a token",
        ),
        (
            {"MQTT_PROXY_PROTOCOL": "true"},
            (
                "[mqtt] proxy_protocol is true, and [broker] trusted_proxies names no proxy: "
                "nobody could connect"
            ),
        ),
        (
            {"TLS_CERTIFICATE": "c", "WSS_PROXY_PROTOCOL": "true"},
            "[wss] proxy_protocol is true, and [broker] trusted_proxies names no proxy: nobody could connect",
        ),
        ({"TLS_CERTIFICATE": "c", "MQTTS_PORT": "1883"}, "[mqtts] port 1883 is also [mqtt] port"),
        ({"ADMIN_ENABLED": "true", "ADMIN_PORT": "8080"}, "[admin] port 8080 is also [http] port"),
        ({"TLS_MINIMUM_VERSION": "1.1"}, "TOKENMQ_TLS_MINIMUM_VERSION: one of 1.2, 1.3 is wanted, not '1.1'"),
    ],
)
def test_listeners_and_certificates_that_do_not_go_together_are_refused(
    variables: dict[str, str], words: str
) -> None:
    assert refusal(environ={f"TOKENMQ_{name}": value for name, value in variables.items()}) == words


def test_listeners_that_do_not_run_are_in_nobodys_way() -> None:
    assert load(environ={"TOKENMQ_MQTTS_PORT": "1883", "TOKENMQ_WSS_PROXY_PROTOCOL": "true"})
    assert load(environ={"TOKENMQ_ADMIN_PORT": "1883"}).admin.port == 1883
    off = {"TOKENMQ_MQTT_ENABLED": "false", "TOKENMQ_TLS_CERTIFICATE": "c", "TOKENMQ_MQTTS_PORT": "1883"}
    assert load(environ=off).mqtts.port == 1883


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_word(host: str) -> None:
    write(f"[mqtt]\nhost = '{host}'")
    assert load(environ={}).mqtt.host == host


def test_two_listeners_on_one_port_are_refused_but_any_free_port_is_not() -> None:
    assert refusal(environ={"TOKENMQ_MQTT_PORT": "8080"}) == "[mqtt] port 8080 is also [http] port"
    assert load(environ={"TOKENMQ_MQTT_PORT": "0", "TOKENMQ_HTTP_PORT": "0"})


def test_keep_alive_bounds_that_cross_are_refused() -> None:
    assert "min_keep_alive_seconds 400 is more than" in refusal(
        environ={"TOKENMQ_BROKER_MIN_KEEP_ALIVE_SECONDS": "400"}
    )


@pytest.mark.parametrize("network", ["10.0.0.0/33", "10.0.0.1/8", "proxy", "10.0.0.0/8,"])
def test_a_trusted_proxy_that_is_no_network_is_refused(network: str) -> None:
    assert "trusted_proxies" in refusal(environ={"TOKENMQ_BROKER_TRUSTED_PROXIES": network})


def test_a_database_url_that_is_none_is_refused_without_its_password() -> None:
    refused = refusal(environ={"TOKENMQ_DATABASE_URL": "sqlite:///hunter2.db"})
    assert "postgresql://user:password@host:port/name is wanted" in refused
    assert "hunter2" not in refused
