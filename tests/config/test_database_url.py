"""The URL of a database: what it says, and refusals that do not show the password."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.config import DatabaseAddress, Secret, database_address
from tokenmq.errors import InvalidSettings


def read(text: str) -> DatabaseAddress:
    return database_address(Secret(text))


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "PostgreSQL"])
def test_every_part_is_read(scheme: str) -> None:
    assert read(f"{scheme}://ann:se%40%2Fcret@db.example:6543/to%20ken") == DatabaseAddress(
        host="db.example", port=6543, user="ann", password=Secret("se@/cret"), name="to ken"
    )


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("postgresql://u:p@[::1]/d", "::1", 5432),
        ("postgresql://u:p@[::1]:1/d", "::1", 1),
        ("postgresql://u@127.0.0.1/d", "127.0.0.1", 5432),
        ("postgresql://u@%2Fvar%2FRun%2Fpg:5433/d", "/var/Run/pg", 5433),
    ],
)
def test_host_and_port_may_be_written_in_every_usual_way(text: str, host: str, port: int) -> None:
    assert (read(text).host, read(text).port) == (host, port)


def test_tls_is_asked_for_in_the_words_of_libpq() -> None:
    address = read("postgresql://u:p@h/d?sslmode=verify-full&sslrootcert=/etc/ca.pem")
    assert (address.tls_mode, address.tls_root) == ("verify-full", "/etc/ca.pem")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mysql://u:hunter2@h/d", "its scheme is mysql"),
        ("postgresql+asyncpg://u:hunter2@h/d", "its scheme is postgresql+asyncpg"),
        ("sqlite:///hunter2.db", "its scheme is sqlite"),
        ("u:hunter2@h/d", "no scheme"),
        ("hunter2", "no scheme"),
        ("postgresql://:hunter2@h/d", "no user"),
        ("postgresql://h/hunter2", "no user"),
        ("postgresql://u:hunter2@/d", "no host"),
        ("postgresql://u:hunter2@h", "no database"),
        ("postgresql://u:hunter2@h/", "no database"),
        ("postgresql://u:hunter2@h:0x1/d", "host or port"),
        ("postgresql://u:hunter2@h:99999/d", "host or port"),
        ("postgresql://u:hunter2@[::1/d", "host or port"),
        # Passwords that are not escaped.
        ("postgresql://u:hunter2@x@h/d", "%40"),
        ("postgresql://u:x/hunter2@h/d", "%2F"),
        ("postgresql://u:1/hunter2@h/d", "no user"),
        ("postgresql://u:x@y/hunter2@h/d", "%2F"),
        ("postgresql://u:x#hunter2@h/d", "%2F"),
        ("postgresql://u@h/d#hunter2", "%23"),
        ("postgresql://u:p@h/d?hunter2=1", "none of sslmode, sslrootcert"),
        ("postgresql://u:p@h/d?sslmode=hunter2", "its sslmode is none of disable"),
        ("postgresql://u:p@h/d?sslrootcert=hunter2", "sslrootcert needs sslmode verify-ca or verify-full"),
    ],
)
def test_what_is_no_such_url_is_refused_without_a_part_of_it(text: str, told: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        read(text)
    assert told in str(refused.value)
    assert "postgresql://user:password@host:port/name is wanted" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_v69_the_address_does_not_show_the_password() -> None:
    address = read("postgresql://ann:hunter2@db.example/tokenmq")
    assert "hunter2" not in repr(address)
    assert str(address) == "database tokenmq at db.example:5432"


@given(st.text(max_size=30).map("postgresql://u:p@".__add__) | st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        address = read(text)
    except InvalidSettings:
        return
    assert address.host and address.name and address.user
    assert 0 <= address.port <= 65_535
