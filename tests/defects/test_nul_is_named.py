"""A request with U+0000 is refused by the name of its field, as every other bad field is."""

from __future__ import annotations

import pytest

from tokenmq.api.parsing import parse_form, parse_json
from tokenmq.errors import InvalidRequest


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"a": 1, "user_id": "x\\u0000"}', "user_id"),
        (b'{"topics": ["a", "b\\u0000"]}', "topics[1]"),
        (b'{"grants": [{"topics": ["\\u0000"]}]}', "grants[0].topics[0]"),
        (b'{"metadata": {"a": {"b\\u0000": 1}}}', "metadata.a"),
        (b'{"x\\u0000": 1}', ""),
    ],
)
def test_in_json(body: bytes, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_json(body)
    assert [name for name, _ in refused.value.problems] == [field]


@pytest.mark.parametrize(("text", "field"), [(b"a=1&token=%00", "token"), (b"to%00ken=1", "")])
def test_in_a_form(text: bytes, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_form(text)
    assert [name for name, _ in refused.value.problems] == [field]
