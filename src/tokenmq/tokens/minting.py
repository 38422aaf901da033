"""From a request for a token to its claims: defaults, bounds, and narrowing.

What is missing gets its default, what is wrong is named by its field, and what is left is
held against the key and the policy (`narrowing`). Nothing empty ever means everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tokenmq.access.binding import check_template
from tokenmq.access.grants import Grant, merge
from tokenmq.access.permission import Permission
from tokenmq.access.policy import Policy
from tokenmq.errors import Forbidden, InvalidRequest, InvalidTopicFilter
from tokenmq.limits import MAX_METADATA_BYTES, MAX_TOPICS, MAX_TTL_SECONDS, MAX_USER_ID_BYTES, MIN_TTL_SECONDS
from tokenmq.tokens import narrowing
from tokenmq.tokens.claims import Claims, audience, client_id_problem
from tokenmq.tokens.records import KeyKind, KeyRecord, OrganizationSettings
from tokenmq.tokens.subjects import text_problem, user_problem

_DEFAULT_PERMISSIONS = (Permission.PUBLISH, Permission.SUBSCRIBE)
# The wire contract: a client that finds a later moment refreshes in a tight loop.
_MAX_AHEAD_SECONDS = 24 * 86_400
_MIN_AHEAD_SECONDS = 5


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
    asked = _asked(request)
    values = narrowing.known_values(user_id, org_id, request.client_id)
    problems = [
        *_ttl_problems(ttl, settings),
        *_text_problems(request),
        *_grant_problems(request, asked, values),
    ]
    if problems:
        raise InvalidRequest(*problems)
    if asked is None:
        grants = narrowing.default_grants(request.permissions, key, policy, values)
    else:
        grants = tuple(grant for _, grant in asked)
        narrowing.require_within_key(grants, key, values)
        narrowing.require_left_by_policy(grants, policy, values)
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
        grants=merge(grants),
        client_id=request.client_id,
    )


def subject_of(request: MintRequest) -> tuple[str, str]:
    """Return user id and e-mail of a request, each the other's default.

    Raises: InvalidRequest.
    """
    user_id = request.user_id if request.user_id is not None else request.user_email
    if user_id is None:
        raise InvalidRequest(("user_id", "is missing, and user_email too: one of them is needed"))
    user_email = request.user_email if request.user_email is not None else user_id
    given = (("user_id", request.user_id), ("user_email", request.user_email))
    problems = [
        (name, problem) for name, text in given if text is not None and (problem := user_problem(text))
    ]
    if problems:
        raise InvalidRequest(*problems)
    return user_id, user_email


def refresh_recommended_at(issued_at: int, expires_at: int, now: float, *, extendable: bool) -> int:
    """Say when a client should refresh, in whole unix seconds.

    The later of 0.9 of the life and now + min(5 s, half of what remains): never past, for
    the answer is only given while at least 2 s remain, so rounding down keeps it ahead.

    Args:
        issued_at: `iat` of the password.
        expires_at: its `exp`.
        now: when the answer is written.
        extendable: False when a refresh could not move the expiry; then it is the expiry.
    """
    if not extendable:
        return expires_at
    planned = issued_at + (expires_at - issued_at) * 9 // 10
    soonest = now + min(_MIN_AHEAD_SECONDS, (expires_at - now) / 2)
    return int(min(max(planned, soonest), now + _MAX_AHEAD_SECONDS))


def _asked(request: MintRequest) -> list[tuple[str, Grant]] | None:
    """Return the grants that are asked for by topic, with their path; None for none."""
    if request.grants is not None:
        return [(f"grants[{index}].", grant) for index, grant in enumerate(request.grants)]
    if request.topics is None:
        return None
    permissions = _DEFAULT_PERMISSIONS if request.permissions is None else request.permissions
    return [("", Grant(permissions=permissions, topics=request.topics))]


def _ttl_problems(ttl: int, settings: OrganizationSettings) -> Iterator[tuple[str, str]]:
    shortest = max(settings.min_ttl_seconds, MIN_TTL_SECONDS)
    longest = min(settings.max_ttl_seconds, settings.family_max_seconds, MAX_TTL_SECONDS)
    if type(ttl) is not int or not shortest <= ttl <= longest:
        yield "ttl", f"is {ttl}, wanted {shortest} to {longest} seconds"


def _text_problems(request: MintRequest) -> Iterator[tuple[str, str]]:
    if request.client_id is not None and (problem := client_id_problem(request.client_id)):
        yield "client_id", problem
    if request.integration_id is not None and (
        problem := text_problem(request.integration_id, max_bytes=MAX_USER_ID_BYTES)
    ):
        yield "integration_id", problem
    size = len(msgspec.json.encode(request.metadata))
    if size > MAX_METADATA_BYTES:
        yield "metadata", f"has {size} bytes of JSON, at most {MAX_METADATA_BYTES} are possible"


def _grant_problems(
    request: MintRequest, asked: list[tuple[str, Grant]] | None, values: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    if request.grants is not None and (request.permissions is not None or request.topics is not None):
        yield "grants", "cannot stand beside permissions or topics"
    if request.permissions == ():
        yield "permissions", "is empty"
    if asked is None:
        return
    if not asked:
        yield "grants", "is empty"
    if sum(len(grant.topics) for _, grant in asked) > MAX_TOPICS:
        yield "topics" if request.grants is None else "grants", f"more than {MAX_TOPICS} topics"
    for path, grant in asked:
        if not grant.permissions and request.grants is not None:
            yield f"{path}permissions", "is empty"
        if not grant.topics:
            yield f"{path}topics", "is empty"
        for index, topic_filter in enumerate(grant.topics):
            if problem := _topic_problem(topic_filter, values):
                yield f"{path}topics[{index}]", problem


def _topic_problem(topic_filter: str, values: Mapping[str, str]) -> str | None:
    try:
        check_template(topic_filter)
    except InvalidTopicFilter as error:
        return error.reason
    if narrowing.bound(topic_filter, values) is None:
        return "a value that it needs holds / + # or begins with $, so it could mean nothing"
    return None
