"""What the use cases of tokens take and give: values, and how they follow from records."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from tokenmq.tokens.claims import Claims
from tokenmq.tokens.family import is_extendable
from tokenmq.tokens.minting import refresh_recommended_at
from tokenmq.tokens.records import FamilyRecord, OrganizationSettings
from tokenmq.tokens.subjects import username


class TokenStatus(enum.StrEnum):
    """The state of a family as lists show it; the first that fits."""

    REVOKED = "revoked"
    EXPIRED = "expired"
    REPLACED = "replaced"
    ACTIVE = "active"


@dataclass(frozen=True, slots=True)
class Replacing:
    """Which earlier families of the same user and integration a new one replaces.

    Attributes:
        families: those without a live connection (`replace_existing`).
        sessions: all of them, and their connections end (`replace_sessions`).
    """

    families: bool = False
    sessions: bool = False


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token, ready to be answered.

    Attributes:
        text: the compact JWS.
        username: the MQTT username that goes with it.
        family: what is stored of it: ids, times, grants, user, e-mail, metadata.
        refresh_recommended_at: unix seconds, for an answer given now.
    """

    text: str = field(repr=False)
    username: str
    family: FamilyRecord
    refresh_recommended_at: int


@dataclass(frozen=True, slots=True)
class TokenView:
    """A family as lists show it; `family` holds ids, times, grants, metadata."""

    family: FamilyRecord
    status: TokenStatus


@dataclass(frozen=True, slots=True)
class Introspection:
    """A token that is good now."""

    claims: Claims
    username: str


def status_of(record: FamilyRecord, now: float) -> TokenStatus:
    """Return the state of a family; the store's lists filter by the same rule."""
    if record.revoked_at is not None:
        return TokenStatus.REVOKED
    if now >= record.expires_at:
        return TokenStatus.EXPIRED
    return TokenStatus.ACTIVE if record.replaced_at is None else TokenStatus.REPLACED


def issued(text: str, record: FamilyRecord, settings: OrganizationSettings, now: float) -> IssuedToken:
    """Make the answer about a family and the text of its newest password.

    Args:
        text: that password.
        record: the family.
        settings: the organization's.
        now: unix seconds.
    """
    return IssuedToken(
        text=text,
        username=username(record.user_id, record.org_id),
        family=record,
        refresh_recommended_at=refresh_recommended_at(
            record.issued_at,
            record.expires_at,
            now,
            extendable=is_extendable(record),
            spread_for=record.token_id if settings.refresh_spread else None,
        ),
    )
