"""Addresses that may be listened on, and what to say of one that may or can not.

An address that others can reach needs a listener with TLS, or `allow_plaintext`
(SECURITY, ruling 18). Every refusal names the setting that changes it.
"""

from __future__ import annotations

import asyncio
import errno
import socket

from tokenmq.config import WITH_TLS, Listening, PlainListener
from tokenmq.errors import InvalidSettings
from tokenmq.server.endpoint import is_loopback


async def resolve(table: str, settings: Listening) -> list[str]:
    """Return the IP addresses of a table's host, if they may be listened on.

    Args:
        table: the table's name, for messages.
        settings: host, allow_plaintext.

    Raises: InvalidSettings.
    """
    loop = asyncio.get_running_loop()
    host = _setting(table, "host")
    try:
        found = await loop.getaddrinfo(settings.host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise InvalidSettings(f"{host} is {settings.host!r}, which is no address of this machine") from error
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    if isinstance(settings, PlainListener) and not settings.allow_plaintext:
        _refuse_public(table, settings, addresses)
    return addresses


def _refuse_public(table: str, settings: PlainListener, addresses: list[str]) -> None:
    if all(is_loopback(address) for address in addresses):
        return
    others = ""
    if table in WITH_TLS:
        with_tls = _setting(WITH_TLS[table], "host")
        others = f" and let others come in over TLS, with {_setting('tls', 'certificate')} and {with_tls}"
    raise InvalidSettings(
        f"{_setting(table, 'host')} is {settings.host}, which other machines can reach without TLS; "
        f"listen on 127.0.0.1{others}, or set {_setting(table, 'allow_plaintext')} to true"
    )


def why_not_bound(table: str, settings: Listening, error: OSError) -> str:
    """Say why a port cannot be listened on, and which setting moves it."""
    where = f"port {settings.port} on {settings.host}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is taken by another program; {_setting(table, 'port')} moves it"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{where} needs rights that this process does not have; {_setting(table, 'port')} moves it"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{_setting(table, 'host')} is {settings.host!r}, which is no address of this machine"
    return f"{where} ({_setting(table, 'host')}, {_setting(table, 'port')}) cannot be used: {error.strerror}"


def _setting(table: str, key: str) -> str:
    return f"{table}.{key} (TOKENMQ_{table.upper()}_{key.upper()})"
