from __future__ import annotations

from collections.abc import Callable

import pytest

from tokenmq.access.identity import Identity

Make = Callable[..., Identity]


def test_a_user_owns_its_sessions_by_user_id(make_identity: Make) -> None:
    identity = make_identity()
    assert (identity.is_server, identity.owner) == (False, ("user", "user-123"))


def test_a_server_connection_is_owned_by_its_key(make_identity: Make) -> None:
    identity = make_identity(user_id="server", key_id="key1", token_id=None, jti=None)
    assert (identity.is_server, identity.owner) == (True, ("key", "key1"))


def test_a_user_named_like_a_key_owns_nothing_of_the_key(make_identity: Make) -> None:
    assert make_identity(user_id="key1").owner != make_identity(user_id="server", key_id="key1").owner


@pytest.mark.parametrize(
    ("pattern", "client_id", "admits", "names"),
    [
        (None, "anything", True, False),
        (None, "", True, False),
        ("phone", "phone", True, True),
        ("phone", "phone2", False, False),
        ("phone", "Phone", False, False),
        ("phone", "", False, False),
        ("phone*", "phone", True, False),
        ("phone*", "phone2", True, False),
        ("phone*", "phone*", True, False),
        ("phone*", "phon", False, False),
        ("*", "anything", True, False),
        ("*", "", True, False),
        ("a*b", "a*b", True, True),
        ("a*b", "axb", False, False),
        ("a.c", "abc", False, False),
        ("", "", True, True),
        ("", "a", False, False),
    ],
)
def test_client_ids(
    make_identity: Make, pattern: str | None, client_id: str, *, admits: bool, names: bool
) -> None:
    identity = make_identity(client_id=pattern)
    assert (identity.admits_client_id(client_id), identity.names_client_id(client_id)) == (admits, names)


def test_an_identity_does_not_change(make_identity: Make) -> None:
    with pytest.raises(AttributeError):
        make_identity().user_id = "other"  # type: ignore[misc]
