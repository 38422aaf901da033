"""What a request to revoke may name, and the families that it means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tokenmq.errors import InvalidRequest
from tokenmq.limits import MAX_STRING_BYTES, MAX_USER_ID_BYTES
from tokenmq.services.auditing import USER, Action, AuditEntry, Trace, entry
from tokenmq.services.texts import check_text
from tokenmq.stores.base import Selection

# Kept with each family and told in a Reason String.
MAX_REASON_BYTES = 255
_MAX_ID_BYTES = 64


@dataclass(frozen=True, slots=True)
class RevokeRequest:
    """Which families to revoke: exactly one of the first five.

    Attributes:
        token_id, user_id, client_id, key_id: as in the request; None = not said.
        all: every family of the organization.
        issued_before: only families first issued before this, unix seconds.
        reason: kept with the family, told to the connections that end; at most 255 bytes.
        keep_retained: let the retained messages that they left stay.
    """

    token_id: str | None = None
    user_id: str | None = None
    client_id: str | None = None
    key_id: str | None = None
    all: bool = False
    issued_before: float | None = None
    reason: str | None = None
    keep_retained: bool = False


def check_revocation(request: RevokeRequest) -> None:
    """Refuse a request that does not say exactly one thing, or says it wrong.

    Raises: InvalidRequest.
    """
    named = [
        ("token_id", request.token_id, _MAX_ID_BYTES),
        ("user_id", request.user_id, MAX_USER_ID_BYTES),
        ("client_id", request.client_id, MAX_STRING_BYTES),
        ("key_id", request.key_id, _MAX_ID_BYTES),
    ]
    criteria = sum(value is not None for _, value, _ in named) + request.all
    if criteria != 1:
        raise InvalidRequest(
            ("", f"wanted exactly one of token_id, user_id, client_id, key_id, all; got {criteria}")
        )
    for field, value, max_bytes in (*named, ("reason", request.reason, MAX_REASON_BYTES)):
        if value is not None:
            check_text(field, value, max_bytes=max_bytes)


def selection_of(
    request: RevokeRequest, org_id: str, opened_by: Callable[[str, str], str | None]
) -> Selection:
    """Return the families that a request means."""
    return Selection(
        org_id,
        token_id=request.token_id,
        user_id=request.user_id,
        client_id=request.client_id,
        key_id=request.key_id,
        all=request.all,
        opened_by=None if request.client_id is None else opened_by,
        issued_before=request.issued_before,
        keep_retained=request.keep_retained,
    )


def revocation_entry(
    selection: Selection, revoked: int, *, actor: str, now: float, trace: Trace
) -> AuditEntry:
    """Return what the audit trail says of a revocation that ended so many families."""
    before = selection.issued_before
    return entry(
        Action.REVOKE,
        _object_of(selection),
        actor=actor,
        org_id=selection.org_id,
        user_id=selection.user_id,
        now=now,
        trace=trace,
        revoked=revoked,
        issued_before=None if before is None else int(before),
        keep_retained=selection.keep_retained or None,
    )


def _object_of(selection: Selection) -> str:
    if selection.user_id is not None:
        return USER
    if selection.token_id is not None:
        return f"token:{selection.token_id}"
    if selection.client_id is not None:
        return f"client:{selection.client_id}"
    if selection.key_id is not None:
        return f"key:{selection.key_id}"
    return f"organization:{selection.org_id}"
