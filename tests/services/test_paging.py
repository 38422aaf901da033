"""Cursors that only we can read."""

import base64
import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.errors import InvalidRequest
from tokenmq.services.paging import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    Page,
    check_limit,
    page_of,
    read_cursor,
    write_cursor,
)

LISTING = ("tokens", "org_abcdefghijkl", None)


@given(st.integers(0, 2**53 - 1), st.from_regex(r"[0-9A-Za-z_]{0,64}", fullmatch=True))
def test_what_was_written_is_read(at, name):
    assert read_cursor(LISTING, write_cursor(LISTING, (at, name))) == (at, name)


@given(st.text(max_size=300))
def test_v49_any_other_text_is_refused_in_the_declared_way(text):
    with pytest.raises(InvalidRequest):
        read_cursor(LISTING, text)


@pytest.mark.parametrize(
    "position",
    [
        [2**70, "a"],
        [-1, "a"],
        [1.5, "a"],
        [1, "a'b"],
        [1, "a\n"],
        [1, "x" * 1_369],
        [1],
        [1, "a", 2],
        {"a": 1},
    ],
    ids=lambda position: repr(position)[:40],
)
def test_v49_forged_position_is_refused_although_its_checksum_is_right(position):
    raw = msgspec.json.encode(position)
    check = hashlib.sha256(msgspec.json.encode(LISTING) + b"\n" + raw).digest()[:8]
    cursor = base64.urlsafe_b64encode(check + raw).decode().rstrip("=")
    with pytest.raises(InvalidRequest):
        read_cursor(LISTING, cursor)


def test_cursor_of_another_list_is_refused():
    cursor = write_cursor(LISTING, (1, "a"))
    for other in (("tokens", "org_abcdefghijkl", "ann"), ("tokens", "org_x", None), ("keys",)):
        with pytest.raises(InvalidRequest):
            read_cursor(other, cursor)


def test_no_cursor_is_the_beginning():
    assert read_cursor(LISTING, None) is None


@pytest.mark.parametrize(("limit", "size"), [(None, DEFAULT_LIMIT), (1, 1), (MAX_LIMIT, MAX_LIMIT)])
def test_limit_within_bounds_is_taken(limit, size):
    assert check_limit(limit) == size


@pytest.mark.parametrize("limit", [0, -1, MAX_LIMIT + 1, 2**64])
def test_v49_limit_out_of_bounds_is_refused(limit):
    with pytest.raises(InvalidRequest):
        check_limit(limit)


def test_page_has_a_next_only_where_there_is_more():
    def position(item):
        return item, "a"

    assert page_of([1, 2], 2, LISTING, position) == Page([1, 2], None)
    assert page_of([], 2, LISTING, position) == Page([], None)
    page = page_of([1, 2, 3], 2, LISTING, position)
    assert page.items == [1, 2]
    assert read_cursor(LISTING, page.next) == (2, "a")
