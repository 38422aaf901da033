from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.access.grants import Grant, excess, merge
from tokenmq.access.permission import Permission

PUBLISH, SUBSCRIBE, PRESENCE, HISTORY = Permission

GRANTS = st.lists(
    st.builds(
        Grant,
        st.lists(st.sampled_from(Permission), max_size=3).map(tuple),
        st.lists(st.sampled_from(["a", "a/+", "a/#", "b", "#", "$s/#", "a/{user_id}"]), max_size=3).map(
            tuple
        ),
    ),
    max_size=4,
)


def pairs(grants: Any) -> set[tuple[Permission, str]]:
    return {
        (permission, each) for grant in grants for permission in grant.permissions for each in grant.topics
    }


def test_json_shape_is_that_of_the_wire_contract() -> None:
    grant = Grant((PUBLISH, SUBSCRIBE), ("chat/#",))
    text = b'{"permissions":["publish","subscribe"],"topics":["chat/#"]}'
    assert msgspec.json.encode(grant) == text
    assert msgspec.json.decode(text, type=Grant) == grant


@pytest.mark.parametrize(
    "text",
    [
        b'{"permissions":["publish"],"topics":["a"],"deny":true}',
        b'{"permissions":["publish"]}',
        b'{"topics":["a"]}',
        b'{"permissions":["admin"],"topics":["a"]}',
        b'{"permissions":"publish","topics":["a"]}',
        b'{"permissions":["publish"],"topics":"a"}',
        b'{"permissions":["publish"],"topics":[null]}',
        b'{"permissions":null,"topics":["a"]}',
        b"[]",
    ],
)
def test_json_of_another_shape_is_refused(text: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Grant)


# merge


def test_merge_sorts_and_joins_what_has_the_same_permissions() -> None:
    merged = merge(
        [
            Grant((SUBSCRIBE, PUBLISH), ("chat/#", "a")),
            Grant((PUBLISH,), ("a", "b")),
            Grant((PUBLISH, SUBSCRIBE, PUBLISH), ("c",)),
            Grant((HISTORY,), ("a",)),
        ]
    )
    assert merged == (
        Grant((HISTORY, PUBLISH, SUBSCRIBE), ("a",)),
        Grant((PUBLISH,), ("b",)),
        Grant((PUBLISH, SUBSCRIBE), ("c", "chat/#")),
    )


@pytest.mark.parametrize("grants", [[], [Grant((), ("a",))], [Grant((PUBLISH,), ())]])
def test_merge_of_nothing_is_nothing(grants: list[Grant]) -> None:
    assert merge(grants) == ()


@given(GRANTS, st.randoms())
def test_merge_keeps_the_pairs_and_forgets_order(grants: list[Grant], random: Any) -> None:
    merged = merge(grants)
    assert pairs(merged) == pairs(grants)
    assert merge(merged) == merged
    random.shuffle(grants)
    assert merge(grants) == merged


# excess


@pytest.mark.parametrize(
    ("inner", "outer", "wanted"),
    [
        ([Grant((PUBLISH,), ("chat/#",))], [Grant((PUBLISH,), ("chat/+",))], (PUBLISH, "chat/#")),
        ([Grant((PUBLISH,), ("chat/x",))], [Grant((PUBLISH,), ("chat/+",))], None),
        ([Grant((PUBLISH, SUBSCRIBE), ("a",))], [Grant((PUBLISH,), ("a",))], (SUBSCRIBE, "a")),
        ([Grant((PUBLISH,), ("a", "b", "c"))], [Grant((PUBLISH,), ("a",))], (PUBLISH, "b")),
        ([Grant((PUBLISH,), ("a",))], [], (PUBLISH, "a")),
        ([], [], None),
        ([Grant((PUBLISH,), ())], [], None),
        ([Grant((PUBLISH,), ("#",))], [Grant((PUBLISH,), ("+", "+/+/#"))], (PUBLISH, "#")),
        ([Grant((PUBLISH,), ("$s/a",))], [Grant((PUBLISH,), ("#", "+/#"))], (PUBLISH, "$s/a")),
        ([Grant((PUBLISH,), ("u/{user_id}/#",))], [Grant((PUBLISH,), ("u/+/#",))], None),
        ([Grant((PUBLISH,), ("{user_id}/#",))], [Grant((PUBLISH,), ("#",))], None),
        ([Grant((PUBLISH,), ("u/{user_id}",))], [Grant((PUBLISH,), ("u/{user_id}",))], None),
        ([Grant((PUBLISH,), ("u/+",))], [Grant((PUBLISH,), ("u/{user_id}",))], (PUBLISH, "u/+")),
        (
            [Grant((PUBLISH,), ("u/{client_id}",))],
            [Grant((PUBLISH,), ("u/{user_id}",))],
            (PUBLISH, "u/{client_id}"),
        ),
    ],
)
def test_excess_is_the_first_pair_outside(inner: list[Grant], outer: list[Grant], wanted: Any) -> None:
    assert excess(inner, outer) == wanted


def test_grid_excess_is_set_inclusion(grid: Any) -> None:
    for outer in grid.filters:
        have = [Grant((PUBLISH,), (outer,))]
        for inner in grid.filters:
            within = not grid.sets[inner] & ~grid.sets[outer]
            assert (excess([Grant((PUBLISH,), (inner,))], have) is None) is within, (outer, inner)


@given(GRANTS, GRANTS)
def test_grants_are_within_themselves_and_more(some: list[Grant], more: list[Grant]) -> None:
    assert excess(some, some + more) is None
    assert excess(merge(some), more + some) is None
    found = excess(some, more)
    assert found is None or found in pairs(some) - pairs(more)
