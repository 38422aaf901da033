"""Who a believed token of a provider is: user id, e-mail, attributes, grants.

An e-mail that the provider has not verified is shown and decides nothing: it is no user
id, matches no mapping, and travels with no token. Whoever can register with somebody
else's address must not become them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from tokenmq.access.grants import Grant, merge
from tokenmq.errors import ClaimMissing, Forbidden
from tokenmq.tokens.claims import MAX_ATTRS_BYTES
from tokenmq.tokens.foreign.configuration import Configuration, MappingRule, ProviderRecord
from tokenmq.tokens.foreign.token import ForeignClaims
from tokenmq.tokens.subjects import user_problem

_ABSENT = object()
_VERIFIED = "email_verified"
_STANDARD_ID = "sub"


@dataclass(frozen=True, slots=True)
class ProvenUser:
    """A user whom an identity provider has proven.

    Attributes:
        user_id: after the provider's prefix.
        user_email: the e-mail; the user id where there is none.
        attrs: claims that are let through; empty for none.
        grants: what the mapping gives; None: what the policy grants this user.
        provider_id: the provider.
        provider: its kind.
        expires_at: of the provider's token, unix seconds; it ends nothing of ours.
    """

    user_id: str
    user_email: str
    attrs: dict[str, Any]
    grants: tuple[Grant, ...] | None
    provider_id: str
    provider: str
    expires_at: int


def prove(claims: ForeignClaims, provider: ProviderRecord) -> ProvenUser:
    """Turn the claims of a provider's token into a user.

    Raises:
        ClaimMissing: a claim that is needed is missing, or can be no user's id.
        Forbidden: the mapping gives this user nothing.
    """
    configuration, values = provider.configuration, claims.values
    for name in configuration.required_claims:
        if _claim(values, name) in (_ABSENT, None, ""):
            raise ClaimMissing(f"{name} claim required")
    user_id = configuration.user_prefix + _user_id(values, configuration)
    if problem := user_problem(user_id):
        raise ClaimMissing(f"user id of the token {problem}")
    email = _claim(values, configuration.email_claim)
    is_email = isinstance(email, str) and user_problem(email) is None
    return ProvenUser(
        user_id=user_id,
        user_email=str(email) if is_email else user_id,
        attrs=_attrs(values, configuration),
        grants=_grants(values, configuration),
        provider_id=provider.id,
        provider=provider.kind.value,
        expires_at=claims.expires_at,
    )


def _user_id(values: Mapping[str, Any], configuration: Configuration) -> str:
    """Return the user id; where the standard claim is missing, the verified e-mail."""
    found = _trusted(values, configuration.user_id_claim, configuration)
    if not isinstance(found, str) or not found:
        found = _ABSENT
        if configuration.user_id_claim == _STANDARD_ID:
            found = _trusted(values, configuration.email_claim, configuration)
    if isinstance(found, str) and found:
        return found
    if configuration.user_id_claim in (_STANDARD_ID, configuration.email_claim):
        raise ClaimMissing("email or sub claim required; an email counts with email_verified true")
    raise ClaimMissing(f"{configuration.user_id_claim} claim required")


def _attrs(values: Mapping[str, Any], configuration: Configuration) -> dict[str, Any]:
    found = {name: _trusted(values, name, configuration) for name in configuration.attrs}
    attrs = {name: value for name, value in found.items() if value is not _ABSENT and value is not None}
    size = len(msgspec.json.encode(attrs))
    # Cut, a rule that denies by a claim would not match.
    if attrs and size > MAX_ATTRS_BYTES:
        raise ClaimMissing(f"claims to let through have {size} bytes, at most {MAX_ATTRS_BYTES} are possible")
    return attrs


def _grants(values: Mapping[str, Any], configuration: Configuration) -> tuple[Grant, ...] | None:
    if not configuration.mapping:
        return None
    given = [
        grant
        for rule in configuration.mapping
        if _matches(rule, _trusted(values, rule.claim, configuration))
        for grant in rule.grants
    ]
    if not given:
        raise Forbidden("the identity provider's mapping gives this user nothing")
    return merge(given)


def _matches(rule: MappingRule, value: object) -> bool:
    """Tell whether a claim is what a rule wants, or a list that has it; 1 is not true."""
    candidates = value if isinstance(value, list) else [value]
    return any(type(one) is type(rule.equals) and one == rule.equals for one in candidates)


def _trusted(values: Mapping[str, Any], name: str, configuration: Configuration) -> object:
    """Return a claim that something may follow from."""
    if name in ("email", configuration.email_claim) and values.get(_VERIFIED) is not True:
        return _ABSENT
    return _claim(values, name)


def _claim(values: Mapping[str, Any], name: str) -> object:
    """Return a claim by its name, or by a path into objects."""
    if name in values:
        return values[name]
    found: object = values
    for step in name.split("."):
        if not isinstance(found, Mapping) or step not in found:
            return _ABSENT
        found = found[step]
    return found
