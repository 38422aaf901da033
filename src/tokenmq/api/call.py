"""What a handler is given, and the description of one endpoint.

An `Endpoint` is a row of the one table (`table.py`): the dispatcher and the OpenAPI
document are both made of it, so that neither can say what the other does not do.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from tokenmq.access.permission import Permission
from tokenmq.api.answer import JSON, Answer
from tokenmq.errors import InvalidKey
from tokenmq.services.auditing import NO_TRACE, Trace
from tokenmq.services.bearers import Bearer
from tokenmq.services.bundle import Services
from tokenmq.tokens.records import KeyRecord, OrganizationRecord

BodyT = TypeVar("BodyT")
QueryT = TypeVar("QueryT")


@dataclass(slots=True)
class Call(Generic[BodyT, QueryT]):
    """One request that has been read, authenticated and checked for its form.

    Attributes:
        document: the OpenAPI document, encoded.
        path: as it was asked for; one operation may have several.
        params: the variable parts of the path.
        body: the typed body; None where the endpoint takes none.
        tree: the body as plain values, for what compares whole bodies.
        key: the caller's; None only where the endpoint needs none, or a token was shown.
        bearer: the user whose token was shown, where the endpoint takes tokens; else None.
        organization: what the call is about; None for calls of the instance.
        idempotency_key: the header's value.
        origin: of the web page that asks; None where none does.
        now: wall time in unix seconds.
        trace: where the request came from.
    """

    services: Services
    document: bytes
    path: str
    params: dict[str, str]
    body: BodyT
    tree: dict[str, Any]
    query: QueryT
    key: KeyRecord | None
    organization: OrganizationRecord | None
    idempotency_key: str | None
    origin: str | None
    now: float
    trace: Trace = NO_TRACE
    bearer: Bearer | None = None

    def caller(self) -> KeyRecord:
        """Return the key of the caller.

        Raises: InvalidKey, so that an endpoint that was described wrongly refuses.
        """
        if self.key is None:
            raise InvalidKey("a key is needed")
        return self.key

    def about(self) -> OrganizationRecord:
        """Return the organization that the call is about.

        Raises: InvalidKey, so that an endpoint that was described wrongly refuses.
        """
        if self.organization is None:
            raise InvalidKey("a key of an organization is needed")
        return self.organization


Handler = Callable[[Call[Any, Any]], Awaitable[Answer]]


class Access(enum.Enum):
    """Who may call."""

    EVERYBODY = "everybody"
    POSSESSION = "anybody who shows the token that the call is about; no key is looked at"
    ANY_KEY = "anybody; a key that is shown must be good"
    SCOPE = "a key with the scope"
    SCOPE_OR_ALL = "a key with the scope; an ik_ key that names no organization means all of them"
    INSTANCE = "an ik_ key"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation on one path.

    Attributes:
        operation: its name in the OpenAPI document.
        summary: one sentence for people.
        scope: what an `rk_` key needs, with `Access.SCOPE` and `SCOPE_OR_ALL`.
        permission: a user's token may stand in place of a key; what it may see by this
            permission is the service's to decide.
        body: type of the body; None when no body is read.
        body_required: False where an absent body means an empty object.
        form: `application/x-www-form-urlencoded` is accepted too.
        oauth: type of a form that is one of OAuth's, answered as OAuth says (`api.oauth`).
        answer: type of the body of the good answer.
        media_type: of the good answer.
        idempotent: it takes `Idempotency-Key`.
        guessable: without a key it fails only so often from one address (`api.keyless`).
        errors: statuses beyond those that follow from the above.
    """

    method: str
    path: str
    operation: str
    summary: str
    handler: Handler
    access: Access
    answer: Any
    query: type[msgspec.Struct]
    scope: str | None = None
    permission: Permission | None = None
    body: type[msgspec.Struct] | None = None
    body_required: bool = True
    form: bool = False
    oauth: type[msgspec.Struct] | None = None
    status: int = 200
    media_type: bytes = JSON
    idempotent: bool = False
    guessable: bool = False
    errors: tuple[int, ...] = ()
