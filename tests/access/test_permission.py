from __future__ import annotations

import pytest

from tokenmq.access.permission import Permission


def test_permissions_are_the_four_of_the_wire_contract() -> None:
    assert [str(each) for each in Permission] == ["publish", "subscribe", "presence", "history"]


@pytest.mark.parametrize("text", ["", "*", "Publish", "publish ", "admin", "PUBLISH"])
def test_any_other_spelling_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not a valid Permission"):
        Permission(text)
