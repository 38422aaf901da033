"""What people read of a wrong value: the good ones, and words of JSON."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import UNSET, Meta, UnsetType

from tokenmq.access.permission import Permission
from tokenmq.services import wording


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    permissions: Annotated[list[Permission], Meta(min_length=1)]


class Sample(msgspec.Struct):
    text: Annotated[str, Meta(min_length=1, max_length=3)] | UnsetType = UNSET
    count: Annotated[int, Meta(ge=2, le=9)] | UnsetType = UNSET
    share: float | UnsetType = UNSET
    flag: bool | UnsetType = UNSET
    kind: Literal["sk", "rk"] | UnsetType = UNSET
    inner: Annotated[list[Inner], Meta(min_length=2, max_length=2)] | UnsetType = UNSET
    trees: tuple[Literal["a", "b"], ...] | UnsetType = UNSET
    any_: dict[str, Any] | UnsetType = UNSET
    at: Annotated[datetime, Meta(tz=True, description="a time")] | UnsetType | None = UNSET


GOOD = {"permissions": ["publish"]}
PERMISSIONS = "must be one of publish, subscribe, presence, history"


@pytest.mark.parametrize(
    ("field", "value", "path", "words"),
    [
        ("text", 5, "", "must be a string"),
        ("text", "", "", "must not be empty"),
        ("text", "abcd", "", "must have at most 3 characters"),
        ("count", "5", "", "must be an integer"),
        ("count", 5.5, "", "must be an integer"),
        ("count", True, "", "must be an integer"),
        ("count", 1, "", "must be at least 2"),
        ("count", 10**40, "", "must be at most 9"),
        ("share", "x", "", "must be a number"),
        ("flag", 1, "", "must be true or false"),
        ("kind", "ik", "", "must be one of rk, sk"),
        ("kind", 5, "", "must be one of rk, sk"),
        ("inner", {}, "", "must be a list"),
        ("inner", [GOOD], "", "must have at least 2 elements"),
        ("inner", [GOOD] * 3, "", "must have at most 2 elements"),
        ("inner", [5, 5], "[0]", "must be an object"),
        ("inner", [GOOD, {}], "[1]", "must have the field permissions"),
        ("inner", [GOOD, {"permissions": ["x"]}], "[1].permissions[0]", PERMISSIONS),
        ("trees", ["a", "c"], "[1]", "must be one of a, b"),
        ("any_", [], "", "must be an object"),
        ("at", "yesterday", "", "must be an RFC 3339 time"),
        ("at", "2026-11-24T12:00:00", "", "must be an RFC 3339 time with a timezone component"),
        ("at", 5, "", "must be an RFC 3339 time or null"),
    ],
)
def test_wrong_value_is_told_in_words_of_json(field, value, path, words):
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert({field: value}, Sample)
    assert wording.told(str(refused.value), Sample) == (f".{field}{path}", words)
    assert not re.search(r"`|\b(?:str|int|float|bool|array|datetime)\b", words)


def test_what_has_no_words_of_ours_stays():
    assert wording.told("Object contains unknown field `x` - at `$[...].y`", dict) == (
        "[].y",
        "object contains unknown field `x`",
    )
