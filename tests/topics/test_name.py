from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.errors import InvalidTopicName
from tokenmq.topics.name import check_name


def test_vectors_valid_names_pass(topic_vectors: dict[str, Any]) -> None:
    for name in topic_vectors["names"]["valid"]:
        check_name(name)


def test_vectors_invalid_names_are_refused(topic_vectors: dict[str, Any]) -> None:
    for name in topic_vectors["names"]["invalid"]:
        with pytest.raises(InvalidTopicName):
            check_name(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is empty"),
        ("a/#", "a wildcard in a name"),
        ("a+b", "a wildcard in a name"),
        ("a\0", "a control character, NUL or a surrogate"),
        ("a/b/c", "3 levels, at most 2 are allowed"),
        ("éééééé", "12 bytes, at most 11 are allowed"),
        ("aaaaaaaaaaaa", "12 bytes, at most 11 are allowed"),
    ],
)
def test_refusal_names_the_text_and_the_reason(name: str, reason: str) -> None:
    with pytest.raises(InvalidTopicName) as caught:
        check_name(name, max_bytes=11, max_levels=2)
    assert (caught.value.value, caught.value.reason) == (name, reason)


def test_limits_are_inclusive() -> None:
    check_name("aaaaa/ééé", max_bytes=12, max_levels=2)


# [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-4.7.3-2] [MQTT311-1.5.3-2] [MQTT311-4.7.3-2], §1.5.4
@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), 0xD800, 0xDBFF, 0xDC00, 0xDFFF])
def test_q1_nul_controls_and_surrogates_are_refused_anywhere(code: int) -> None:
    for name in (chr(code), f"a{chr(code)}", f"a/{chr(code)}/b"):
        with pytest.raises(InvalidTopicName, match="control character, NUL or a surrogate"):
            check_name(name)


# [MQTT-1.5.4-3] [MQTT-4.7.3-4] [MQTT311-1.5.3-3] [MQTT311-4.7.3-4]
@pytest.mark.parametrize("name", ["\ufeffa", "é", "e\u0301", "\u00a0", "\u2028", "\U0010ffff", "\u00ad"])
def test_q2_nothing_else_is_refused_or_changed(name: str) -> None:
    check_name(name)


# [MQTT-4.7.3-3] [MQTT311-4.7.3-3]
@pytest.mark.parametrize("size", [65_535, 65_536])
def test_q16_v13_length_ends_at_65535_bytes(size: int) -> None:
    if size <= 65_535:
        check_name("x" * size)
        return
    with pytest.raises(InvalidTopicName, match="65536 bytes"):
        check_name("x" * size)


def test_v11_65535_slashes_are_refused() -> None:
    with pytest.raises(InvalidTopicName, match="65536 levels, at most 128"):
        check_name("/" * 65_535)


def test_v81_depth_ends_at_128_levels() -> None:
    check_name("/" * 127)
    with pytest.raises(InvalidTopicName, match="129 levels, at most 128"):
        check_name("/" * 128)


@given(st.text(alphabet=st.characters(), max_size=20))
def test_a_name_is_any_text_without_wildcards_and_controls(text: str) -> None:
    wanted = bool(text) and all(
        char not in "+#"
        and not (ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000)
        for char in text
    )
    try:
        check_name(text)
    except InvalidTopicName:
        assert not wanted
    else:
        assert wanted
