"""The chain: whatever is done to its rows is found, and where."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple, replace

from tokenmq.stores.audit import (
    START,
    Action,
    AuditEntry,
    AuditRow,
    Link,
    columns_of,
    entries_of,
    follow,
    hash_of,
    pseudonym,
)

COLUMNS = AuditRow.__struct_fields__
TEXTS = st.text(max_size=12)
ENTRIES = st.lists(
    st.builds(
        AuditEntry,
        at=st.integers(0, 2**40),
        action=st.sampled_from(Action),
        org_id=st.none() | TEXTS,
        actor=TEXTS | st.just("user"),
        object=TEXTS | st.just("user"),
        user_id=st.none(),
        result=TEXTS,
        address=st.none() | TEXTS,
        request_id=st.none() | TEXTS,
        details=TEXTS,
    ),
    min_size=3,
    max_size=8,
)


def chain(entries, after=START):
    rows = []
    for entry in entries:
        rows.append(AuditRow(*columns_of(entry, "p1", after)))
        after = Link(rows[-1].number, rows[-1].hash)
    return rows


def entry(**changes):
    made = AuditEntry(at=7, action=Action.ISSUE, org_id="org_a", actor="key:k", object="token:t")
    return replace(made, **changes)


def end(rows):
    return Link(rows[-1].number, rows[-1].hash)


@given(ENTRIES)
def test_n6_chain_as_it_was_written_is_whole(entries):
    rows = chain(entries)
    assert follow(START, rows) == (end(rows), None)
    assert follow(Link(rows[0].number, rows[0].hash), rows[1:]) == (end(rows), None)


OTHER = {
    int: lambda value: st.integers(0, 2**40).filter(lambda other: other != value),
    str: lambda value: (TEXTS | st.none()).filter(lambda other: other != value),
    bytes: lambda value: st.binary(min_size=32, max_size=32).filter(lambda other: other != value),
    type(None): lambda value: TEXTS,
}


@given(ENTRIES, st.sampled_from(COLUMNS), st.data())
def test_n6_another_value_in_any_column_of_any_row_is_found(entries, column, data):
    rows = chain(entries)
    at = data.draw(st.integers(0, len(rows) - 1))
    value = getattr(rows[at], column)
    rows[at] = replace(rows[at], **{column: data.draw(OTHER[type(value)](value))})
    link, broken = follow(START, rows)
    assert broken is not None
    assert link.number == at
    assert broken.number == at + 1


@given(ENTRIES, st.data())
def test_n6_row_that_was_changed_and_hashed_anew_is_found_at_the_next(entries, data):
    rows = chain(entries)
    at = data.draw(st.integers(0, len(rows) - 2))
    changed = replace(rows[at], actor=rows[at].actor + "!")
    rows[at] = replace(changed, hash=hash_of(changed))
    _, broken = follow(START, rows)
    assert broken is not None and broken.number == at + 2


@given(ENTRIES, st.data())
def test_n6_row_that_was_removed_or_put_in_or_swapped_is_found(entries, data):
    rows = chain(entries)
    at = data.draw(st.integers(0, len(rows) - 2))
    for tampered in (
        rows[:at] + rows[at + 1 :],
        [*rows[: at + 1], rows[at], *rows[at + 1 :]],
        [*rows[:at], rows[at + 1], rows[at], *rows[at + 2 :]],
    ):
        link, broken = follow(START, tampered)
        assert broken is not None
        assert link.number in (at, at + 1)


def test_hash_is_that_of_an_array_of_json():
    """Written by hand, so that others can verify what we have written."""
    (row,) = chain([entry(org_id=None, user_id=None, details='{"ttl":60}', address='ü"\n')])
    text = '[1,7,null,"key:k","issue","token:t","p1","ok","ü\\"\\n",null,"{\\"ttl\\":60}",'
    text += '"' + "00" * 32 + '"]'
    assert json.loads(text)[:2] == [1, 7]
    assert row.hash == hashlib.sha256(text.encode()).digest()
    assert astuple(row)[-2:] == (bytes(32), row.hash)


@pytest.mark.parametrize(
    ("actor", "about", "told"),
    [("user", "token:t", ("user:p1", "token:t")), ("key:k", "user", ("key:k", "user:p1"))],
)
def test_person_stands_in_a_row_by_the_pseudonym(actor, about, told):
    (row,) = chain([entry(actor=actor, object=about, user_id="ann")])
    assert (row.actor, row.object) == told
    assert "ann" not in repr(row)


def test_pseudonym_is_that_of_the_key_and_the_user():
    names = {pseudonym(key, user) for key in (b"a" * 32, b"b" * 32) for user in ("ann", "bob")}
    assert len(names) == 4
    assert all(len(name) == 32 for name in names)


def test_entries_come_from_an_entry_a_list_or_the_outcome():
    one = entry()
    assert list(entries_of(one, "x")) == [one]
    assert list(entries_of((one, one), "x")) == [one, one]
    assert list(entries_of(lambda outcome: (replace(one, result=outcome),), "x")) == [entry(result="x")]
