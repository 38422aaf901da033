"""What a backend asks of the service, as values; sending them is `core`'s.

Each call says whether it may be repeated when nobody knows if it was done. Making a token
may, for it carries an `Idempotency-Key`; publishing may not, for the message would go out
twice. A call that was surely not done may always be repeated.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypedDict, TypeVar, Unpack
from urllib.parse import quote

from tokenmq.client.answers import (
    Erased,
    HistoryPage,
    HistoryRule,
    HistoryRules,
    Introspection,
    IssuedToken,
    Presence,
    Published,
    Revocation,
    RevocationRequest,
    TokenInfo,
    TokenRequest,
)
from tokenmq.client.moments import Moment, written
from tokenmq.errors import InvalidRequest

T = TypeVar("T")

# Items of a list that are asked for at once, and the most that the service gives.
PAGE, MOST = 100, 500

TOKENS = "/v2/tokens"
PRESENCE = "/v2/utilities/presence"
HISTORY = "/v2/history"


class TokenPage(TypedDict):
    """Some token families, and where the next ones begin."""

    tokens: list[TokenInfo]
    next: str | None


class PresencePage(Presence):
    """Some of those who are present, and where the next ones begin."""

    next: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request.

    Attributes:
        wants: what its answer must have.
        is_repeatable: doing it twice is doing it once.
    """

    method: str
    path: str
    wants: type[T]
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None
    is_repeatable: bool = True


def create_token(**request: Unpack[TokenRequest]) -> Call[IssuedToken]:
    """Make a token."""
    return Call("POST", TOKENS, IssuedToken, body=request, headers={"Idempotency-Key": str(uuid.uuid4())})


def revoke(**request: Unpack[RevocationRequest]) -> Call[Revocation]:
    """Revoke tokens and close their connections."""
    return Call("POST", f"{TOKENS}/revoke", Revocation, body=request)


def get_token(token_id: str, organization_id: str | None) -> Call[TokenInfo]:
    """Look at a token's family."""
    path = f"{TOKENS}/{quote(token_id, safe='')}"
    return Call("GET", path, TokenInfo, query=_query(organization_id=organization_id))


def list_tokens(
    *, organization_id: str | None, user_id: str | None, status: str | None, cursor: str | None
) -> Call[TokenPage]:
    """Look at a page of token families."""
    query = _query(
        organization_id=organization_id, user_id=user_id, status=status, cursor=cursor, limit=str(PAGE)
    )
    return Call("GET", TOKENS, TokenPage, query=query)


def introspect(token: str, organization_id: str | None) -> Call[Introspection]:
    """Ask whether a token is good now."""
    body = {"token": token, **({"organization_id": organization_id} if organization_id else {})}
    return Call("POST", f"{TOKENS}/introspect", Introspection, body=body)


def publish(
    topic: str, payload: object, *, qos: int, retain: bool, organization_id: str | None
) -> Call[Published]:
    """Publish a message, an object or text."""
    body = {"topic": topic, "payload": payload, "qos": qos, "retain": retain}
    query = _query(organization_id=organization_id)
    return Call("POST", "/v1/publish", Published, body=body, query=query, is_repeatable=False)


def presence(topic_filter: str, organization_id: str | None, cursor: str | None) -> Call[PresencePage]:
    """Ask who is present, page by page."""
    query = _query(topic=topic_filter, organization_id=organization_id, cursor=cursor, limit=str(MOST))
    return Call("GET", PRESENCE, PresencePage, query=query)


def presence_of(user_id: str, organization_id: str | None, cursor: str | None) -> Call[PresencePage]:
    """Ask where a user is present, page by page."""
    query = _query(organization_id=organization_id, cursor=cursor, limit=str(MOST))
    return Call("GET", f"{PRESENCE}/{quote(user_id, safe='')}", PresencePage, query=query)


def history(
    topic_filter: str,
    *,
    since: Moment | None,
    until: Moment | None,
    after: int | None,
    limit: int | None,
    order: str,
    cursor: str | None,
    organization_id: str | None,
) -> Call[HistoryPage]:
    """Read a page of recorded messages."""
    query = _query(
        topic=topic_filter,
        since=None if since is None else written(since),
        until=None if until is None else written(until),
        after=None if after is None else str(after),
        limit=str(PAGE if limit is None else min(limit, PAGE)),
        order=order,
        cursor=cursor,
        organization_id=organization_id,
    )
    return Call("GET", HISTORY, HistoryPage, query=query)


def history_rules(organization_id: str | None) -> Call[HistoryRules]:
    """Read the rules of recording."""
    return Call("GET", f"{HISTORY}/rules", HistoryRules, query=_query(organization_id=organization_id))


def set_history_rules(rules: Iterable[HistoryRule], organization_id: str | None) -> Call[HistoryRules]:
    """Put rules of recording in force."""
    query = _query(organization_id=organization_id)
    return Call("PUT", f"{HISTORY}/rules", HistoryRules, body={"rules": list(rules)}, query=query)


def erase_history(topic_filter: str | None, user_id: str | None, organization_id: str | None) -> Call[Erased]:
    """Erase recorded messages. Raises: InvalidRequest unless exactly one of the first two is given."""
    if (topic_filter is None) == (user_id is None):
        raise InvalidRequest(("topic_filter", "give a topic filter or a user_id, and not both"))
    query = _query(topic=topic_filter, user_id=user_id, organization_id=organization_id)
    return Call("DELETE", HISTORY, Erased, query=query)


def _query(**wanted: str | None) -> dict[str, str] | None:
    """Return the parameters that there are; None where there are none."""
    return {name: value for name, value in wanted.items() if value is not None} or None
