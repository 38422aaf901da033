"""A family's whole life: founded, refreshed, exchanged, lapsed, over, as pure functions.

Theory of operation. A family is one record: the claims of its newest password (generation
`n`), when that took the place of the one before, and who has shown what. Its state is the
first that fits of

    revoked      somebody ended it
    over         the newest password expired longer ago than the grace, or the family's
                 absolute end has come
    replaced     a later family took its place
    lapsed       the newest password has expired
    living       none of these

Whoever shows a password to be refreshed holds one generation `g` of it, expired or not:

    g = n        a new generation is made (`ROTATE`)
    g = n - 1    while n was never shown, and for 30 s at least: the answer was lost, or two
                 timers went off. The same n again (`REPEAT`); where that could not be used
                 any more it is minted anew, still generation n (`REMINT`)
    else         somebody else has used a password of this family (`REUSE`)

That is counted of a lapsed or living family only. An exchange judges likewise, but what is
made is a child family, and of n - 1 nothing is repeated.

Stored are claims and ids, never the text of a token. Whoever is owed the same token
again gets one with the same claims, signed anew.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, replace

from tokenmq.access.identity import Renewal
from tokenmq.limits import MIN_REMAINING_SECONDS
from tokenmq.tokens.claims import Claims, audience
from tokenmq.tokens.minting import MintRequest, subject_of
from tokenmq.tokens.records import FamilyRecord, OrganizationSettings

# The wire contract: for so long the password before the newest may be shown again at least.
REPEAT_SECONDS = 30
# The wire contract: client ids of a family that are remembered.
MAX_CLIENTS = 16


class FamilyState(enum.Enum):
    """The state of a family, the first that fits."""

    REVOKED = "revoked"
    OVER = "over"
    REPLACED = "replaced"
    LAPSED = "lapsed"
    LIVING = "living"


class Verdict(enum.Enum):
    """What comes of a password that is shown to be refreshed or exchanged."""

    REVOKED = "revoked"
    OVER = "over"
    REPLACED = "replaced"
    NOT_RENEWABLE = "not renewable"
    EXPIRED = "expired"
    REUSE = "reuse"
    REPEAT = "repeat"
    REMINT = "remint"
    ROTATE = "rotate"
    CHILD = "child"


_REFUSED = {
    FamilyState.REVOKED: Verdict.REVOKED,
    FamilyState.OVER: Verdict.OVER,
    FamilyState.REPLACED: Verdict.REPLACED,
}


@dataclass(frozen=True, slots=True)
class FamilyUsage:
    """What was seen of a family and may not be stored yet; the attributes as in its record."""

    token_id: str
    presented: int
    connected: int | None
    clients: tuple[tuple[str, int | None], ...]


def found(
    claims: Claims, request: MintRequest, *, key_id: str, kid: str, settings: OrganizationSettings
) -> FamilyRecord:
    """Make the record of a new family out of its first claims and what was asked.

    Args:
        claims: as `minting.mint` gave them for `request`.
        request: as asked.
        key_id: the key that makes it.
        kid: the signing key that signs its first password.
        settings: the organization's; they set the absolute end.
    """
    _, user_email = subject_of(request)
    return FamilyRecord(
        token_id=claims.fam,
        org_id=claims.org,
        user_id=claims.sub,
        user_email=user_email,
        key_id=key_id,
        integration_id=request.integration_id,
        client_id=claims.client_id,
        renewable=request.renewable,
        grants=claims.grants,
        metadata=request.metadata,
        first_issued_at=claims.iat,
        ttl_seconds=claims.exp - claims.iat,
        gen=claims.gen,
        jti=claims.jti,
        kid=kid,
        issued_at=claims.iat,
        expires_at=claims.exp,
        ends_at=claims.iat + settings.family_max_seconds,
        attrs=claims.attrs,
    )


def claims_of(record: FamilyRecord, *, issuer: str) -> Claims:
    """Return the claims of a family's newest password, as they were signed."""
    return Claims(
        iss=issuer,
        aud=audience(record.org_id),
        sub=record.user_id,
        org=record.org_id,
        iat=record.issued_at,
        nbf=record.issued_at,
        exp=record.expires_at,
        jti=record.jti,
        fam=record.token_id,
        gen=record.gen,
        grants=record.grants,
        client_id=record.client_id,
        attrs=None if record.attrs is None else dict(record.attrs),
    )


def renewal_of(record: FamilyRecord) -> Renewal:
    """Return a family's newest password as its connections see it."""
    return Renewal(
        jti=record.jti,
        gen=record.gen,
        grants=record.grants,
        issued_at=record.issued_at,
        expires_at=record.expires_at,
        attrs=None if record.attrs is None else dict(record.attrs),
    )


def is_extendable(record: FamilyRecord) -> bool:
    """Tell whether a refresh could give the family a later expiry."""
    return record.renewable and record.expires_at < record.ends_at


def state_of(record: FamilyRecord, settings: OrganizationSettings, now: float) -> FamilyState:
    """Return the state of a family at `now`, unix seconds."""
    if record.revoked_at is not None:
        return FamilyState.REVOKED
    if now >= record.ends_at or now - record.expires_at > settings.refresh_grace_seconds:
        return FamilyState.OVER
    if record.replaced_at is not None:
        return FamilyState.REPLACED
    return FamilyState.LIVING if now < record.expires_at else FamilyState.LAPSED


