from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.access.permission import Permission
from tokenmq.access.rules import ClaimCondition, PolicyDocument, Rule, Subject, matches_user


@given(st.text("ab*", max_size=8), st.text("ab", max_size=12))
def test_a_star_is_any_characters_and_nothing_else_is_special(pattern: str, user_id: str) -> None:
    oracle = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), user_id, re.DOTALL)
    assert matches_user(pattern, user_id) is (oracle is not None)


@pytest.mark.parametrize(
    ("pattern", "user_id", "is_named"),
    [
        ("*", "", True),
        ("ann", "ann", True),
        ("ann", "Ann", False),
        ("ann", "anna", False),
        ("agent-*", "agent-", True),
        ("agent-*", "my-agent-7", False),
        ("a*a", "a", False),
        ("*@example.com", "ann@example.com", True),
        ("a.c", "abc", False),
        ("[ab]", "a", False),
        ("a?", "ab", False),
        ("e\u0301", "\xe9", False),
    ],
)
def test_v80_a_user_is_text_and_no_pattern_but_for_the_star(
    pattern: str, user_id: str, is_named: bool
) -> None:
    assert matches_user(pattern, user_id) is is_named


@pytest.mark.parametrize(
    ("equals", "attrs", "holds"),
    [
        ("admin", {"role": "admin"}, True),
        ("admin", {"role": "admins"}, False),
        ("admin", {"role": ["user", "admin"]}, True),
        ("admin", {"role": []}, False),
        ("admin", {"role": {"admin": True}}, False),
        ("admin", {"role": None}, False),
        ("admin", {"roles": "admin"}, False),
        ("admin", {}, False),
        ("admin", None, False),
        (1, {"role": 1}, True),
        (1, {"role": 1.0}, True),
        (1, {"role": True}, False),
        (True, {"role": 1}, False),
        (True, {"role": True}, True),
        (False, {"role": 0}, False),
        (False, {"role": None}, False),
        (1, {"role": "1"}, False),
        ("1", {"role": 1}, False),
        (True, {"role": [1, "true"]}, False),
        (1.5, {"role": [1.5]}, True),
        ("", {"role": ""}, True),
    ],
)
def test_a_condition_holds_for_an_equal_claim_or_an_element_of_one(
    equals: Any, attrs: dict[str, Any] | None, holds: bool
) -> None:
    assert ClaimCondition("role", equals).holds(attrs) is holds


def test_values_are_texts_and_whole_numbers_and_the_rest_is_void() -> None:
    attrs = {"t": "x", "n": 7, "yes": True, "f": 1.5, "l": ["x"], "o": {}, "none": None}
    assert Subject("ann", "org_1", "c", attrs).values == {
        "user_id": "ann",
        "org": "org_1",
        "client_id": "c",
        "claim:t": "x",
        "claim:n": "7",
        **dict.fromkeys(("claim:yes", "claim:f", "claim:l", "claim:o", "claim:none"), ""),
    }
    assert Subject("ann", "org_1").values == {"user_id": "ann", "org": "org_1"}


def test_a_document_is_written_as_it_is_read_and_named_by_its_content() -> None:
    text = (
        b'{"version":"1","default":"deny","rules":[{"user":{"claim":"role","equals":true},'
        b'"permissions":["publish"],"topics":["a/{claim:t}"],"effect":"deny"}]}'
    )
    document = msgspec.json.decode(text, type=PolicyDocument)
    rule = Rule(ClaimCondition("role", True), (Permission.PUBLISH,), ("a/{claim:t}",), "deny")
    assert document.rules == (rule,)
    assert msgspec.json.encode(document) == text
    other = msgspec.json.decode(text.replace(b"true", b"1"), type=PolicyDocument)
    assert len(document.revision) == 16 and document.revision != other.revision
