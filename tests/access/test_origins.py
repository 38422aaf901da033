"""Origins against patterns: RFC 6454 §6.1 and V-105."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.access.origins import is_origin_pattern, matches_origin


@pytest.mark.parametrize(
    ("pattern", "origin"),
    [
        ("http://localhost:*", "http://localhost"),
        ("http://localhost:*", "http://localhost:3000"),
        ("http://localhost:*", "http://LOCALHOST:3000"),
        ("http://127.0.0.1:*", "http://127.0.0.1:8080"),
        ("http://[::1]:*", "http://[::1]:5173"),
        ("https://app.example.com", "https://app.example.com"),
        ("https://app.example.com", "https://app.example.com:443"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("HTTPS://App.Example.com", "https://app.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("capacitor://localhost", "capacitor://localhost"),
    ],
)
def test_origin_that_the_pattern_means_matches(pattern: str, origin: str) -> None:
    assert matches_origin(pattern, origin)


@pytest.mark.parametrize(
    ("pattern", "origin"),
    [
        ("http://localhost:*", "https://localhost:3000"),
        ("http://localhost:*", "http://localhost.attacker.example"),
        ("http://localhost:*", "http://attacker.localhost"),
        ("http://localhost:*", "http://localhos"),
        ("http://localhost:*", "http://localhost:"),
        ("http://localhost:*", "http://localhost:*"),
        ("http://localhost:*", "http://localhost:70000"),
        ("http://localhost:*", "http://localhost:3000/"),
        ("http://localhost:*", "http://localhost:3000/path"),
        ("http://localhost:*", "http://localhost?"),
        ("http://localhost:*", "http://localhost#"),
        ("http://localhost:*", "http://localhost\\.attacker"),
        ("http://localhost:*", "http://local\thost"),
        ("http://localhost:*", " http://localhost"),
        ("http://localhost:*", "http://localhost\n"),
        ("http://localhost:*", "http://localhost."),
        ("http://localhost:*", "http:localhost"),
        ("http://localhost:*", "localhost"),
        ("http://localhost:*", "null"),
        ("http://localhost:*", ""),
        ("http://localhost", "http://localhost:3000"),
        ("https://app.example.com", "https://xapp.example.com"),
        ("https://app.example.com", "https://appxexample.com"),
        ("http://[::1]:*", "http://[::1"),
        ("null", "null"),
        ("", ""),
        ("*", "http://localhost"),
        (":*", "http://localhost"),
    ],
)
def test_origin_that_the_pattern_does_not_mean_is_refused(pattern: str, origin: str) -> None:
    assert not matches_origin(pattern, origin)


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:80@attacker/",
        "http://localhost:80@attacker",
        "http://localhost@attacker",
        "http://attacker/http://localhost",
        "http://attacker?http://localhost",
        "http://attacker#@localhost",
        "http://attacker\\@localhost",
    ],
)
def test_v105_user_info_in_an_origin_is_refused(origin: str) -> None:
    assert not matches_origin("http://localhost:*", origin)


@given(st.text(st.sampled_from("htps:/.@#?\\[]*ab01 \t\0lo"), max_size=30), st.text(max_size=30))
def test_no_text_makes_the_matcher_fail(pattern: str, origin: str) -> None:
    assert matches_origin(pattern, origin) in (True, False)


@pytest.mark.parametrize("text", ["http://localhost:*", "https://a.example", "http://[::1]:8080"])
def test_pattern_is_told_from_other_text(text: str) -> None:
    assert is_origin_pattern(text)
    assert not is_origin_pattern(text + "/")
    assert not is_origin_pattern(text.partition("://")[2])
