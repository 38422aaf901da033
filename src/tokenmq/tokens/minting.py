"""From a request for a token to its claims: defaults, bounds, and narrowing.

What is missing gets its default, what is wrong is named by its field, and what is left is
held against the key and the policy (`narrowing`). Nothing empty ever means everything.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from tokenmq.access.binding import check_template
from tokenmq.access.grants import Grant, merge
from tokenmq.access.permission import Permission
from tokenmq.access.policy import Policy
from tokenmq.errors import Forbidden, InvalidRequest, InvalidTopicFilter
from tokenmq.limits import (
    MAX_METADATA_BYTES,
    MAX_STRING_BYTES,
    MAX_TOPIC_LEVELS,
    MAX_TOPICS,
    MAX_TTL_SECONDS,
    MAX_USER_ID_BYTES,
    MIN_TTL_SECONDS,
)
from tokenmq.tokens import narrowing
from tokenmq.tokens.claims import Claims, audience, client_id_problem
from tokenmq.tokens.records import KeyKind, KeyRecord, OrganizationSettings
from tokenmq.tokens.subjects import text_problem, user_problem
from tokenmq.topics.filter import check_filter

_DEFAULT_PERMISSIONS = (Permission.PUBLISH, Permission.SUBSCRIBE)
# The wire contract: a client that finds a later moment refreshes in a tight loop.
_MAX_AHEAD_SECONDS = 24 * 86_400
_MIN_AHEAD_SECONDS = 5
# Refreshes are spread over the twentieth part of a life.
_SPREAD_PARTS = 20
# Applications ask for the same few lists of topics again and again; a list has at most 64 KiB.
_REMEMBERED_LISTS = 256


class NameLimits(NamedTuple):
    """What the broker takes: a token for anything beyond could never be used."""

    max_client_id_bytes: int = MAX_STRING_BYTES
    max_topic_bytes: int = MAX_STRING_BYTES
    max_topic_levels: int = MAX_TOPIC_LEVELS


ANY_NAMES = NameLimits()


@dataclass(frozen=True, slots=True)
class MintRequest:
    """What the body of POST /v2/tokens asks for; None = not said.

    Attributes:
        user_id, user_email: each is the other's default; one of them must be there.
        permissions, topics: every permission on every topic.
        grants: instead of the two, where permissions differ by topic.
        ttl_seconds: None = the organization's default.
        client_id: the only client id, or a prefix that ends in `*`.
        renewable: False = an hour is an hour.
        integration_id: label by which later tokens replace this one.
        metadata: shown in lists, never in the token.
    """

    user_id: str | None = None
    user_email: str | None = None
    permissions: tuple[Permission, ...] | None = None
    topics: tuple[str, ...] | None = None
    grants: tuple[Grant, ...] | None = None
    ttl_seconds: int | None = None
    client_id: str | None = None
    renewable: bool = True
    integration_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def mint(
    request: MintRequest,
    *,
    key: KeyRecord,
    org_id: str,
    policy: Policy,
    settings: OrganizationSettings,
    now: float,
    token_id: str,
    jti: str,
    issuer: str,
    limits: NameLimits = ANY_NAMES,
) -> Claims:
    """Narrow a request to what the key may give and return the claims.

    Args:
        request: as asked.
        key: of the organization, or an instance administrator's; what a restricted key
            asks must lie within its own grants.
        org_id: the organization that the token is of.
        policy: what it leaves nothing of is refused.
        settings: the organization's; they bound and default the life.
        now: unix seconds; its whole part becomes iat and nbf, exp = iat + ttl.
        token_id: becomes fam.
        jti: names the password.
        issuer: becomes iss.
        limits: the broker's; client id and topics are held against them.

    Returns:
        Claims of generation 0; grants sorted, duplicates merged.

    Raises:
        InvalidRequest: names every field that is wrong.
        GrantTooWide: names the permission and filter that key or policy do not give.
        Forbidden: a publishable key, which makes no tokens.
    """
    if key.kind is KeyKind.PUBLISHABLE:
        raise Forbidden("a publishable key makes no tokens")
    user_id, _ = subject_of(request)
    ttl = settings.default_ttl_seconds if request.ttl_seconds is None else request.ttl_seconds
    problems = [*_user_problems(request), *_ttl_problems(ttl, settings), *_text_problems(request, limits)]
    grants = _known_grants(request, key, policy, limits)
    if grants is None:
        values = narrowing.known_values(user_id, org_id, request.client_id)
        problems += _grant_problems(request, values, limits)
    if problems:
        raise InvalidRequest(*problems)
    if grants is None:
        grants = _narrowed(request, key, policy, values)
    issued_at = int(now)
    return Claims(
        iss=issuer,
        aud=audience(org_id),
        sub=user_id,
        org=org_id,
        iat=issued_at,
        nbf=issued_at,
        exp=issued_at + ttl,
        jti=jti,
        fam=token_id,
        gen=0,
        grants=grants,
        client_id=request.client_id,
    )


def subject_of(request: MintRequest) -> tuple[str, str]:
    """Return user id and e-mail of a request, each the other's default.

    Raises: InvalidRequest when there is neither.
    """
    user_id = request.user_id if request.user_id is not None else request.user_email
    if user_id is None:
        raise InvalidRequest(("user_id", "is missing, and user_email too: one of them is needed"))
    return user_id, request.user_email if request.user_email is not None else user_id


def refresh_recommended_at(
    issued_at: int, expires_at: int, now: float, *, extendable: bool, spread_for: str | None = None
) -> int:
    """Say when a client should refresh, in whole unix seconds.

    The later of 0.9 of the life and now + min(5 s, half of what remains): never past, for
    the answer is only given while at least 2 s remain, so rounding down keeps it ahead.

    Args:
        issued_at: `iat` of the password.
        expires_at: its `exp`.
        now: when the answer is written.
        extendable: False when a refresh could not move the expiry; then it is the expiry.
        spread_for: a family's id: its place, always the same, in the 5 % of the life before
            nine tenths of it; None = at nine tenths.
    """
    if not extendable:
        return expires_at
    planned = issued_at + (expires_at - issued_at) * 9 // 10
    if spread_for is not None:
        planned -= (expires_at - issued_at) * zlib.crc32(spread_for.encode()) // (_SPREAD_PARTS << 32)
    soonest = now + min(_MIN_AHEAD_SECONDS, (expires_at - now) / 2)
    return int(min(max(planned, soonest), now + _MAX_AHEAD_SECONDS))


def _asked(request: MintRequest) -> tuple[Grant, ...] | None:
    """Return the grants that are asked for by topic; None for none."""
    if request.grants is not None or request.topics is None:
        return request.grants
    permissions = _DEFAULT_PERMISSIONS if request.permissions is None else request.permissions
    return (Grant(permissions=permissions, topics=request.topics),)


def _known_grants(
    request: MintRequest, key: KeyRecord, policy: Policy, limits: NameLimits
) -> tuple[Grant, ...] | None:
    """Return what a request gets that asks as anybody may; None when it must be looked at by itself."""
    asked = _asked(request)
    if asked is None or key.kind is KeyKind.RESTRICTED or _says_grants_twice(request):
        return None
    return _for_everybody(asked, policy, limits)


@functools.lru_cache(maxsize=_REMEMBERED_LISTS)
def _for_everybody(asked: tuple[Grant, ...], policy: Policy, limits: NameLimits) -> tuple[Grant, ...] | None:
    """Merge grants that are right whoever asks; None when they are not, or it depends.

    It depends on nothing else where no variable stands in the grants, and the part of the
    policy without variables leaves something of each.
    """
    topics = [topic_filter for grant in asked for topic_filter in grant.topics]
    if not all(grant.permissions and grant.topics for grant in asked) or not 0 < len(topics) <= MAX_TOPICS:
        return None
    if any("{" in topic_filter or _topic_problem(topic_filter, {}, limits) for topic_filter in topics):
        return None
    return merge(asked) if narrowing.left_for_everybody(asked, policy) else None


def _narrowed(
    request: MintRequest, key: KeyRecord, policy: Policy, values: Mapping[str, str]
) -> tuple[Grant, ...]:
    """Hold what is asked against key and policy, for one user.

    Raises: GrantTooWide.
    """
    asked = _asked(request)
    if asked is None:
        return merge(narrowing.default_grants(request.permissions, key, policy, values))
    narrowing.require_within_key(asked, key, values)
    narrowing.require_left_by_policy(asked, policy, values)
    return merge(asked)


def _user_problems(request: MintRequest) -> Iterator[tuple[str, str]]:
    if request.user_id is not None and (problem := user_problem(request.user_id)):
        yield "user_id", problem
    if request.user_email is not None and (problem := user_problem(request.user_email)):
        yield "user_email", problem


def _ttl_problems(ttl: int, settings: OrganizationSettings) -> Iterator[tuple[str, str]]:
    shortest = max(settings.min_ttl_seconds, MIN_TTL_SECONDS)
    longest = min(settings.max_ttl_seconds, settings.family_max_seconds, MAX_TTL_SECONDS)
    if type(ttl) is not int or not shortest <= ttl <= longest:
        yield "ttl", f"is {ttl}, wanted {shortest} to {longest} seconds"


def _text_problems(request: MintRequest, limits: NameLimits) -> Iterator[tuple[str, str]]:
    if request.client_id is not None and (problem := _client_id_problem(request.client_id, limits)):
        yield "client_id", problem
    if request.integration_id is not None and (
        problem := text_problem(request.integration_id, max_bytes=MAX_USER_ID_BYTES)
    ):
        yield "integration_id", problem
    if request.metadata and (size := len(msgspec.json.encode(request.metadata))) > MAX_METADATA_BYTES:
        yield "metadata", f"has {size} bytes of JSON, at most {MAX_METADATA_BYTES} are possible"


def _says_grants_twice(request: MintRequest) -> bool:
    return request.grants is not None and (request.permissions is not None or request.topics is not None)


def _grant_problems(
    request: MintRequest, values: Mapping[str, str], limits: NameLimits
) -> Iterator[tuple[str, str]]:
    asked = _asked(request)
    if _says_grants_twice(request):
        yield "grants", "cannot stand beside permissions or topics"
    if request.permissions == ():
        yield "permissions", "is empty"
    if asked is None:
        return
    if not asked:
        yield "grants", "is empty"
    if sum(len(grant.topics) for grant in asked) > MAX_TOPICS:
        yield "topics" if request.grants is None else "grants", f"more than {MAX_TOPICS} topics"
    for position, grant in enumerate(asked):
        path = "" if request.grants is None else f"grants[{position}]."
        if not grant.permissions and request.grants is not None:
            yield f"{path}permissions", "is empty"
        if not grant.topics:
            yield f"{path}topics", "is empty"
        for index, topic_filter in enumerate(grant.topics):
            if problem := _topic_problem(topic_filter, values, limits):
                yield f"{path}topics[{index}]", problem


def _client_id_problem(pattern: str, limits: NameLimits) -> str | None:
    # A prefix must leave room for nothing: the client id may be the prefix itself.
    shortest = pattern.removesuffix("*")
    return client_id_problem(pattern) or (
        text_problem(shortest, max_bytes=limits.max_client_id_bytes) if shortest else None
    )


def _topic_problem(topic_filter: str, values: Mapping[str, str], limits: NameLimits) -> str | None:
    try:
        check_template(topic_filter)
        own = narrowing.bound(topic_filter, values)
        if own is None:
            return "a value that it needs holds / + # or begins with $, so it could mean nothing"
        # As the broker will see it: a value may be longer than its name.
        check_filter(own, max_bytes=limits.max_topic_bytes, max_levels=limits.max_topic_levels)
    except InvalidTopicFilter as error:
        return error.reason
    return None
