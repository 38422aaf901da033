"""Bytes to values: what is refused, and that every wrong field is named."""

from __future__ import annotations

import json
import math
from typing import Annotated

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tokenmq.api.parsing import MAX_DEPTH, MAX_FORM_FIELDS, fill, parse_form, parse_json
from tokenmq.errors import InvalidRequest


def nested(levels: int, inner: bytes = b"1") -> bytes:
    return b'{"a":' * levels + inner + b"}" * levels


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"a":1,}', "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b'{"a":1} {}', "not JSON"),
        (b'{"a":NaN}', "not JSON"),
        (b'{"a":-Infinity}', "not JSON"),
        (b'{"a":1e999}', "not JSON"),
        (b'{"a":"\\ud800"}', "not JSON"),
        (b'{"a":"\x01"}', "not JSON"),
        (b'\xef\xbb\xbf{"a":1}', "not JSON"),
        (b'{"a":"\xff"}', "not UTF-8"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
        (b'{"\xc0\xaf":1}', "not UTF-8"),
        (b"null", "not a JSON object but null"),
        (b"[]", "not a JSON object but a list"),
        (b'"{}"', "not a JSON object but a text"),
        (b"1", "not a JSON object but a number"),
        (b"true", "not a JSON object but a boolean"),
        (b'{"a":1,"a":1}', "a: given twice"),
        (b'{"a":1,"\\u0061":2}', "a: given twice"),
        (b'{"m":{"b":1,"c":2,"b":3}}', "b: given twice"),
        (b'{"m":[{"b":1,"b":1}]}', "b: given twice"),
        (b'{"a":"x\\u0000"}', "U+0000"),
        (b'{"a\\u0000":1}', "U+0000"),
        (b'{"m":{"b":["\\u0000"]}}', "U+0000"),
        (nested(MAX_DEPTH + 1), "nested deeper"),
        (b'{"a":' + b"[" * 16 + b"]" * 16 + b"}", "nested deeper"),
        (b"[" * 60_000, "nested deeper"),
        (b'{"a":' * 10_000, "nested deeper"),
    ],
)
def test_json_that_is_not_strictly_one_object_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_json(body)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("body", "tree"),
    [
        (b"{}", {}),
        (b' {"a" : [1, 2.5, null, true, "\\u00e9"]} ', {"a": [1, 2.5, None, True, "é"]}),
        (b'{"a":{"b":1},"c":{"b":1}}', {"a": {"b": 1}, "c": {"b": 1}}),
        (b'{"a":"\\\\u0000"}', {"a": "\\u0000"}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "😀"}),
        (b'{"a":"[[[[[[[[[[[[[[[[[[{{{"}', {"a": "[" * 18 + "{{{"}),
    ],
)
def test_json_objects_are_read(body: bytes, tree: object) -> None:
    assert parse_json(body) == tree


def test_depth_of_exactly_the_maximum_is_allowed() -> None:
    parse_json(nested(MAX_DEPTH))


