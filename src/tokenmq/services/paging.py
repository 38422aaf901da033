"""Pages of lists: the limit, and cursors that only we can read.

A cursor says where the next page begins. It carries a checksum over the list that it
belongs to, so that a damaged one, or one of another list, is refused and not guessed at.
It holds nothing secret and opens nothing: every page is cut to the caller's organization.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

import msgspec

from tokenmq.errors import InvalidRequest

Item = TypeVar("Item")
# Where an item stands in its list: a time in unix seconds, and an id.
Position = tuple[int, str]

# The wire contract.
DEFAULT_LIMIT = 50
MAX_LIMIT = 500

_CHECK_BYTES = 8
# Its id may be a client id of the longest kind (`[broker] max_client_id_bytes`), in base64url.
_MAX_ID = 1_368
_MAX_CURSOR = 2_048
_POSITION = msgspec.json.Decoder(
    tuple[
        Annotated[int, msgspec.Meta(ge=0, lt=2**53)],
        Annotated[str, msgspec.Meta(max_length=_MAX_ID, pattern="^[0-9A-Za-z_-]*\\Z")],
    ]
)


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page: its items and the cursor of the next page, None when this is the last."""

    items: Sequence[Item]
    next: str | None


def check_limit(limit: int | None) -> int:
    """Return the limit to use.

    Raises: InvalidRequest (not 1 to 500).
    """
    if limit is None:
        return DEFAULT_LIMIT
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidRequest(("limit", f"is {limit}, wanted 1 to {MAX_LIMIT}"))
    return limit


def write_cursor(listing: Sequence[str | None], position: Position) -> str:
    """Write the cursor of what comes after a position of a list.

    Args:
        listing: what list it is: its name, its owner, its filters.
        position: of the last item that was given out.
    """
    raw = msgspec.json.encode(position)
    return base64.urlsafe_b64encode(_check(listing, raw) + raw).decode("ascii").rstrip("=")


def read_cursor(listing: Sequence[str | None], cursor: str | None) -> Position | None:
    """Read a cursor; None where there is none.

    Raises: InvalidRequest for whatever is not a cursor of this list.
    """
    if cursor is None:
        return None
    try:
        if len(cursor) > _MAX_CURSOR:
            raise ValueError("too long")
        whole = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        raw = whole[_CHECK_BYTES:]
        position = _POSITION.decode(raw)
        if write_cursor(listing, position) != cursor:
            raise ValueError("of another list")
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise InvalidRequest(("cursor", "is not a cursor of this list")) from None
    return position


def page_of(
    found: Sequence[Item], limit: int, listing: Sequence[str | None], position: Callable[[Item], Position]
) -> Page[Item]:
    """Make a page of items that were looked for with `limit` + 1."""
    items = found[:limit]
    more = len(found) > limit
    return Page(items, write_cursor(listing, position(items[-1])) if more else None)


def _check(listing: Sequence[str | None], raw: bytes) -> bytes:
    return hashlib.sha256(msgspec.json.encode(listing) + b"\n" + raw).digest()[:_CHECK_BYTES]
