"""Reading settings: one file, then the environment, every value checked."""

from __future__ import annotations

import difflib
import ipaddress
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from tokenmq.config.database_url import database_address
from tokenmq.config.declared import Declared, declarations
from tokenmq.config.listening import WITH_TLS, Listening, PlainListener, TlsListener
from tokenmq.config.secret import Secret
from tokenmq.config.settings import OTHER_VARIABLES, TABLES, Settings
from tokenmq.errors import InvalidSettings

FILE_NAME = "tokenmq.toml"
PREFIX = "TOKENMQ_"


class _Found(NamedTuple):
    declared: Declared
    value: object
    origin: str


def load(path: Path | str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings of one file and lay the environment over them.

    Args:
        path: the file; None takes ./tokenmq.toml if it is there, else the one that
            TOKENMQ_CONFIG names, else none at all.
        environ: variables to look at; None takes those of this process.

    Returns: settings that are checked, each alone and with one another.
    Raises: InvalidSettings, naming the setting and where it was set.
    """
    variables = os.environ if environ is None else environ
    file = _find(path, variables)
    found = [*(_from_file(file) if file else ()), *_from_environment(variables)]
    values: dict[str, dict[str, Any]] = {table: {} for table in TABLES}
    for declared, value, _ in found:
        values[declared.table][declared.key] = value
    origins = {declared.name: origin for declared, _, origin in found}
    tables: dict[str, Any] = {table: kind(**values[table]) for table, kind in TABLES.items()}
    settings = Settings(**tables, origins=MappingProxyType(origins))
    _check_together(settings)
    return settings


def _find(path: Path | str | None, variables: Mapping[str, str]) -> Path | None:
    if path is not None:
        return Path(path)
    here = Path(FILE_NAME)
    if here.exists():
        return here
    named = variables.get("TOKENMQ_CONFIG")
    return Path(named) if named else None


def _from_file(file: Path) -> Iterator[_Found]:
    known = {(declared.table, declared.key): declared for declared in declarations()}
    for table, keys in _read(file).items():
        if table not in TABLES:
            if isinstance(keys, dict):
                raise InvalidSettings(f"{file}: unknown table [{table}]{_nearest(table, TABLES)}")
            near = _nearest(
                table, (name.replace(".", "] ") for name in sorted(f"[{of}.{key}" for of, key in known))
            )
            raise InvalidSettings(f"{file}: {table} stands outside every table{near}")
        if not isinstance(keys, dict):
            raise InvalidSettings(f"{file}: {table} is a table, written [{table}]")
        for key, value in keys.items():
            declared = known.get((table, key))
            if declared is None:
                near = _nearest(key, (name for of, name in known if of == table))
                raise InvalidSettings(f"{file}: unknown key {key} in [{table}]{near}")
            yield _Found(
                declared, _convert(declared, value, f"{file}: [{table}] {key}", strict=True), str(file)
            )


def _read(file: Path) -> dict[str, Any]:
    try:
        return msgspec.toml.decode(file.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise InvalidSettings(f"{file} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{file} is not TOML: {error}") from error


def _from_environment(variables: Mapping[str, str]) -> Iterator[_Found]:
    known = {declared.variable: declared for declared in declarations()}
    for variable in sorted(name for name in variables if name.startswith(PREFIX)):
        if variable in OTHER_VARIABLES:
            continue
        declared = known.get(variable)
        if declared is None:
            near = _nearest(variable, (*known, *OTHER_VARIABLES))
            raise InvalidSettings(f"unknown environment variable {variable}{near}")
        text = variables[variable]
        if not text:
            raise InvalidSettings(f"environment variable {variable} is empty; unset it for the default")
        value = [item.strip() for item in text.split(",")] if declared.is_list else text
        yield _Found(declared, _convert(declared, value, variable, strict=False), variable)


def _convert(declared: Declared, value: object, where: str, *, strict: bool) -> object:
    try:
        return msgspec.convert(value, declared.kind, strict=strict, dec_hook=_decode)
    except msgspec.ValidationError:
        got = "what is there" if declared.is_secret else repr(value)
        raise InvalidSettings(f"{where}: {declared.wanted} is wanted, not {got}") from None


def _decode(kind: type, value: object) -> object:
    """Make the types that msgspec does not know; a ValueError becomes its ValidationError."""
    if not isinstance(value, str) or not value:
        raise ValueError("not a text")
    return Secret(value) if kind is Secret else Path(value)


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"; the nearest known one is {close[0]}" if close else ""


def _check_together(settings: Settings) -> None:
    """Refuse what is wrong only in combination, or only in meaning."""
    _check_listeners(settings)
    _check_tls(settings)
    if settings.database.url is not None:
        database_address(settings.database.url)
    broker = settings.broker
    if broker.min_keep_alive_seconds > broker.max_keep_alive_seconds:
        raise InvalidSettings(
            f"[broker] min_keep_alive_seconds {broker.min_keep_alive_seconds} is more than "
            f"max_keep_alive_seconds {broker.max_keep_alive_seconds}"
        )
    for network in broker.trusted_proxies:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise InvalidSettings(
                f"[broker] trusted_proxies: {network!r} is not an address or network, as 10.0.0.0/8"
            ) from None


def _check_listeners(settings: Settings) -> None:
    plain: dict[str, PlainListener] = {table: getattr(settings, table) for table in WITH_TLS}
    secure: dict[str, TlsListener] = {table: getattr(settings, table) for table in WITH_TLS.values()}
    for table, listener in plain.items():
        if listener.enabled and not listener.allow_plaintext and not _is_loopback(listener.host):
            raise InvalidSettings(
                f"[{table}] host {listener.host} is not loopback and this listener has no TLS; "
                f"[{WITH_TLS[table]}] has, with [tls] certificate; "
                f"set [{table}] allow_plaintext = true if none is wanted"
            )
    admin = settings.admin
    if admin.enabled and not admin.allow_plaintext and not _is_loopback(admin.host):
        raise InvalidSettings(
            f"[admin] host {admin.host} is not loopback, and whoever reaches this listener may look; "
            "set [admin] allow_plaintext = true if that is wanted"
        )
    if not settings.http.enabled and not settings.https.enabled:
        raise InvalidSettings("[http] enabled and [https] enabled are both false: nobody could make a token")
    taken: dict[int, str] = {}
    listeners: dict[str, Listening] = {**plain, **secure, "admin": admin}
    for table, each in listeners.items():
        if not each.enabled or (table in secure and settings.tls.certificate is None):
            continue
        if each.port in taken:
            raise InvalidSettings(f"[{table}] port {each.port} is also [{taken[each.port]}] port")
        if each.port:
            taken[each.port] = table
        if getattr(each, "proxy_protocol", False) and not settings.broker.trusted_proxies:
            raise InvalidSettings(
                f"[{table}] proxy_protocol is true, and [broker] trusted_proxies names no proxy: "
                "nobody could connect"
            )


def _check_tls(settings: Settings) -> None:
    tls = settings.tls
    if tls.certificate is None:
        for key in ("private_key", "client_ca"):
            if getattr(tls, key) is not None:
                raise InvalidSettings(f"[tls] {key} is set, and [tls] certificate is not")
        if settings.https.enabled:
            raise InvalidSettings("[https] enabled is true, and [tls] certificate is not set")
    if tls.client_ca is None and (tls.client_crl is not None or tls.require_client_certificate):
        key = "client_crl" if tls.client_crl is not None else "require_client_certificate"
        raise InvalidSettings(f"[tls] {key} is set, and [tls] client_ca is not")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
