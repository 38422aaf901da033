"""What a key may be, and that none is wider than its maker's."""

import pytest

from tokenmq.access.grants import Grant
from tokenmq.access.permission import Permission
from tokenmq.errors import Forbidden, GrantTooWide, InvalidRequest
from tokenmq.services.key_requests import CheckedKey, KeyRequest, check_request
from tokenmq.tokens.records import KeyKind, KeyRecord

NOW = 1_800_000_000


def maker(kind=KeyKind.SECRET, scopes=(), grants=()):
    return KeyRecord("abcdefgh", "org_abcdefghijkl", kind, "m", b"d", "x7m4", scopes, grants, NOW)


def check(asked_of=None, **asked):
    request = KeyRequest(**{"kind": "rk", "name": "n", **asked})
    return check_request(request, maker=asked_of or maker(), now=NOW)


def test_restricted_key_gets_its_scopes_and_merged_grants():
    checked = check(
        scopes=("mqtt", "keys", "mqtt"), permissions=("subscribe", "publish"), topics=("b", "a/{user_id}")
    )
    assert checked == CheckedKey(
        KeyKind.RESTRICTED,
        ("keys", "mqtt"),
        (Grant((Permission.PUBLISH, Permission.SUBSCRIBE), ("a/{user_id}", "b")),),
        NOW + 90 * 86_400,
    )


@pytest.mark.parametrize("kind", ["sk", "pk"])
def test_other_kinds_have_neither_scopes_nor_grants(kind):
    assert check(kind=kind) == CheckedKey(KeyKind(kind), (), (), NOW + 90 * 86_400)
    with pytest.raises(InvalidRequest) as caught:
        check(kind=kind, scopes=("keys",), permissions=(), topics=())
    assert [field for field, _ in caught.value.problems] == ["scopes", "permissions", "topics"]


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ({"kind": "ik", "name": "n"}, ["kind"]),
        ({"kind": "SK"}, ["kind"]),
        ({"kind": ""}, ["kind"]),
        ({"name": "", "scopes": ("keys",)}, ["name"]),
        ({"name": "a\nb", "scopes": ("keys",)}, ["name"]),
        ({"name": "x" * 256, "scopes": ("keys",)}, ["name"]),
        ({"scopes": None}, ["scopes"]),
        ({"scopes": ()}, ["scopes"]),
        ({"scopes": ("keys", "admin", "*")}, ["scopes[1]", "scopes[2]"]),
        ({"scopes": ("tokens:create",)}, ["permissions"]),
        ({"scopes": ("mqtt",)}, ["permissions"]),
        ({"scopes": ("keys",), "topics": ("a",)}, ["permissions"]),
        ({"scopes": ("keys",), "permissions": ("publish",)}, ["topics"]),
        ({"scopes": ("keys",), "permissions": (), "topics": ()}, ["permissions", "topics"]),
        (
            {"scopes": ("keys",), "permissions": ("read",), "topics": ("a/#/b",)},
            ["permissions[0]", "topics[0]"],
        ),
        ({"scopes": ("keys",), "permissions": ("publish",), "topics": ("{x}",)}, ["topics[0]"]),
        ({"scopes": ("keys",), "permissions": ("publish",), "topics": ("a",) * 65}, ["topics"]),
        ({"scopes": ("keys",), "expires_at": NOW, "expires_at_given": True}, ["expires_at"]),
        ({"scopes": ("keys",), "expires_at": 2**70, "expires_at_given": True}, ["expires_at"]),
    ],
)
def test_wrong_field_is_named(asked, fields):
    with pytest.raises(InvalidRequest) as caught:
        check(**asked)
    assert [field for field, _ in caught.value.problems] == fields


def restricted():
    return maker(
        KeyKind.RESTRICTED, ("keys", "mqtt"), (Grant((Permission.PUBLISH, Permission.HISTORY), ("a/+",)),)
    )


def test_restricted_maker_gives_what_it_has():
    check(restricted(), scopes=("mqtt",), permissions=("publish",), topics=("a/b",))
    check(restricted(), kind="pk")


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"kind": "sk"}, Forbidden),
        ({"scopes": ("keys", "tokens:read")}, Forbidden),
        ({"scopes": ("mqtt",), "permissions": ("publish",), "topics": ("a/#",)}, GrantTooWide),
        ({"scopes": ("mqtt",), "permissions": ("subscribe",), "topics": ("a/b",)}, GrantTooWide),
    ],
)
def test_nobody_makes_a_key_wider_than_their_own(asked, error):
    with pytest.raises(error):
        check(restricted(), **asked)
