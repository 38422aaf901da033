"""One path and its methods, as the ASGI application that the router calls.

The order is the same for every endpoint: read the body, find the key, hold it against
the endpoint, fill the typed values, find the organization, call the handler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from tokenmq.api import auth, oauth
from tokenmq.api.answer import Answer, Headers, send_answer
from tokenmq.api.call import Access, Call, Endpoint
from tokenmq.api.errors import HttpRefused
from tokenmq.api.keyless import KeylessFailures
from tokenmq.api.parsing import fill, parse_form, parse_json
from tokenmq.api.schemas.requests import ExchangeForm
from tokenmq.errors import InvalidRequest
from tokenmq.services.auditing import Trace
from tokenmq.services.bundle import Services
from tokenmq.services.keys import expires_soon

# In a scope: the id of the request, which the gate gives it.
REQUEST_ID = "tokenmq.request_id"
# When the caller's key ends, unix seconds, where that is soon: the gate says so on every answer.
KEY_EXPIRES = "tokenmq.key_expires"

_KEYLESS = (Access.EVERYBODY, Access.POSSESSION)
_FORM = b"application/x-www-form-urlencoded"
_JSON = b"application/json"
# Headers of which two different ones would mean two different requests.
_DECIDING = frozenset(
    {b"authorization", b"x-secret-key", b"x-api-key", b"content-type", b"idempotency-key", b"origin"}
)
_MAX_IDEMPOTENCY_KEY = 255
# A browser need not ask again for this time.
_PREFLIGHT_SECONDS = b"600"


class Path:
    """All methods of one path."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        services: Services,
        document: bytes,
        failures: KeylessFailures,
        now: Callable[[], float],
    ) -> None:
        self._by_method = {endpoint.method: endpoint for endpoint in endpoints}
        if "GET" in self._by_method:
            self._by_method["HEAD"] = self._by_method["GET"]
        self._allow = ", ".join([*self._by_method, "OPTIONS"]).encode()
        self._services = services
        self._document = document
        self._failures = failures
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; errors are the gate's to answer."""
        endpoint = self._by_method.get(scope["method"])
        if endpoint is not None:
            scope["operation"] = endpoint.operation
            answer = await self._perform(endpoint, scope, receive)
        elif scope["method"] == "OPTIONS":
            answer = preflight(self._allow)
        else:
            raise HttpRefused(
                405,
                "this path has no such method",
                code="method_not_allowed",
                headers=((b"allow", self._allow),),
            )
        await send_answer(answer, scope, send)

    async def _perform(self, endpoint: Endpoint, scope: Scope, receive: Receive) -> Answer:
        headers = _index(scope["headers"])
        if endpoint.oauth is not None and _media_type(headers) == _FORM:
            scope[oauth.MARK] = True
        tree, lax = await _read(endpoint, headers, receive) if endpoint.body is not None else ({}, False)
        now = self._now()
        shown = None
        if endpoint.access not in _KEYLESS:
            shown = auth.shown_key(headers, tree)
        if (endpoint.guessable and shown is None) or auth.is_token(endpoint, shown):
            client = scope.get("client")
            with self._failures.counted(client[0] if client else None, now):
                return await self._serve(endpoint, scope, headers, tree, shown, now, lax=lax)
        return await self._serve(endpoint, scope, headers, tree, shown, now, lax=lax)

    async def _serve(
        self,
        endpoint: Endpoint,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        tree: dict[str, Any],
        shown: str | None,
        now: float,
        *,
        lax: bool,
    ) -> Answer:
        services = self._services
        origin = _text(headers.get(b"origin"))
        key = bearer = None
        if shown is not None and auth.is_token(endpoint, shown):
            bearer = auth.bearer(shown, services, origin=origin, now=now)
        elif endpoint.access not in _KEYLESS:
            key = auth.authenticate(endpoint, shown, services, now)
            if key is not None and expires_soon(key, now):
                scope[KEY_EXPIRES] = key.expires_at
        query = fill(parse_form(scope["query_string"]), endpoint.query, lax=True)
        body = _body(endpoint, tree, lax=lax)
        organization = None
        if endpoint.access not in _KEYLESS and endpoint.access is not Access.INSTANCE:
            named = (getattr(body, "organization_id", None), getattr(query, "organization_id", None))
            organization = auth.organization(endpoint, key, named, services, bearer)
        call = Call(
            services=services,
            document=self._document,
            path=scope["path"],
            params=scope["path_params"],
            body=body,
            tree=tree,
            query=query,
            key=key,
            organization=organization,
            idempotency_key=_idempotency_key(headers) if endpoint.idempotent else None,
            origin=origin,
            now=now,
            trace=trace_of(scope),
            bearer=bearer,
        )
        return await endpoint.handler(call)


