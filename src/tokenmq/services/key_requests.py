"""What a request for a key may ask for, and what its maker may give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tokenmq.access.binding import check_template
from tokenmq.access.grants import Grant, excess, merge
from tokenmq.access.permission import Permission
from tokenmq.errors import Forbidden, GrantTooWide, InvalidRequest, InvalidTopicFilter
from tokenmq.limits import MAX_TOPICS
from tokenmq.tokens.claims import MAX_TIME
from tokenmq.tokens.records import KeyKind, KeyRecord
from tokenmq.tokens.subjects import text_problem

# The wire contract: what an `rk_` key may be allowed.
SCOPES = frozenset(
    {
        "tokens:create",
        "tokens:revoke",
        "tokens:read",
        "publish",
        "presence:read",
        "history:read",
        "history:erase",
        "retained",
        "sessions",
        "policy",
        "providers",
        "keys",
        "audit:read",
        "mqtt",
    }
)
# The wire contract: `expires_at` is 90 days ahead unless said otherwise.
DEFAULT_KEY_LIFE_SECONDS = 90 * 86_400
MAX_NAME_BYTES = 255

# With these a key hands out or uses the rights that it was given: it must have some.
_SCOPES_WITH_GRANTS = frozenset({"tokens:create", "mqtt", "publish"})
_KINDS = {kind.value: kind for kind in (KeyKind.SECRET, KeyKind.RESTRICTED, KeyKind.PUBLISHABLE)}


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A key as asked for.

    Attributes:
        kind: `sk`, `rk` or `pk` (an `ik` key is made by `init` alone).
        name: 1 to 255 bytes, no control character.
        scopes: for `rk` only, there not empty; None = not said.
        permissions, topics: for `rk` only, both or neither; None = not said. Needed with
            the scopes `tokens:create` and `mqtt`.
        expires_at: unix seconds, in the future; None = never.
        expires_at_given: False = the request said nothing about it: 90 days ahead.
    """

    kind: str
    name: str
    scopes: tuple[str, ...] | None = None
    permissions: tuple[str, ...] | None = None
    topics: tuple[str, ...] | None = None
    expires_at: int | None = None
    expires_at_given: bool = False


@dataclass(frozen=True, slots=True)
class CheckedKey:
    """What a key will be."""

    kind: KeyKind
    scopes: tuple[str, ...]
    grants: tuple[Grant, ...]
    expires_at: int | None


def check_request(request: KeyRequest, *, maker: KeyRecord, now: float) -> CheckedKey:
    """Hold a request against the rules and against its maker.

    Raises: InvalidRequest (names each field), Forbidden (kind or scope wider than the
        maker's), GrantTooWide.
    """
    problems = [*_problems(request, now)]
    if request.kind == KeyKind.RESTRICTED:
        problems += _restricted_problems(request)
    else:
        problems += _unrestricted_problems(request)
    if problems:
        raise InvalidRequest(*problems)
    expires_at = request.expires_at if request.expires_at_given else int(now) + DEFAULT_KEY_LIFE_SECONDS
    grants: tuple[Grant, ...] = ()
    if request.permissions is not None and request.topics is not None:
        permissions = tuple(Permission(permission) for permission in request.permissions)
        grants = merge([Grant(permissions, request.topics)])
    scopes = tuple(sorted(set(request.scopes or ())))
    checked = CheckedKey(_KINDS[request.kind], scopes, grants, expires_at)
    if maker.kind is KeyKind.RESTRICTED:
        _require_within(checked, maker)
    return checked


def _problems(request: KeyRequest, now: float) -> Iterator[tuple[str, str]]:
    if request.kind not in _KINDS:
        yield "kind", f"wanted one of {', '.join(_KINDS)}"
    if problem := text_problem(request.name, max_bytes=MAX_NAME_BYTES):
        yield "name", problem
    if request.expires_at is not None and not now < request.expires_at < MAX_TIME:
        yield "expires_at", "wanted a time in the future and before 2100"


def _unrestricted_problems(request: KeyRequest) -> Iterator[tuple[str, str]]:
    # Ignored, they would leave a key wider than its maker believes.
    for field in ("scopes", "permissions", "topics"):
        if getattr(request, field) is not None:
            yield field, "is for rk keys only"


def _restricted_problems(request: KeyRequest) -> Iterator[tuple[str, str]]:
    if not request.scopes:
        yield "scopes", "an rk key needs at least one"
    for index, scope in enumerate(request.scopes or ()):
        if scope not in SCOPES:
            yield f"scopes[{index}]", f"is none of {', '.join(sorted(SCOPES))}"
    if request.permissions is None and request.topics is None:
        needing = sorted(_SCOPES_WITH_GRANTS.intersection(request.scopes or ()))
        if needing:
            yield "permissions", f"the scope {needing[0]} needs permissions and topics"
        return
    if not request.permissions:
        yield "permissions", "is missing or empty: both permissions and topics, or neither"
    if not request.topics:
        yield "topics", "is missing or empty: both permissions and topics, or neither"
    elif len(request.topics) > MAX_TOPICS:
        yield "topics", f"more than {MAX_TOPICS} topics"
    yield from _element_problems(request)


def _element_problems(request: KeyRequest) -> Iterator[tuple[str, str]]:
    known = frozenset(permission.value for permission in Permission)
    for index, permission in enumerate(request.permissions or ()):
        if permission not in known:
            yield f"permissions[{index}]", f"is none of {', '.join(sorted(known))}"
    for index, topic_filter in enumerate(request.topics or ()):
        try:
            check_template(topic_filter)
        except InvalidTopicFilter as error:
            yield f"topics[{index}]", error.reason


def _require_within(asked: CheckedKey, maker: KeyRecord) -> None:
    """Nobody makes a key wider than their own.

    Raises: Forbidden, GrantTooWide.
    """
    # A publishable key opens only what everybody may do without one.
    if asked.kind is KeyKind.SECRET:
        raise Forbidden("an rk key makes no sk key: it would be wider")
    for scope in asked.scopes:
        if scope not in maker.scopes:
            raise Forbidden(f"the key lacks the scope {scope} and cannot give it")
    beyond = excess(asked.grants, maker.grants)
    if beyond is not None:
        permission, topic_filter = beyond
        raise GrantTooWide(
            f"key does not give {permission} on {topic_filter}",
            topic_filter=topic_filter,
            permission=permission,
        )
