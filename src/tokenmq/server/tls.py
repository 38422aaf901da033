"""The TLS of this server: what is accepted, whose certificate, and how both change while it runs.

TLS 1.2 and 1.3, of 1.2 the suites with ECDHE and AEAD only, neither compression nor
renegotiation (SECURITY 6.2). A change of the files makes a whole new context, built
beside the one in use and put in its place when it is complete: a new connection gets
the new one, a live one keeps its own, and half a pair of files changes nothing. What a
client may resume ends with its context, so a revocation list holds from the moment in
which it was read.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import structlog
from cryptography import x509

from tokenmq.config import TlsSettings
from tokenmq.errors import InvalidSettings

_log = structlog.get_logger("tokenmq.tls")

# How often the files are looked at. A change counts when it has lasted from one look to
# the next, for certificate and key are rarely written at once.
LOOK_SECONDS = 2.0

# TLS 1.2; of TLS 1.3 all suites are of this kind.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_FILES = ("certificate", "private_key", "client_ca", "client_crl")

Fingerprint = tuple[tuple[int, int, int] | None, ...]


def make_context(settings: TlsSettings) -> ssl.SSLContext:
    """Read the files and make the context of a listener.

    Args:
        settings: `certificate` is set.

    Raises: InvalidSettings, naming setting and file, when a file cannot be read, is not
        what it should be, or the key is not the certificate's.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.minimum_version]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers(_CIPHERS)
    _load_certificate(context, settings)
    if settings.client_ca is not None:
        _load_authorities(context, settings.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED if settings.require_client_certificate else ssl.CERT_OPTIONAL
        # Whom a ticket lets in again is not held against authorities and dates.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
    if settings.client_crl is not None:
        _load_revocations(context, settings.client_crl)
    return context


class Certificates:
    """The context that new connections get, made again when its files change.

    Attributes:
        context: for the next connection.
    """

    def __init__(self, settings: TlsSettings) -> None:
        """Read the files.

        Raises: as `make_context`.
        """
        self._settings = settings
        self._paths = [path for name in _FILES if (path := getattr(settings, name)) is not None]
        # What was read last, well or in vain, and what the last look saw.
        self._read = self._seen = self._fingerprint()
        self.context = make_context(settings)

    async def watch(self) -> None:
        """Look at the files now and then, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Read the files again if they have changed, and not since the last look."""
        before, self._seen = self._seen, self._fingerprint()
        if before == self._seen != self._read:
            self.reload()

    def reload(self) -> None:
        """Read the files again; if they cannot be used, say so and keep what there is."""
        self._read = self._seen = self._fingerprint()
        try:
            self.context = make_context(self._settings)
        except InvalidSettings as error:
            _log.error("certificate_unusable", reason=str(error))
        else:
            _log.info("certificate_loaded", file=str(self._settings.certificate))

    def _fingerprint(self) -> Fingerprint:
        return tuple(_fingerprint(path) for path in self._paths)


def _fingerprint(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is written or put in another's place; None without one."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _load_certificate(context: ssl.SSLContext, settings: TlsSettings) -> None:
    certificate = settings.certificate
    if certificate is None:
        raise InvalidSettings(f"{_setting('certificate')} is not set")
    key_name = "certificate" if settings.private_key is None else "private_key"
    key = settings.private_key or certificate
    _parse("certificate", certificate, x509.load_pem_x509_certificates, "no certificate in PEM")
    _read("private_key", key)
    try:
        # Without a password of ours OpenSSL would ask the terminal for one.
        context.load_cert_chain(certificate, key, password="")
    except OSError as error:  # SSLError is one; the file may have gone meanwhile
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            raise InvalidSettings(
                f"{_setting(key_name)}: the key in {key} is not that of the certificate in {certificate}"
            ) from error
        raise InvalidSettings(
            f"{_setting(key_name)}: {key} has no private key in PEM that can be used without a passphrase"
        ) from error


def _load_authorities(context: ssl.SSLContext, path: Path) -> None:
    _parse("client_ca", path, x509.load_pem_x509_certificates, "no certificate in PEM")
    _load_locations(context, "client_ca", path)


def _load_revocations(context: ssl.SSLContext, path: Path) -> None:
    data = _parse("client_crl", path, x509.load_pem_x509_crl, "no revocation list in PEM")
    if b"-----BEGIN CERTIFICATE-----" in data:
        # It would be loaded, and trusted.
        raise InvalidSettings(
            f"{_setting('client_crl')}: {path} has certificates, and only lists belong there"
        )
    _load_locations(context, "client_crl", path)
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def _load_locations(context: ssl.SSLContext, name: str, path: Path) -> None:
    try:
        context.load_verify_locations(path)
    except OSError as error:  # SSLError is one
        raise InvalidSettings(f"{_setting(name)}: {path} cannot be used: {error.strerror}") from error


def _parse(name: str, path: Path, parse: Callable[[bytes], object], otherwise: str) -> bytes:
    data = _read(name, path)
    try:
        parse(data)
    except ValueError as error:
        raise InvalidSettings(f"{_setting(name)}: {path} has {otherwise}") from error
    return data


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidSettings(f"{_setting(name)}: {path} cannot be read: {error.strerror}") from error


def _setting(name: str) -> str:
    return f"tls.{name} (TOKENMQ_TLS_{name.upper()})"