def trace_of(scope: Scope) -> Trace:
    """Return where a request came from."""
    client = scope.get("client")
    return Trace(client[0] if client else None, scope.get(REQUEST_ID))


class NoPath:
    """What answers for paths that are not in the table."""

    def __init__(self, detail: str) -> None:
        self._detail = detail

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Refuse one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        if scope["method"] != "OPTIONS":
            raise HttpRefused(404, self._detail, code="not_found")
        await send_answer(preflight(b"OPTIONS"), scope, send)


def preflight(allow: bytes) -> Answer:
    """Answer OPTIONS; the gate adds who may read the answers of this path."""
    headers: Headers = (
        (b"allow", allow),
        (b"access-control-allow-methods", allow),
        (b"access-control-max-age", _PREFLIGHT_SECONDS),
    )
    return Answer(b"", status=204, headers=headers)


async def _read(
    endpoint: Endpoint, headers: Mapping[bytes, bytes], receive: Receive
) -> tuple[dict[str, Any], bool]:
    """Read the body; return it as plain values, and whether it was a form."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        parts = [body]
        while message.get("more_body"):
            message = await receive()
            parts.append(message.get("body", b""))
        body = b"".join(parts)
    if not body and not endpoint.body_required:
        return {}, False
    media_type = _media_type(headers)
    takes_forms = endpoint.form or endpoint.oauth is not None
    if media_type == _JSON:
        return parse_json(body), False
    if media_type == _FORM and takes_forms:
        return parse_form(body), True
    wanted = "application/json or application/x-www-form-urlencoded" if takes_forms else "application/json"
    raise HttpRefused(415, f"Content-Type must be {wanted}")


def _body(endpoint: Endpoint, tree: Mapping[str, Any], *, lax: bool) -> msgspec.Struct | None:
    if endpoint.body is None:
        return None
    if not lax or endpoint.oauth is None:
        return fill(tree, endpoint.body, lax=lax)
    form = fill(tree, endpoint.oauth, lax=True)
    if isinstance(form, ExchangeForm):
        oauth.check_exchange(form)
    return form


def _media_type(headers: Mapping[bytes, bytes]) -> bytes:
    return headers.get(b"content-type", b"").partition(b";")[0].strip().lower()


def _index(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the headers by name.

    Raises: InvalidRequest when one that decides something stands twice and differs.
    """
    index = dict(headers)
    if len(index) < len(headers):
        for name, value in headers:
            if name in _DECIDING and index[name] != value:
                raise InvalidRequest(("", f"the header {name.decode()} stands twice"))
    return index


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _idempotency_key(headers: Mapping[bytes, bytes]) -> str | None:
    value = headers.get(b"idempotency-key")
    if value is None:
        return None
    if not 1 <= len(value) <= _MAX_IDEMPOTENCY_KEY or not all(0x21 <= byte <= 0x7E for byte in value):
        raise InvalidRequest(
            ("Idempotency-Key", f"wanted 1 to {_MAX_IDEMPOTENCY_KEY} visible ASCII characters")
        )
    return value.decode("ascii")
