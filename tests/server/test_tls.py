"""What a context is made of, and that it changes with its files."""

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from tokenmq.config import TlsSettings
from tokenmq.errors import InvalidSettings
from tokenmq.server.tls import Certificates, make_context

PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


@pytest.fixture
def files(tmp_path: Path, server_certificate: Path) -> tuple[Path, Path]:
    """A certificate and its key in files of their own, to be changed."""
    certificate, mark, key = server_certificate.read_bytes().partition(b"-----BEGIN PRIVATE KEY")
    (tmp_path / "cert.pem").write_bytes(certificate)
    (tmp_path / "key.pem").write_bytes(mark + key)
    return tmp_path / "cert.pem", tmp_path / "key.pem"


def settings_of(files: tuple[Path, Path], **more: Any) -> TlsSettings:
    return TlsSettings(certificate=files[0], private_key=files[1], **more)


def replace(path: Path, data: bytes) -> None:
    """Put a new file in the place of one, as renewals do."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.replace(path)


# What is accepted.


def test_versions_and_suites_are_those_of_the_rules(files: Any) -> None:
    context = make_context(settings_of(files))

    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    for option in (ssl.OP_NO_COMPRESSION, ssl.OP_NO_RENEGOTIATION):
        assert context.options & option
    for suite in context.get_ciphers():
        assert suite["aead"], suite["name"]
        assert suite["protocol"] == "TLSv1.3" or suite["kea"] == "kx-ecdhe", suite["name"]
    assert context.verify_mode == ssl.CERT_NONE


def test_newest_version_alone_can_be_asked_for(files: Any) -> None:
    assert make_context(settings_of(files, minimum_version="1.3")).minimum_version == ssl.TLSVersion.TLSv1_3


def test_certificate_and_key_may_be_in_one_file(server_certificate: Path) -> None:
    assert make_context(TlsSettings(certificate=server_certificate))


@pytest.mark.parametrize(("required", "mode"), [(False, ssl.CERT_OPTIONAL), (True, ssl.CERT_REQUIRED)])
def test_clients_are_asked_for_a_certificate_where_there_is_an_authority(
    files: Any, authority: Any, required: bool, mode: ssl.VerifyMode
) -> None:
    context = make_context(settings_of(files, client_ca=authority.path, require_client_certificate=required))

    assert context.verify_mode == mode
    assert context.num_tickets == 0 and context.options & ssl.OP_NO_TICKET


def test_revocation_list_is_held_against_clients(files: Any, authority: Any, tmp_path: Path) -> None:
    crl = tmp_path / "crl.pem"
    crl.write_bytes(authority.revocations())
    context = make_context(settings_of(files, client_ca=authority.path, client_crl=crl))

    assert context.verify_flags & ssl.VERIFY_CRL_CHECK_LEAF
    assert context.cert_store_stats()["crl"] == 1


# What is refused, in one sentence that names setting and file.


@pytest.mark.parametrize("name", ["certificate", "private_key", "client_ca", "client_crl"])
@pytest.mark.parametrize("broken", ["missing", "folder", "empty", "nonsense"])
def test_file_that_cannot_be_used_is_named_with_its_setting(
    files: Any, authority: Any, tmp_path: Path, name: str, broken: str
) -> None:
    path = tmp_path / "broken"
    if broken == "folder":
        path.mkdir()
    elif broken != "missing":
        path.write_bytes(b"nonsense" if broken == "nonsense" else b"")
    chosen = {"certificate": files[0], "private_key": files[1], "client_ca": authority.path, name: path}

    with pytest.raises(InvalidSettings) as refused:
        make_context(TlsSettings(**chosen))
    assert str(refused.value).startswith(f"tls.{name} (TOKENMQ_TLS_{name.upper()}): {path} ")
    assert "\n" not in str(refused.value)


def test_key_of_another_certificate_is_refused(files: Any, authority: Any) -> None:
    files[1].write_bytes(authority.issue("another").read_bytes())

    with pytest.raises(InvalidSettings, match=r"tls\.private_key .* is not that of the certificate in .*"):
        make_context(settings_of(files))


def test_key_with_a_passphrase_is_refused_and_nobody_is_asked(files: Any) -> None:
    secret = serialization.BestAvailableEncryption(b"passphrase")
    files[1].write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(PEM, PKCS8, secret))

    with pytest.raises(InvalidSettings, match="can be used without a passphrase"):
        make_context(settings_of(files))


def test_certificate_without_its_key_in_the_same_file_is_refused(files: Any) -> None:
    with pytest.raises(InvalidSettings, match=r"tls\.certificate .* has no private key"):
        make_context(TlsSettings(certificate=files[0]))


def test_certificate_among_the_revocations_is_not_trusted_by_accident(
    files: Any, authority: Any, make_authority: Callable[[str], Any], tmp_path: Path
) -> None:
    crl = tmp_path / "crl.pem"
    crl.write_bytes(authority.revocations() + make_authority("stranger").path.read_bytes())

    with pytest.raises(InvalidSettings, match=r"tls\.client_crl .* has certificates"):
        make_context(settings_of(files, client_ca=authority.path, client_crl=crl))


# Changes.


def test_changed_files_make_a_new_context_when_they_have_been_quiet(files: Any, authority: Any) -> None:
    certificates = Certificates(settings_of(files))
    first = certificates.context
    certificates.look()
    assert certificates.context is first

    renewed = authority.issue("renewed").read_bytes()
    replace(files[0], renewed)
    certificates.look()
    assert certificates.context is first, "the key may still be on its way"
    replace(files[1], renewed)
    certificates.look()
    assert certificates.context is first
    certificates.look()
    assert certificates.context is not first


def test_files_that_cannot_be_used_keep_what_there_is_and_are_told_once(files: Any, authority: Any) -> None:
    certificates = Certificates(settings_of(files))
    first = certificates.context
    replace(files[0], authority.issue("renewed").read_bytes())

    with capture_logs() as lines:
        for _ in range(5):
            certificates.look()
    assert [line["event"] for line in lines] == ["certificate_unusable"]
    assert lines[0]["log_level"] == "error" and str(files[1]) in lines[0]["reason"]
    assert certificates.context is first

    replace(files[1], files[0].read_bytes())
    with capture_logs() as lines:
        certificates.look()
        certificates.look()
    assert [line["event"] for line in lines] == ["certificate_loaded"]
    assert certificates.context is not first


def test_file_that_goes_away_keeps_what_there_is(files: Any) -> None:
    certificates = Certificates(settings_of(files))
    first = certificates.context
    files[0].unlink()
    certificates.look()
    certificates.look()

    assert certificates.context is first


def test_file_written_over_in_place_is_noticed(files: Any) -> None:
    certificates = Certificates(settings_of(files))
    first = certificates.context
    os.utime(files[0], ns=(1, 1))
    certificates.look()
    certificates.look()

    assert certificates.context is not first


def test_link_that_leads_elsewhere_is_noticed(files: Any, authority: Any, tmp_path: Path) -> None:
    link = tmp_path / "live.pem"
    link.symlink_to(authority.issue("old"))
    certificates = Certificates(TlsSettings(certificate=link))
    first = certificates.context
    link.unlink()
    link.symlink_to(authority.issue("new"))
    certificates.look()
    certificates.look()

    assert certificates.context is not first


def test_reload_reads_at_once(files: Any, authority: Any) -> None:
    certificates = Certificates(settings_of(files))
    first = certificates.context
    for path in files:
        replace(path, authority.issue("renewed").read_bytes())
    replace(files[1], files[0].read_bytes())
    certificates.reload()

    assert certificates.context is not first


def test_new_authority_takes_the_place_of_the_old(
    files: Any, authority: Any, make_authority: Callable[[str], Any], tmp_path: Path
) -> None:
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(authority.path.read_bytes())
    certificates = Certificates(settings_of(files, client_ca=trusted))
    replace(trusted, make_authority("successor").path.read_bytes())
    certificates.reload()

    assert [
        dict(part for rdn in known["subject"] for part in rdn)
        for known in certificates.context.get_ca_certs()
    ] == [{"commonName": "successor"}]
