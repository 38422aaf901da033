"""The declarations of what is listened on: three listeners in the open, three with TLS.

Each listener has a table; `[tls]` has the certificate of all that have TLS. Those run
as soon as there is one. The administrator's listener stands beside them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from msgspec import Meta

KIB = 1024
MIB = 1024 * KIB

Host = Annotated[str, Meta(min_length=1)]
Port = Annotated[int, Meta(ge=0, le=65_535)]

_Enabled = Annotated[bool, Meta(description="Listen here.")]
_EnabledTls = Annotated[bool, Meta(description="Listen here, if `[tls] certificate` is set.")]
_AllowPlaintext = Annotated[
    bool, Meta(description="Allow an address that is not loopback, though this listener has no TLS.")
]
_Path = Annotated[str, Meta(pattern=r"^/[!-~]*$", description="Path that a WebSocket upgrade must ask for.")]
_ProxyProtocol = Annotated[
    bool,
    Meta(
        description="Every connection begins with a PROXY protocol v2 header, and comes from "
        "`[broker] trusted_proxies`; any other is cut."
    ),
]


@dataclasses.dataclass(frozen=True, slots=True)
class HttpSettings:
    """The token service's listener in the open; its limits are those of [https], too."""

    enabled: _Enabled = True
    host: Annotated[Host, Meta(description="Address that the token service listens on.")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Port of the token service; 0 takes any free one.")] = 8080
    allow_plaintext: _AllowPlaintext = False
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
class HttpsSettings:
    """The token service over TLS. Off by default: often only your backend needs it, from this machine."""

    enabled: Annotated[bool, Meta(description="Listen here; needs `[tls] certificate`.")] = False
    host: Annotated[Host, Meta(description="Address that the token service listens on.")] = "0.0.0.0"
    port: Annotated[Port, Meta(description="Port of the token service over TLS; 0 takes any free one.")] = (
        8443
    )


@dataclasses.dataclass(frozen=True, slots=True)
class AdminSettings:
    """The administrator's listener: metrics and health. It asks nobody for a key, and has no TLS."""

    enabled: Annotated[bool, Meta(description="Listen here.")] = False
    host: Annotated[Host, Meta(description="Address that `/metrics` is served on.")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Port of `/metrics`; 0 takes any free one.")] = 8081
    allow_plaintext: Annotated[
        bool, Meta(description="Allow an address that is not loopback, though whoever reaches it may look.")
    ] = False


@dataclasses.dataclass(frozen=True, slots=True)
class MqttSettings:
    """The broker's TCP listener in the open."""

    enabled: _Enabled = True
    host: Annotated[Host, Meta(description="Address that the broker listens on.")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Port of MQTT over TCP; 0 takes any free one.")] = 1883
    allow_plaintext: _AllowPlaintext = False
    proxy_protocol: _ProxyProtocol = False


@dataclasses.dataclass(frozen=True, slots=True)
class MqttsSettings:
    """The broker's TLS listener."""

    enabled: _EnabledTls = True
    host: Annotated[Host, Meta(description="Address that the broker listens on with TLS.")] = "0.0.0.0"
    port: Annotated[Port, Meta(description="Port of MQTT over TLS; 0 takes any free one.")] = 8883
    proxy_protocol: _ProxyProtocol = False


@dataclasses.dataclass(frozen=True, slots=True)
class WebsocketSettings:
    """The broker's WebSocket listener in the open."""

    enabled: _Enabled = True
    host: Annotated[Host, Meta(description="Address that MQTT over WebSocket listens on.")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Port of MQTT over WebSocket; 0 takes any free one.")] = 8083
    path: _Path = "/mqtt"
    allow_plaintext: _AllowPlaintext = False
    proxy_protocol: _ProxyProtocol = False


@dataclasses.dataclass(frozen=True, slots=True)
class WssSettings:
    """The broker's WebSocket listener with TLS."""

    enabled: _EnabledTls = True
    host: Annotated[Host, Meta(description="Address that MQTT over WebSocket listens on with TLS.")] = (
        "0.0.0.0"
    )
    port: Annotated[Port, Meta(description="Port of MQTT over WebSocket with TLS; 0 takes any free one.")] = (
        8084
    )
    path: _Path = "/mqtt"
    proxy_protocol: _ProxyProtocol = False


@dataclasses.dataclass(frozen=True, slots=True)
class TlsSettings:
    """The certificate of all listeners with TLS. The files are PEM, and are read again when they change."""

    certificate: Annotated[
        Path | None, Meta(description="File of the certificate, followed by those between it and its root.")
    ] = None
    private_key: Annotated[
        Path | None,
        Meta(
            description="File of its private key, without a passphrase. None: it is in the file of the "
            "certificate."
        ),
    ] = None
    minimum_version: Annotated[
        Literal["1.2", "1.3"], Meta(description="Oldest version of TLS that is accepted.")
    ] = "1.2"
    client_ca: Annotated[
        Path | None,
        Meta(
            description="File of the certificates of authorities: a certificate that a client shows is "
            "held against them. None: clients are not asked for one."
        ),
    ] = None
    client_crl: Annotated[
        Path | None,
        Meta(
            description="File of the authorities' revocation lists. Set, each authority must have one that "
            "is not out of date."
        ),
    ] = None
    require_client_certificate: Annotated[
        bool, Meta(description="Refuse a client that shows no certificate; needs `client_ca`.")
    ] = False


PlainListener = HttpSettings | MqttSettings | WebsocketSettings | AdminSettings
TlsListener = HttpsSettings | MqttsSettings | WssSettings
Listening = PlainListener | TlsListener

# By the table of a listener in the open the one that does the same with TLS.
WITH_TLS: Mapping[str, str] = MappingProxyType({"http": "https", "mqtt": "mqtts", "websocket": "wss"})
