"""The declarations: every setting with type, bounds, default and one sentence.

A table of `tokenmq.toml` is a frozen dataclass here, a key is a field of it, and
the variable is `TOKENMQ_<TABLE>_<KEY>`. Units stand in the names. Bounds and the
sentence are `msgspec.Meta`; `loading` enforces them, `describing` prints them.
A dataclass that is built in code (tests) is not checked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from msgspec import Meta

from tokenmq.config.secret import Secret

KIB = 1024
MIB = 1024 * KIB

Host = Annotated[str, Meta(min_length=1)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Positive = Annotated[int, Meta(ge=1)]


@dataclasses.dataclass(frozen=True, slots=True)
class HttpSettings:
    """The token service's listener."""

    host: Annotated[Host, Meta(description="Address that the token service listens on.")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Port of the token service; 0 takes any free one.")] = 8080
    allow_plaintext: Annotated[
        bool, Meta(description="Allow an address that is not loopback, though this listener has no TLS.")
    ] = False
    max_body_bytes: Annotated[int, Meta(ge=KIB, le=MIB, description="Longest request body.")] = 64 * KIB
    max_url_bytes: Annotated[
        int, Meta(ge=256, le=64 * KIB, description="Longest request target, query included.")
    ] = 4 * KIB
    max_header_bytes: Annotated[
        int, Meta(ge=KIB, le=64 * KIB, description="All header names and values of one request together.")
    ] = 16 * KIB
    request_timeout_seconds: Annotated[
        int, Meta(ge=1, le=300, description="Time in which a request must have arrived and been answered.")
    ] = 10
    keep_alive_seconds: Annotated[
        int, Meta(ge=1, le=600, description="Time that an idle HTTP connection is kept open.")
    ] = 30


@dataclasses.dataclass(frozen=True, slots=True)
class MqttSettings:
    """The broker's TCP listener."""

    host: Annotated[Host, Meta(description="Address that the broker listens on.")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Port of MQTT over TCP; 0 takes any free one.")] = 1883
    allow_plaintext: Annotated[
        bool, Meta(description="Allow an address that is not loopback, though this listener has no TLS.")
    ] = False


@dataclasses.dataclass(frozen=True, slots=True)
class WebsocketSettings:
    """The broker's WebSocket listener."""

    host: Annotated[Host, Meta(description="Address that MQTT over WebSocket listens on.")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Port of MQTT over WebSocket; 0 takes any free one.")] = 8083
    path: Annotated[
        str, Meta(pattern=r"^/[!-~]*$", description="Path that a WebSocket upgrade must ask for.")
    ] = "/mqtt"
    allow_plaintext: Annotated[
        bool, Meta(description="Allow an address that is not loopback, though this listener has no TLS.")
    ] = False


@dataclasses.dataclass(frozen=True, slots=True)
class BrokerSettings:
    """What one connection, one session and the whole broker may use."""

    connect_timeout_seconds: Annotated[
        int,
        Meta(ge=1, le=60, description="Time in which a new connection must have been accepted by CONNECT."),
    ] = 10
    max_connect_bytes: Annotated[
        int, Meta(ge=KIB, le=256 * KIB, description="Bytes taken from a connection before it is accepted.")
    ] = 64 * KIB
    max_packet_bytes: Annotated[
        int, Meta(ge=KIB, le=16 * MIB, description="Largest MQTT packet that is accepted, header included.")
    ] = MIB
    max_topic_bytes: Annotated[
        int, Meta(ge=1, le=65_535, description="Longest topic name or topic filter, in UTF-8.")
    ] = KIB
    max_topic_levels: Annotated[
        int, Meta(ge=1, le=128, description="Most levels of a topic name or topic filter.")
    ] = 32
    max_client_id_bytes: Annotated[int, Meta(ge=23, le=1_024, description="Longest client id, in UTF-8.")] = (
        128
    )
    max_username_bytes: Annotated[int, Meta(ge=23, le=65_535, description="Longest username, in UTF-8.")] = (
        KIB
    )
    max_password_bytes: Annotated[
        int, Meta(ge=64, le=65_535, description="Longest password or Authentication Data: a token or a key.")
    ] = 8 * KIB
    max_user_properties: Annotated[
        int, Meta(ge=0, le=1_024, description="Most user properties of one packet.")
    ] = 32
    max_user_property_bytes: Annotated[
        int, Meta(ge=0, le=64 * KIB, description="All user properties of one packet together.")
    ] = 4 * KIB
    max_filters_per_subscribe: Annotated[
        int,
        Meta(ge=1, le=10_000, description="Filters of one SUBSCRIBE; those beyond are refused one by one."),
    ] = 100
    max_subscriptions_per_session: Annotated[
        int,
        Meta(
            ge=1, le=10_000, description="Subscriptions of one session; those beyond are refused one by one."
        ),
    ] = 100
    receive_maximum: Annotated[
        int, Meta(ge=1, le=65_535, description="QoS 1 and 2 messages a client may have unacknowledged.")
    ] = 65_535
    max_inflight: Annotated[
        int, Meta(ge=1, le=1_024, description="Messages under way to one session and not yet acknowledged.")
    ] = 100
    topic_alias_maximum: Annotated[
        int, Meta(ge=0, le=256, description="Topic aliases that a client may use.")
    ] = 16
    max_queued_messages: Annotated[
        int,
        Meta(ge=1, le=1_000_000, description="Messages waiting for one session; beyond, its oldest goes."),
    ] = 1_000
    max_queued_bytes: Annotated[
        int,
        Meta(ge=KIB, le=1_024 * MIB, description="Bytes waiting for one session; beyond, its oldest goes."),
    ] = 8 * MIB
    min_keep_alive_seconds: Annotated[
        int, Meta(ge=1, le=1_200, description="Shortest keep alive; a client that asks for less gets this.")
    ] = 5
    max_keep_alive_seconds: Annotated[
        int,
        Meta(
            ge=1, le=1_200, description="Longest keep alive; a client that asks for more, or none, gets this."
        ),
    ] = 300
    max_connections: Annotated[Positive, Meta(description="Connections of all listeners together.")] = 20_000
    max_connections_per_address: Annotated[
        Positive, Meta(description="Connections from one address, loopback and trusted proxies apart.")
    ] = 1_000
    connect_rate_per_address: Annotated[
        Positive,
        Meta(description="New connections a second from one address, loopback and trusted proxies apart."),
    ] = 20
    connect_burst_per_address: Annotated[
        Positive,
        Meta(description="New connections from one address that may come at once before the rate holds."),
    ] = 100
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(description="Networks of proxies, as 10.0.0.0/8, that no limit per address counts."),
    ] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class DataSettings:
    """Where tokenmq keeps its files."""

    folder: Annotated[
        Path,
        Meta(
            description="Folder of the database and the credential files, as seen from where it is started."
        ),
    ] = Path("tokenmq-data")


@dataclasses.dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """The store."""

    url: Annotated[
        Secret | None,
        Meta(
            description="PostgreSQL database that holds everything but the credential files, as "
            "postgresql://user:password@host:port/name. None is SQLite, in the data folder."
        ),
    ] = None
    max_outage_seconds: Annotated[
        int,
        Meta(
            ge=5,
            le=86_400,
            description="Time that the service goes on without its PostgreSQL database; then it ends, for "
            "another process may have taken its place.",
        ),
    ] = 60


@dataclasses.dataclass(frozen=True, slots=True)
class TokenSettings:
    """How tokens are signed."""

    issuer: Annotated[str, Meta(min_length=1, max_length=255, description="Claim `iss` of every token.")] = (
        "tokenmq"
    )
    algorithm: Annotated[
        Literal["ES256", "EdDSA", "RS256"],
        Meta(description="Algorithm of a signing key that is made from now on."),
    ] = "ES256"
    signing_key_secret: Annotated[
        Secret | None, Meta(description="Passphrase that encrypts the private signing keys at rest.")
    ] = None


@dataclasses.dataclass(frozen=True, slots=True)
class LogSettings:
    """What is logged, and how it looks."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="Least level of an event that is logged."),
    ] = "info"
    format: Annotated[
        Literal["auto", "json", "text"],
        Meta(description="One JSON line an event, readable text, or auto: text on a terminal, else JSON."),
    ] = "auto"


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """All tables of `tokenmq.toml`.

    Attributes:
        origins: "table.key" to where the value comes from (a file's path or a variable's
            name); a setting that is not in it has its default.
    """

    http: HttpSettings = HttpSettings()
    mqtt: MqttSettings = MqttSettings()
    websocket: WebsocketSettings = WebsocketSettings()
    broker: BrokerSettings = BrokerSettings()
    data: DataSettings = DataSettings()
    database: DatabaseSettings = DatabaseSettings()
    tokens: TokenSettings = TokenSettings()
    log: LogSettings = LogSettings()
    origins: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False, repr=False)


TABLES: Mapping[str, type] = MappingProxyType(
    {
        "http": HttpSettings,
        "mqtt": MqttSettings,
        "websocket": WebsocketSettings,
        "broker": BrokerSettings,
        "data": DataSettings,
        "database": DatabaseSettings,
        "tokens": TokenSettings,
        "log": LogSettings,
    }
)

# Variables of the command line and the development targets: known, not settings.
OTHER_VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        "TOKENMQ_CONFIG": "Path of tokenmq.toml when none is named and there is none in the current folder.",
        "TOKENMQ_URL": "Address of the token service that management commands speak to.",
        "TOKENMQ_KEY": "Key that management commands use.",
        "TOKENMQ_ORG": "Organization that management commands are about.",
        "TOKENMQ_TOKEN": "Token, or key of a server, that `tokenmq pub` and `tokenmq sub` connect with.",
        "TOKENMQ_REQUIRE_INTEROP": "Set to 1, a skipped interop test is a failed one.",
    }
)
