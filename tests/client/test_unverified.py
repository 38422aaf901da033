"""Tokens read without checking them."""

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.client.unverified import read, username
from tokenmq.errors import InvalidToken


def token(header: object, claims: object) -> str:
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)
    ]
    return ".".join([*parts, "c2ln"])


def test_header_claims_username_and_expiry_are_read() -> None:
    found = read(token({"alg": "ES256"}, {"sub": "a b@c", "org": "org_x", "exp": 7}))
    assert found.header == {"alg": "ES256"}
    assert (found.username, found.expires_at) == ("a%20b%40c@org_x", 7)


@pytest.mark.parametrize("claims", [{}, {"sub": "alice"}, {"sub": 1, "org": "o"}, {"sub": "a", "org": None}])
def test_a_token_that_names_nobody_has_no_username(claims: object) -> None:
    assert read(token({}, claims)).username is None


@pytest.mark.parametrize("exp", [True, "7", 7.5, None])
def test_an_expiry_that_is_no_whole_number_is_none(exp: object) -> None:
    assert read(token({}, {"exp": exp})).expires_at is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.b",
        "a.b.c.d.e",
        "!.e30.c",
        "e30.e30=x.c",
        token([], {}),
        token({}, 1),
        "e30." + "W" * 9 + ".c",
        "sk_abc",
    ],
)
def test_what_is_no_token_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(InvalidToken) as caught:
        read(text)
    assert not text or text not in str(caught.value)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidToken):
        read(text)


def test_usernames_have_one_spelling() -> None:
    assert username("user-123", "org_x") == "user-123@org_x"
    assert username("a.b_c~d", "org_x") == "a.b_c~d@org_x"
    assert username("é/+", "org_x") == "%C3%A9%2F%2B@org_x"
