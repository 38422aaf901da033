"""Where a broker listens: mqtt://, mqtts://, ws://, wss://, or a bare host name."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import Final
from urllib.parse import urlsplit

from tokenmq.errors import InvalidRequest

PORTS: Final = {"mqtt": 1883, "mqtts": 8883, "ws": 8083, "wss": 8084}
# What a bare host name is tried as, in this order; without TLS only on this machine.
SECURE: Final = ("mqtts://{}", "wss://{}:443", "wss://{}")
PLAIN: Final = ("mqtt://{}", "ws://{}")


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """Where a broker listens, and how.

    Attributes:
        websocket: MQTT over WebSocket, on `path`.
        tls: encrypted, the certificate checked against the system's roots.
    """

    host: str
    port: int
    path: str
    websocket: bool
    tls: bool

    def __str__(self) -> str:
        scheme = ("wss" if self.tls else "ws") if self.websocket else ("mqtts" if self.tls else "mqtt")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}{self.path if self.websocket else ''}"


def parse_url(url: str) -> Address:
    """Read mqtt://, mqtts://, ws:// or wss:// with host, and port and path if given.

    A query of ws:// and wss:// goes to the server with the path.

    Raises: InvalidRequest for anything else; a password in it is not shown.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidRequest(("url", str(error))) from error
    if parts.username is not None:
        raise InvalidRequest(("url", "has a username or password, which are arguments of their own"))
    websocket = parts.scheme in ("ws", "wss")
    has_more = parts.fragment or (not websocket and (parts.path not in ("", "/") or parts.query))
    if parts.scheme not in PORTS or not parts.hostname or port == 0 or has_more:
        raise InvalidRequest(("url", f"{url!r} is no address of a broker, as mqtt://127.0.0.1:1883"))
    return Address(
        host=parts.hostname,
        port=port or PORTS[parts.scheme],
        path=(parts.path or "/mqtt") + (f"?{parts.query}" if parts.query else ""),
        websocket=websocket,
        tls=parts.scheme in ("mqtts", "wss"),
    )


def addresses_of(host: str) -> list[Address]:
    """Return what to try, in this order: one for a URL, several for a bare host name.

    A bare host is tried with TLS; without TLS too where it is this machine, and nowhere else:
    who can break the TLS of a name must not get its passwords.

    Raises: InvalidRequest for what is neither.
    """
    if "://" in host:
        return [parse_url(host)]
    if not host or any(character in host for character in "/@?# ") or (":" in host and not _is_ip(host)):
        raise InvalidRequest(("host", f"{host!r} is no host name; with a port write mqtts://name:port"))
    name = f"[{host}]" if ":" in host else host
    forms = (*SECURE, *PLAIN) if _is_loopback(host) else SECURE
    return [parse_url(form.format(name)) for form in forms]


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)
