"""What a backend asks of the service, as values; sending them is `sync`'s and `aio`'s.

Each call says whether it may be repeated when nobody knows if it was done. Making a token
may, for it carries an `Idempotency-Key`; publishing may not, for the message would go out
twice. A call that was surely not done may always be repeated.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping
from typing import Any, Generic, TypedDict, TypeVar, Unpack
from urllib.parse import quote

from tokenmq.client.answers import (
    Introspection,
    IssuedToken,
    Published,
    Revocation,
    RevocationRequest,
    TokenInfo,
    TokenRequest,
)

T = TypeVar("T")

# The service's own maximum is 500.
PAGE = 100

TOKENS = "/v2/tokens"


class TokenPage(TypedDict):
    """Some token families, and where the next ones begin."""

    tokens: list[TokenInfo]
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
    query = {"organization_id": organization_id} if organization_id else None
    return Call("GET", f"{TOKENS}/{quote(token_id, safe='')}", TokenInfo, query=query)


def list_tokens(
    *, organization_id: str | None, user_id: str | None, status: str | None, cursor: str | None
) -> Call[TokenPage]:
    """Look at a page of token families."""
    wanted = {"organization_id": organization_id, "user_id": user_id, "status": status, "cursor": cursor}
    query = {name: value for name, value in wanted.items() if value is not None}
    return Call("GET", TOKENS, TokenPage, query={**query, "limit": str(PAGE)})


def introspect(token: str, organization_id: str | None) -> Call[Introspection]:
    """Ask whether a token is good now."""
    body = {"token": token, **({"organization_id": organization_id} if organization_id else {})}
    return Call("POST", f"{TOKENS}/introspect", Introspection, body=body)


def publish(
    topic: str, payload: object, *, qos: int, retain: bool, organization_id: str | None
) -> Call[Published]:
    """Publish a message, an object or text."""
    body = {"topic": topic, "payload": payload, "qos": qos, "retain": retain}
    query = {"organization_id": organization_id} if organization_id else None
    return Call("POST", "/v1/publish", Published, body=body, query=query, is_repeatable=False)
