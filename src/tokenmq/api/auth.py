"""Whose call it is: the key of a request, its rights, the organization it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokenmq import clock
from tokenmq.api.call import Access, Endpoint
from tokenmq.errors import InvalidKey, InvalidRequest, NotFound
from tokenmq.services.bearers import Bearer
from tokenmq.services.bundle import Services
from tokenmq.services.keys import require, require_administrator
from tokenmq.tokens.records import KeyRecord, OrganizationRecord

_KEY_HEADERS = (b"x-secret-key", b"x-api-key")


def shown_key(headers: Mapping[bytes, bytes], tree: Mapping[str, Any]) -> str | None:
    """Find the key of a request, in whichever of the four places it stands.

    Other schemes of `Authorization` are not ours and say nothing.

    Raises: InvalidRequest when two places differ, or `secret_key` is no text.
    """
    found = set()
    if b"authorization" in headers:
        scheme, _, credentials = headers[b"authorization"].partition(b" ")
        if scheme.lower() == b"bearer":
            found.add(credentials.strip().decode("latin-1"))
    for name in _KEY_HEADERS:
        if name in headers:
            found.add(headers[name].strip().decode("latin-1"))
    if "secret_key" in tree:
        if not isinstance(tree["secret_key"], str):
            raise InvalidRequest(("secret_key", "wanted a text"))
        found.add(tree["secret_key"])
    if len(found) > 1:
        raise InvalidRequest(("", "the request shows two different keys"))
    return found.pop() if found else None


def is_token(endpoint: Endpoint, text: str | None) -> bool:
    """Tell whether what was shown is a user's token, at an endpoint that takes them; no key has a dot."""
    return endpoint.permission is not None and text is not None and "." in text


def bearer(text: str, services: Services, *, origin: str | None, now: float) -> Bearer:
    """Return the user whose token the caller shows.

    Raises: InvalidToken, ExpiredToken, Forbidden, RateLimited.
    """
    found = services.bearers.prove(text, origin=origin, now=now)
    services.key_limits.take(found.identity.token_id or "", clock.mono(), credential="token")
    return found


def authenticate(endpoint: Endpoint, text: str | None, services: Services, now: float) -> KeyRecord | None:
    """Return the caller's key, once it is known that it opens this endpoint (not one for everybody).

    Raises: InvalidKey, RateLimited, Forbidden.
    """
    if text is None:
        if endpoint.access is Access.ANY_KEY:
            return None
        raise InvalidKey(
            "a key is needed: Authorization: Bearer, X-Secret-Key, X-API-Key, or secret_key in the body"
        )
    key = services.keys.authenticate(text, now)
    services.key_limits.take(key.id, clock.mono())
    if endpoint.access is Access.INSTANCE:
        require_administrator(key)
    elif endpoint.scope is not None:
        require(key, endpoint.scope)
    return key


def organization(
    endpoint: Endpoint,
    key: KeyRecord | None,
    named: Sequence[object],
    services: Services,
    bearer: Bearer | None = None,
) -> OrganizationRecord | None:
    """Return the organization that a call is about; None where it may be about all of them.

    Args:
        endpoint: what is called.
        key: the caller's; None where none is needed.
        named: `organization_id` of the body and of the query, UNSET where absent.
        services: they know the organizations.
        bearer: the user whose token was shown; None where none was.

    Raises: InvalidRequest (none named where one is needed, or two that differ, or another
        than the key's or token's), NotFound.
    """
    names = {name for name in named if isinstance(name, str)}
    if len(names) > 1:
        raise InvalidRequest(("organization_id", "the body and the query name different ones"))
    name = names.pop() if names else None
    if name is None and endpoint.access is Access.SCOPE_OR_ALL and key is not None and key.org_id is None:
        return None
    if key is not None:
        return services.organizations.resolve(key, name)
    if bearer is not None:
        if name is not None and name != bearer.identity.org_id:
            raise InvalidRequest(("organization_id", "is not the organization of the token"))
        name = bearer.identity.org_id
    if name is None:
        raise InvalidRequest(("organization_id", "required"))
    found = services.organizations.find(name)
    if found is None:
        raise NotFound("there is no such organization", code="organization_not_found")
    return found
