"""Who a token is for: user ids, and the MQTT username that carries one.

A username is `user@org_…`: the user id percent-encoded (RFC 3986 §2.1) but for
`[A-Za-z0-9._~-]`, an `@`, the organization's id. Only that one spelling is accepted,
so that a username names exactly one user and can be compared as text.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from tokenmq.errors import BadCredentials
from tokenmq.limits import MAX_USER_ID_BYTES
from tokenmq.tokens.ids import is_org_id

# The user id of a server's own connection; no user may have it.
SERVER = "server"

# RFC 3986 §2.3, unreserved: what stands in a username as it is.
_PLAIN = re.compile(r"[A-Za-z0-9._~-]*")
# C0, DEL and C1: what Unicode calls control characters.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


def text_problem(text: str, *, max_bytes: int) -> str | None:
    """Say what is wrong with a short text; None when nothing is.

    It must have 1 to `max_bytes` bytes of UTF-8 and no NUL or control character.
    """
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        return "is not Unicode text: it has a surrogate"
    if not 1 <= size <= max_bytes:
        return f"has {size} bytes, wanted 1 to {max_bytes}"
    if _CONTROL.search(text) is not None:
        return "has a control character"
    return None


def user_problem(text: str) -> str | None:
    """Say why `text` can be no user's id (or e-mail); None when it can."""
    if text == SERVER:
        return "is reserved for the servers' own connections"
    return text_problem(text, max_bytes=MAX_USER_ID_BYTES)


def username(user_id: str, org_id: str) -> str:
    """Write the MQTT username of a user in an organization."""
    if _PLAIN.fullmatch(user_id) is None:
        # quote() leaves exactly RFC 3986's unreserved characters, and writes %XX in capitals.
        user_id = quote(user_id, safe="")
    return f"{user_id}@{org_id}"


def split_username(text: str) -> tuple[str, str]:
    """Read an MQTT username into user id and organization id.

    The user id may be `server`, which is no user's: the caller decides by the password.

    Raises: BadCredentials unless it is the one spelling that `username` gives.
    """
    encoded, _, org_id = text.rpartition("@")
    if not is_org_id(org_id):
        raise BadCredentials("username does not end in @ and an organization id")
    try:
        user_id = unquote(encoded, errors="strict")
    except UnicodeDecodeError:
        raise BadCredentials("username is not percent-encoded UTF-8") from None
    problem = text_problem(user_id, max_bytes=MAX_USER_ID_BYTES)
    if problem is not None:
        raise BadCredentials(f"user id in the username {problem}")
    if username(user_id, org_id) != text:
        raise BadCredentials("username is not spelled in the one way that is accepted")
    return user_id, org_id
