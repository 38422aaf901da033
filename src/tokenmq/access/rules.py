"""The rules of a policy as its document has them, and whom a rule is about.

    {"version": "1", "default": "deny",
     "rules": [{"user": "*", "permissions": ["subscribe"], "topics": ["news/#"], "effect": "allow"}]}

What a list of rules comes to is told by `policy`, what is wrong with a document by
`checking`. No regular expression takes part: `*` in a user is the one wildcard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import msgspec

from tokenmq.access.binding import values_of
from tokenmq.access.identity import Identity
from tokenmq.access.permission import Permission

EVERYBODY = "*"
# Enough to tell documents apart that were not made to be alike, by which nobody gains.
_REVISION_CHARACTERS = 16


class Effect(StrEnum):
    """What a rule does with what it holds for."""

    ALLOW = "allow"
    DENY = "deny"


class ClaimCondition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Users of whom an identity provider has proven a claim; JSON `{"claim": …, "equals": …}`.

    Attributes:
        claim: its name, a member of the token's `attrs`.
        equals: its value, or where the claim is a list one of its elements. Text, number
            and truth are never equal to each other; 1 and 1.0 are.
    """

    claim: str
    equals: bool | int | float | str

    def holds(self, attrs: Mapping[str, Any] | None) -> bool:
        """Tell whether claims fulfil it; one that is absent never does."""
        if attrs is None or self.claim not in attrs:
            return False
        found = attrs[self.claim]
        if isinstance(found, list):
            return any(_same(one, self.equals) for one in found)
        return _same(found, self.equals)


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One line of a policy.

    Attributes:
        user: a user's id, a pattern with `*` for any characters, or a condition on a claim.
        permissions: what it is about.
        topics: the topic filters that it holds for; variables stand for who asks.
        effect: whether it allows or denies that.
    """

    user: str | ClaimCondition
    permissions: tuple[Permission, ...]
    topics: tuple[str, ...]
    effect: Effect = Effect.ALLOW


class PolicyDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A policy as it is written, shown and stored; the first rule that matches decides."""

    version: Literal["1"]
    default: Literal["deny"]
    rules: tuple[Rule, ...]

    @property
    def revision(self) -> str:
        """Name its content, so that who changes it can say what was read."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:_REVISION_CHARACTERS]


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a policy is asked about.

    Attributes:
        user_id: whose rights these are.
        org_id: the organization's id.
        client_id: None where it is not known (yet, or any more).
        attrs: the identity provider's claims; None for none.
    """

    user_id: str
    org_id: str
    client_id: str | None = None
    attrs: Mapping[str, Any] | None = None

    @property
    def values(self) -> Mapping[str, str]:
        """What variables stand for, made anew: a connection keeps its subject, and asks seldom."""
        return values_of(user_id=self.user_id, org_id=self.org_id, client_id=self.client_id, attrs=self.attrs)


def subject_of(identity: Identity, client_id: str | None) -> Subject:
    """Return whom a policy is asked about when a connection does something."""
    return Subject(identity.user_id, identity.org_id, client_id, identity.attrs)


def matches_user(pattern: str, user_id: str) -> bool:
    """Tell whether a user is one of those that a pattern names; `*` is any characters, or none."""
    if EVERYBODY not in pattern:
        return pattern == user_id
    first, *middle, last = pattern.split(EVERYBODY)
    at, end = len(first), len(user_id) - len(last)
    if end < at or not user_id.startswith(first) or not user_id.endswith(last):
        return False
    for part in middle:
        at = user_id.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def _same(found: object, wanted: object) -> bool:
    if isinstance(wanted, bool) or isinstance(found, bool):
        return found is wanted
    return isinstance(found, str) is isinstance(wanted, str) and found == wanted
