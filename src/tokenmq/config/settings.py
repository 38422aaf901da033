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

from tokenmq.config.guarding import AuditSettings, AuthSettings, Positive
from tokenmq.config.listening import (
    KIB,
    MIB,
    AdminSettings,
    HttpSettings,
    HttpsSettings,
    MqttSettings,
    MqttsSettings,
    TlsSettings,
    WebsocketSettings,
    WssSettings,
)
from tokenmq.config.secret import Secret


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
    # Not below 23: [MQTT-3.1.3-5] [MQTT311-3.1.3-5].
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
    max_all_queued_bytes: Annotated[
        int,
        Meta(
            ge=MIB,
            le=1_024 * 1_024 * MIB,
            description="Memory of all that waits for sessions; beyond, the oldest goes of one that has most "
            "in the organization that has most.",
        ),
    ] = 256 * MIB
    max_inflight_bytes: Annotated[
        int,
        Meta(
            ge=KIB,
            le=1_024 * MIB,
            description="Bytes on the way to one session that are held until it acknowledges them; one "
            "message always goes.",
        ),
    ] = 8 * MIB
    max_unstored_bytes_per_connection: Annotated[
        int,
        Meta(
            ge=KIB,
            le=64 * MIB,
            description="Bytes from one connection that wait for the store; beyond, it is not read from.",
        ),
    ] = MIB
    max_unstored_bytes: Annotated[
        int,
        Meta(
            ge=MIB,
            le=1_024 * 1_024 * MIB,
            description="Bytes from everybody that wait for the store; beyond, who has some there is not "
            "read from.",
        ),
    ] = 64 * MIB
    max_presence_filters: Annotated[
        int,
        Meta(
            ge=0,
            le=100_000,
            description="Filters whose presence an organization watches at one time, however many do.",
        ),
    ] = 10_000
    max_presence_states: Annotated[
        int, Meta(ge=0, le=1_000, description="Topics on which a session may say something of itself.")
    ] = 16
    max_session_expiry_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=30 * 86_400,
            description="Longest that a session outlives its connection; in 3.1.1 all that do have it.",
        ),
    ] = 86_400
    max_sessions_per_user: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="Sessions of one user without a connection; beyond, the one away longest ends.",
        ),
    ] = 100
    max_will_delay_seconds: Annotated[
        int, Meta(ge=0, le=86_400, description="Longest delay of a will; never longer than its session.")
    ] = 3_600
    max_retained_bytes: Annotated[
        int, Meta(ge=0, le=16 * MIB, description="Largest retained message: payload and properties.")
    ] = 64 * KIB
    max_retained_seconds: Annotated[
        int, Meta(ge=1, le=365 * 86_400, description="Longest time that a retained message is kept.")
    ] = 30 * 86_400
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
    connect_rate: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="New connections a second that all listeners take together; 0 sets no limit.",
        ),
    ] = 0
    connect_rate_per_address: Annotated[
        Positive,
        Meta(description="New connections a second from one address, loopback and trusted proxies apart."),
    ] = 20
    connect_burst_per_address: Annotated[
        Positive,
        Meta(description="New connections from one address that may come at once before the rate holds."),
    ] = 100
    max_publish_messages_per_second: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000_000,
            description="Messages a second that one client may publish, servers apart; 0 sets no limit. "
            "An organization may set a lower one.",
        ),
    ] = 0
    max_publish_bytes_per_second: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000_000_000,
            description="Bytes a second that the messages of one client may have, servers apart; 0 sets no "
            "limit. An organization may set a lower one.",
        ),
    ] = 0
    max_publish_hold_seconds: Annotated[
        int,
        Meta(
            ge=1,
            le=300,
            description="Time that a client which publishes faster is not read from, before it is closed.",
        ),
    ] = 10
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description="Networks of proxies, as 10.0.0.0/8, that no limit per address counts, and that are "
            "believed whom they speak for: PROXY protocol, `X-Forwarded-For`."
        ),
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
class ProviderSettings:
    """How the keys of identity providers are fetched."""

    insecure_upstreams: Annotated[
        tuple[str, ...],
        Meta(
            description="Hosts, as idp.internal or 127.0.0.1:8443, that keys are fetched from although they "
            "answer without TLS or on a private address. For tests, and for providers in one's own network."
        ),
    ] = ()


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

    http: HttpSettings = dataclasses.field(default_factory=HttpSettings)
    https: HttpsSettings = dataclasses.field(default_factory=HttpsSettings)
    mqtt: MqttSettings = dataclasses.field(default_factory=MqttSettings)
    mqtts: MqttsSettings = dataclasses.field(default_factory=MqttsSettings)
    websocket: WebsocketSettings = dataclasses.field(default_factory=WebsocketSettings)
    wss: WssSettings = dataclasses.field(default_factory=WssSettings)
    tls: TlsSettings = dataclasses.field(default_factory=TlsSettings)
    admin: AdminSettings = dataclasses.field(default_factory=AdminSettings)
    broker: BrokerSettings = BrokerSettings()
    auth: AuthSettings = dataclasses.field(default_factory=AuthSettings)
    audit: AuditSettings = dataclasses.field(default_factory=AuditSettings)
    data: DataSettings = DataSettings()
    database: DatabaseSettings = DatabaseSettings()
    tokens: TokenSettings = TokenSettings()
    providers: ProviderSettings = ProviderSettings()
    log: LogSettings = LogSettings()
    origins: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False, repr=False)


TABLES: Mapping[str, type] = MappingProxyType(
    {
        "http": HttpSettings,
        "https": HttpsSettings,
        "mqtt": MqttSettings,
        "mqtts": MqttsSettings,
        "websocket": WebsocketSettings,
        "wss": WssSettings,
        "tls": TlsSettings,
        "admin": AdminSettings,
        "broker": BrokerSettings,
        "auth": AuthSettings,
        "audit": AuditSettings,
        "data": DataSettings,
        "database": DatabaseSettings,
        "tokens": TokenSettings,
        "providers": ProviderSettings,
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