def is_repeatable(gen: int, superseded_at: int | None, presented: int, now: float) -> bool:
    """Tell whether the password before the newest, of generation `gen`, may still be shown.

    Args:
        gen: the newest generation.
        superseded_at: when it took the place of the one before.
        presented: the newest generation that was shown.
        now: unix seconds.
    """
    return superseded_at is not None and (presented < gen or now < superseded_at + REPEAT_SECONDS)


def judge_refresh(
    gen: int, record: FamilyRecord, *, settings: OrganizationSettings, now: float, signable: bool
) -> Verdict:
    """Say what comes of a genuine password that is shown to be refreshed.

    Args:
        gen: its generation; whether it has expired makes no difference.
        record: its family.
        settings: the organization's.
        now: unix seconds.
        signable: the key that signed the newest password still signs the same again.
    """
    state = state_of(record, settings, now)
    if state in _REFUSED:
        return _REFUSED[state]
    repeats = gen == record.gen - 1 and _repeats(record, now)
    if gen != record.gen and not repeats:
        return Verdict.REUSE
    if not record.renewable:
        return Verdict.NOT_RENEWABLE if state is FamilyState.LIVING else Verdict.OVER
    if repeats and signable and record.expires_at - now >= MIN_REMAINING_SECONDS:
        return Verdict.REPEAT
    if _next_expiry(record, now) - now < MIN_REMAINING_SECONDS:
        return Verdict.OVER
    return Verdict.REMINT if repeats else Verdict.ROTATE


def judge_exchange(
    gen: int, record: FamilyRecord, *, settings: OrganizationSettings, now: float, expired: bool
) -> Verdict:
    """Say what comes of a genuine password that is shown to be exchanged for a child family.

    Args:
        gen: its generation.
        record: its family.
        settings: the organization's.
        now: unix seconds.
        expired: its own life is over.
    """
    state = state_of(record, settings, now)
    if state in _REFUSED:
        return _REFUSED[state]
    if gen != record.gen - 1 or not _repeats(record, now):
        if gen != record.gen:
            return Verdict.REUSE
        if expired:
            return Verdict.EXPIRED
    if _first_expiry(record, now) - now < MIN_REMAINING_SECONDS:
        return Verdict.OVER
    return Verdict.CHILD


def used(record: FamilyRecord, usage: FamilyUsage | None) -> FamilyRecord:
    """Return a record with what was seen of its family since it was stored."""
    if usage is None:
        return record
    connected = [gen for gen in (record.connected, usage.connected) if gen is not None]
    return replace(
        record,
        presented=max(record.presented, usage.presented),
        connected=max(connected, default=None),
        clients=usage.clients or record.clients,
    )


def renewed(record: FamilyRecord, verdict: Verdict, *, jti: str, kid: str, now: float) -> FamilyRecord:
    """Return a family with its next password (`ROTATE`), or its newest one minted anew (`REMINT`).

    Args:
        jti: names the password.
        kid: the signing key that signs it.
        now: unix seconds; its whole part becomes iat and nbf.
    """
    rotates = verdict is Verdict.ROTATE
    return replace(
        record,
        gen=record.gen + rotates,
        jti=jti,
        kid=kid,
        issued_at=int(now),
        expires_at=_next_expiry(record, now),
        # Rounded up: the time in which the one before may be shown again is never short.
        superseded_at=math.ceil(now) if rotates else record.superseded_at,
        presented=max(record.presented, record.gen) if rotates else record.presented,
    )


def child_of(record: FamilyRecord, *, token_id: str, jti: str, kid: str, now: float) -> FamilyRecord:
    """Return the family that a password of `record` is exchanged for.

    Same user, client id, key, integration, grants, life and absolute end; of a family that
    is not renewable, its expiry is the end. Arguments as for `renewed`.
    """
    return FamilyRecord(
        token_id=token_id,
        org_id=record.org_id,
        user_id=record.user_id,
        user_email=record.user_email,
        key_id=record.key_id,
        integration_id=record.integration_id,
        client_id=record.client_id,
        renewable=record.renewable,
        grants=record.grants,
        metadata=record.metadata,
        first_issued_at=int(now),
        ttl_seconds=record.ttl_seconds,
        gen=0,
        jti=jti,
        kid=kid,
        issued_at=int(now),
        expires_at=_first_expiry(record, now),
        ends_at=_child_end(record),
        parent_id=root_of(record),
        provider_id=record.provider_id,
        attrs=record.attrs,
    )


def root_of(record: FamilyRecord) -> str:
    """Return the id of the family that a child of this one belongs to."""
    return record.token_id if record.parent_id is None else record.parent_id


def _repeats(record: FamilyRecord, now: float) -> bool:
    return is_repeatable(record.gen, record.superseded_at, record.presented, now)


def _next_expiry(record: FamilyRecord, now: float) -> int:
    return min(int(now) + record.ttl_seconds, record.ends_at)


def _first_expiry(record: FamilyRecord, now: float) -> int:
    return min(int(now) + record.ttl_seconds, _child_end(record))


def _child_end(record: FamilyRecord) -> int:
    return record.ends_at if record.renewable else min(record.ends_at, record.expires_at)
