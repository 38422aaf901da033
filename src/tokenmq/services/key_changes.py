"""What a key becomes when it is rotated, and what the audit trail says of changes to keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tokenmq.errors import Conflict, InvalidRequest
from tokenmq.services.auditing import NO_TRACE, Action, AuditEntry, Trace, entry
from tokenmq.tokens.claims import MAX_TIME
from tokenmq.tokens.records import EarlierSecret, KeyRecord
from tokenmq.tokens.secret import NewKey

# The wire contract: how long both secrets work, in seconds.
DEFAULT_GRACE_SECONDS = 259_200
MAX_GRACE_SECONDS = 30 * 86_400
# Secrets of one key that work beside its newest: who rotates more often than that within
# a grace has lost count of them.
MAX_EARLIER = 4


@dataclass(frozen=True, slots=True)
class Rotation:
    """A rotation as asked for.

    Attributes:
        grace_seconds: how long the secrets that there are go on working, at most.
        expires_at: the key's new end, unix seconds; None = never.
        expires_at_given: False = the request said nothing about it: as long a life as it had.
    """

    grace_seconds: int = DEFAULT_GRACE_SECONDS
    expires_at: int | None = None
    expires_at_given: bool = False


def rotated(record: KeyRecord, new: NewKey, rotation: Rotation, *, now: float) -> KeyRecord:
    """Return a key under a new secret.

    Each earlier secret works until the end that it was given, and no longer than the grace of
    this rotation. None outlives the end that the key had.

    Raises: InvalidRequest (names each field), Conflict (it has expired, or too many secrets work).
    """
    problems = [*_problems(rotation, now)]
    if problems:
        raise InvalidRequest(*problems)
    moment = int(now)
    if record.expires_at is not None and moment >= record.expires_at:
        raise Conflict("the key has expired: make a new one")
    ends = [moment + rotation.grace_seconds]
    if record.expires_at is not None:
        ends.append(record.expires_at)
    held = (EarlierSecret(record.digest, min(ends)), *record.earlier)
    earlier = tuple(
        EarlierSecret(one.digest, min(one.until, *ends)) for one in held if min(one.until, *ends) > moment
    )
    if len(earlier) > MAX_EARLIER:
        raise Conflict(f"{MAX_EARLIER} earlier secrets work already; grace_seconds 0 ends them")
    return replace(
        record,
        digest=new.digest,
        hint=new.hint,
        expires_at=_end(record, rotation, moment),
        rotated_at=moment,
        earlier=earlier,
    )


def created_entry(record: KeyRecord, *, actor: str, trace: Trace) -> AuditEntry:
    """Return what is said of a key that was made."""
    return entry(
        Action.KEY_CREATE,
        f"key:{record.id}",
        actor=actor,
        org_id=record.org_id,
        now=record.created_at,
        trace=trace,
        kind=record.kind.value,
        name=record.name,
        scopes=record.scopes or None,
        expires_at=record.expires_at,
    )


def deleted_entry(
    key_id: str,
    *,
    actor: str,
    org_id: str | None,
    now: float,
    trace: Trace = NO_TRACE,
    revoked: int | None = None,
) -> AuditEntry:
    """Return what is said of a key that was deleted, and with it so many families revoked."""
    about = f"key:{key_id}"
    return entry(Action.KEY_DELETE, about, actor=actor, org_id=org_id, now=now, trace=trace, revoked=revoked)


def rotated_entry(record: KeyRecord, *, actor: str, trace: Trace) -> AuditEntry:
    """Return what is said of a key that was rotated."""
    return entry(
        Action.KEY_ROTATE,
        f"key:{record.id}",
        actor=actor,
        org_id=record.org_id,
        now=record.rotated_at or record.created_at,
        trace=trace,
        expires_at=record.expires_at,
        earlier_until=max((one.until for one in record.earlier), default=None),
    )


def _problems(rotation: Rotation, now: float) -> Iterator[tuple[str, str]]:
    if not 0 <= rotation.grace_seconds <= MAX_GRACE_SECONDS:
        yield "grace_seconds", f"is {rotation.grace_seconds}, wanted 0 to {MAX_GRACE_SECONDS}"
    if rotation.expires_at is not None and not now < rotation.expires_at < MAX_TIME:
        yield "expires_at", "wanted a time in the future and before 2100"


def _end(record: KeyRecord, rotation: Rotation, now: int) -> int | None:
    if rotation.expires_at_given:
        return rotation.expires_at
    if record.expires_at is None:
        return None
    began = record.created_at if record.rotated_at is None else record.rotated_at
    return min(now + record.expires_at - began, MAX_TIME - 1)
