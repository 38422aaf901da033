"""What services say to the audit trail: by whom, from where, and the entries themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from tokenmq.access.identity import Identity
from tokenmq.stores.audit import MAX_DETAILS_BYTES, SYSTEM, USER, Action, AuditEntry
from tokenmq.tokens.jwt import PATTERN as TOKEN
from tokenmq.tokens.records import KeyRecord
from tokenmq.tokens.secret import PATTERN as KEY

__all__ = ["NO_TRACE", "SYSTEM", "USER", "Action", "AuditEntry", "Trace", "entry", "of_key", "superseded"]

_HIDDEN = "[hidden]"
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a request came from.

    Attributes:
        address: the caller's IP address; None = unknown.
        request_id: the id under which the log has it; None = it has none.
    """

    address: str | None = None
    request_id: str | None = None


NO_TRACE = Trace()


def of_key(key: KeyRecord | None) -> str:
    """Return the actor that a key is; None is the program itself."""
    return SYSTEM if key is None else f"key:{key.id}"


def entry(
    action: Action,
    about: str,
    *,
    actor: str,
    org_id: str | None,
    now: float,
    user_id: str | None = None,
    result: str = "ok",
    trace: Trace = NO_TRACE,
    **details: Any,
) -> AuditEntry:
    """Make the entry of a change.

    Args:
        action: what was done.
        about: what it was done to: a kind, a colon and an id (`token:tok_…`), or `USER`.
        actor: who did it: `of_key(key)`, `SYSTEM`, or `USER` for the person of `user_id`.
        org_id: whose trail it belongs to, too; None = the instance's alone.
        now: unix seconds.
        user_id: the person by whom or about whom it is. It stands nowhere else: what is in
            `about` and `details` can never be erased.
        result: `ok`, or the stable code of an error.
        trace: where the request came from.
        **details: JSON values; left out where they are None. No secrets, tokens, payloads: what
            looks like a key or a token is hidden. Over 1 KiB only their size is kept.
    """
    return AuditEntry(
        at=int(now),
        action=action,
        org_id=org_id,
        actor=actor,
        object=_hide(about),
        user_id=user_id,
        result=result,
        address=trace.address,
        request_id=trace.request_id,
        details=_details(details) if details else "{}",
    )


def superseded(identity: Identity, trace: Trace, now: float) -> AuditEntry:
    """Return what says to the audit trail that a superseded password has opened a connection."""
    return entry(
        Action.SUPERSEDED_RECONNECT,
        f"token:{identity.token_id}",
        actor=USER,
        org_id=identity.org_id,
        user_id=identity.user_id,
        now=now,
        trace=trace,
        shown=identity.shown_gen,
        generation=identity.gen,
    )


def _details(details: dict[str, Any]) -> str:
    encoded = _encode({name: value for name, value in details.items() if value is not None})
    if len(encoded) > MAX_DETAILS_BYTES:
        return f'{{"omitted_bytes":{len(encoded)}}}'
    return _hide(encoded.decode("utf-8"))


def _hide(text: str) -> str:
    # The cheap looks come first.
    if "ik_" in text or "sk_" in text or "rk_" in text or "pk_" in text:
        text = KEY.sub(_HIDDEN, text)
    if "eyJ" in text:
        text = TOKEN.sub(_HIDDEN, text)
    return text
