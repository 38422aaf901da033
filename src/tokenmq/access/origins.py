"""Which web pages may connect: the `Origin` of RFC 6454 against an allow-list.

A pattern is `scheme://host`, `scheme://host:port` or `scheme://host:*`; without a
port it means the scheme's own. Both sides are taken apart and compared piece by
piece, so that nothing in front of or behind the host can pass for it.
"""

from __future__ import annotations

from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
# What a host, a port and an IPv6 literal are written with. No `@`: an origin has no
# user (`http://localhost:80@attacker/` is the attacker's). No `/`: it has no path.
_AUTHORITY = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]")
_ANY_PORT = ":*"


def matches_origin(pattern: str, origin: str) -> bool:
    """Tell whether an origin is one of those a pattern means; what is malformed never is."""
    any_port = pattern.endswith(_ANY_PORT)
    wanted = _split(pattern.removesuffix(_ANY_PORT))
    given = _split(origin)
    if wanted is None or given is None:
        return False
    return wanted[:2] == given[:2] and (any_port or wanted[2] == given[2])


def is_origin_pattern(text: str) -> bool:
    """Tell whether a text is a pattern that can match something."""
    return _split(text.removesuffix(_ANY_PORT)) is not None


def _split(text: str) -> tuple[str, str, int | None] | None:
    """Take `scheme://host[:port]` apart; None if there is anything more or less."""
    scheme, separator, authority = text.partition("://")
    if not (
        separator and authority and scheme.isascii() and scheme.isalnum() and _AUTHORITY.issuperset(authority)
    ):
        return None
    try:
        parts = urlsplit(f"{scheme}://{authority}")
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or parts.netloc.endswith(":"):
        return None
    return parts.scheme, parts.hostname, _DEFAULT_PORTS.get(parts.scheme) if port is None else port