def allowed_by_the_standard_library(body: bytes) -> bool:
    """Say what parse_json should, by other means."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError
        return dict(pairs)

    def finite(text: str) -> float:
        if not math.isfinite(float(text)):
            raise ValueError
        return float(text)

    def never(text: str) -> float:
        raise ValueError

    def depth(value: object) -> int:
        if isinstance(value, dict):
            return 1 + max(map(depth, value.values()), default=0)
        return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0

    try:
        text = body.decode("utf-8")
        tree = json.loads(text, object_pairs_hook=unique, parse_float=finite, parse_constant=never)
        written = json.dumps(tree, ensure_ascii=False).encode("utf-8").decode()
    except (ValueError, UnicodeError):
        return False
    return (
        isinstance(tree, dict) and depth(tree) <= MAX_DEPTH and "\\u0000" not in written.replace("\\\\", "")
    )


PIECES = st.sampled_from(
    [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        '"a"',
        '"b"',
        '"\\u0061"',
        '"\\u0000"',
        '"\\\\u0000"',
        "1",
        "null",
        "NaN",
        " ",
        '{"a":1}',
        '"a:b"',
    ]
)


@given(st.lists(PIECES, max_size=12).map("".join).map(str.encode))
@example(b'{"a":{"a":1}}')
@example(b'{"a":1,"a" :2}')
@example(b'{"a:b":1,"c":"d:e"}')
@example(b'{"a":1,"a":{}}')
def test_json_is_refused_exactly_where_another_strict_reader_refuses(body: bytes) -> None:
    try:
        tree = parse_json(body)
    except InvalidRequest:
        assert not allowed_by_the_standard_library(body)
    else:
        assert allowed_by_the_standard_library(body)
        assert tree == json.loads(body)


@given(st.binary(max_size=64))
def test_any_bytes_end_in_a_value_or_in_invalid_request(body: bytes) -> None:
    for parse in (parse_json, parse_form):
        try:
            assert isinstance(parse(body), dict)
        except InvalidRequest:
            continue


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a=1&a=2", "a: given twice"),
        (b"a=1&b=2&a=1", "a: given twice"),
        (b"a=%ff", "percent-encoded UTF-8"),
        (b"a=\xc3\xa9", "percent-encoded UTF-8"),
        (b"a=%00", "U+0000"),
        (b"%00=a", "U+0000"),
        (b"&".join(b"a%d=1" % n for n in range(MAX_FORM_FIELDS + 1)), "more than"),
        (b"&" * 60_000, "more than"),
    ],
    ids=range(8),
)
def test_v108_forms_and_queries_that_are_broken_or_endless_are_refused(text: bytes, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_form(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (b"", {}),
        (b"a=1&b=x+y%2Fz", {"a": "1", "b": "x y/z"}),
        (b"a", {"a": ""}),
        (b"a=%E2%82%AC", {"a": "€"}),
    ],
)
def test_forms_are_read(text: bytes, fields: object) -> None:
    assert parse_form(text) == fields


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    topics: Annotated[list[str], msgspec.Meta(min_length=1)]


class Sample(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(max_length=3)]
    ttl: Annotated[int, msgspec.Meta(ge=60, le=90)] | msgspec.UnsetType = msgspec.UNSET
    inner: list[Inner] | msgspec.UnsetType = msgspec.UNSET
    flag: bool = False


@pytest.mark.parametrize(
    ("tree", "problems"),
    [
        ({}, [("name", "required")]),
        ({"name": 1}, [("name", "must be a string")]),
        (
            {"name": "abcd", "ttl": 5},
            [("name", "must have at most 3 characters"), ("ttl", "must be at least 60")],
        ),
        ({"name": "a", "ttl": True}, [("ttl", "must be an integer")]),
        ({"name": "a", "ttl": 60.5}, [("ttl", "must be an integer")]),
        ({"name": "a", "ttl": 10**30}, [("ttl", "must be at most 90")]),
        ({"name": "a", "ttl": None}, [("ttl", "`null` means nothing; leave the field out for its default")]),
        (
            {"name": "a", "inner": [{"topics": []}]},
            [("inner[0].topics", "must not be empty")],
        ),
        ({"name": "a", "inner": [{"topics": [1]}]}, [("inner[0].topics[0]", "must be a string")]),
        ({"name": "a", "inner": [{"topics": ["x"], "to": 1}]}, [("inner[0].to", "unknown field")]),
        (
            {"nam": "a", "zzz": 1},
            [
                ("nam", "unknown field; did you mean name?"),
                ("zzz", "unknown field"),
                ("name", "required"),
            ],
        ),
        ({"name": "a", "x" * 100: 1}, [("x" * 61 + "...", "unknown field")]),
    ],
    ids=str,
)
def test_every_wrong_field_is_named(tree: dict[str, object], problems: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        fill(tree, Sample)
    assert list(caught.value.problems) == problems


def test_empty_list_is_refused_in_words() -> None:
    with pytest.raises(InvalidRequest) as caught:
        fill({"topics": []}, Inner)
    assert caught.value.problems == (
        ("topics", "an empty list means nothing; leave the field out for its default"),
    )


def test_numbers_and_booleans_may_be_text_only_in_a_query() -> None:
    assert fill({"name": "a", "ttl": "61", "flag": "true"}, Sample, lax=True) == Sample("a", 61, flag=True)
    with pytest.raises(InvalidRequest):
        fill({"name": "a", "ttl": "61"}, Sample)
