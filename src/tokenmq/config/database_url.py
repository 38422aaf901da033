"""Reading the URL of a PostgreSQL database, and refusing every other text.

A refusal never shows a part of the text but its scheme: where a password holds an `@`
or a `/` that is not written as %40 or %2F, any part may be a piece of it.
"""

from __future__ import annotations

import dataclasses
import re
from urllib.parse import parse_qsl, unquote, urlsplit

from tokenmq.config.secret import Secret
from tokenmq.errors import InvalidSettings

WANTED = "postgresql://user:password@host:port/name"
DEFAULT_PORT = 5432

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# What libpq takes; "prefer" is its default and asyncpg's.
_TLS_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_PARAMETERS = ("sslmode", "sslrootcert")


@dataclasses.dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """Where a PostgreSQL database is, and as whom to open it.

    Attributes:
        host: a name, an address, or the folder of a Unix socket.
        password: None leaves it to the server's other ways, or to `~/.pgpass`.
        tls_mode: `sslmode` of libpq, None is its default (TLS if the server has it).
        tls_root: file with the certificates that the server's is held against.
    """

    host: str
    port: int
    user: str
    password: Secret | None
    name: str
    tls_mode: str | None = None
    tls_root: str | None = None

    def __str__(self) -> str:
        return f"database {self.name} at {self.host}:{self.port}"


def database_address(url: Secret) -> DatabaseAddress:
    """Read a database URL.

    Raises: InvalidSettings, which says what is wrong, without the password.
    """
    text = url.reveal()
    found = _SCHEME.match(text)
    if found is None:
        raise _refusal("it has no scheme")
    if found[1].lower() not in ("postgresql", "postgres"):
        raise _refusal(f"its scheme is {found[1]}")
    try:
        parts = urlsplit(text)
        port = parts.port
        host = parts.hostname
    except ValueError:
        raise _refusal("its host or port cannot be read; an @ or / in the password is %40 or %2F") from None
    if parts.fragment:
        raise _refusal("it has a #; in the password that is %23")
    if not parts.username:
        raise _refusal("it names no user")
    if not host or "@" in parts.netloc.rpartition("@")[0]:
        raise _refusal("it names no host, or more than one; an @ in the password is %40")
    name = parts.path.removeprefix("/")
    if not name or "/" in name or "@" in name:
        raise _refusal("it names no database, or its password holds a / that is not %2F")
    parameters = _parameters(parts.query)
    return DatabaseAddress(
        # The folder of a socket. In an IPv6 address a percent sign begins the zone.
        host=unquote(host) if "%2f" in host.lower() else host,
        port=DEFAULT_PORT if port is None else port,
        user=unquote(parts.username),
        password=None if parts.password is None else Secret(unquote(parts.password)),
        name=unquote(name),
        tls_mode=parameters.get("sslmode"),
        tls_root=parameters.get("sslrootcert"),
    )


def _parameters(query: str) -> dict[str, str]:
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    if not parameters.keys() <= set(_PARAMETERS):
        raise _refusal(f"it has parameters that are none of {', '.join(_PARAMETERS)}")
    if parameters.get("sslmode", "prefer") not in _TLS_MODES:
        raise _refusal(f"its sslmode is none of {', '.join(_TLS_MODES)}")
    if "sslrootcert" in parameters and not parameters.get("sslmode", "").startswith("verify-"):
        raise _refusal("its sslrootcert needs sslmode verify-ca or verify-full")
    return parameters


def _refusal(wrong: str) -> InvalidSettings:
    return InvalidSettings(f"[database] url: {WANTED} is wanted, and of what is there: {wrong}")
