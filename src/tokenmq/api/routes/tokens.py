"""Tokens: made, listed, looked at, introspected, revoked."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from msgspec import UNSET

from tokenmq.access.grants import Grant
from tokenmq.api import views
from tokenmq.api.answer import Answer, ok
from tokenmq.api.call import Call
from tokenmq.api.schemas.answers import TokenList
from tokenmq.api.schemas.requests import (
    IntrospectBody,
    Keyed,
    OrganizationQuery,
    RevokeBody,
    TokenBody,
    TokenListQuery,
)
from tokenmq.api.unset import given
from tokenmq.services.tokens import IdempotencyKey, Replacing, RevokeRequest
from tokenmq.tokens.minting import MintRequest

# The wire contract: on this path alone a new token leaves earlier ones as they are.
_PATH_THAT_KEEPS = "/v2/tokens"


async def create(call: Call[TokenBody, OrganizationQuery]) -> Answer:
    """Make a token."""
    body = call.body
    replace = call.path != _PATH_THAT_KEEPS if body.replace_existing is UNSET else body.replace_existing
    token = await call.services.tokens.issue(
        _asked(body),
        key=call.caller(),
        organization=call.about(),
        replacing=Replacing(families=replace, sessions=body.replace_sessions),
        idempotency=_idempotency(call),
        now=call.now,
        trace=call.trace,
    )
    return ok(views.issued(token, now=call.now))


async def listing(call: Call[None, TokenListQuery]) -> Answer:
    """List families."""
    query = call.query
    page = await call.services.tokens.list(
        key=call.caller(),
        org_id=call.about().id,
        user_id=given(query.user_id),
        status=given(query.status),
        limit=given(query.limit),
        cursor=given(query.cursor),
        now=call.now,
    )
    return ok(TokenList([views.token_info(item) for item in page.items], page.next))


async def show(call: Call[None, OrganizationQuery]) -> Answer:
    """Show one family."""
    token_id = call.params["token_id"]
    view = await call.services.tokens.get(token_id, key=call.caller(), org_id=call.about().id, now=call.now)
    return ok(views.token_info(view))


async def delete(call: Call[Keyed, OrganizationQuery]) -> Answer:
    """Revoke one family."""
    token_id = call.params["token_id"]
    done = await call.services.tokens.delete(
        token_id, key=call.caller(), org_id=call.about().id, now=call.now, trace=call.trace
    )
    return ok(views.revoked(done))


async def revoke(call: Call[RevokeBody, OrganizationQuery]) -> Answer:
    """Revoke what matches."""
    body = call.body
    before = given(body.issued_before)
    request = RevokeRequest(
        token_id=given(body.token_id),
        user_id=given(body.user_id),
        client_id=given(body.client_id),
        key_id=given(body.key_id),
        all=body.all is True,
        issued_before=None if before is None else before.timestamp(),
        reason=given(body.reason),
        keep_retained=body.keep_retained,
    )
    done = await call.services.tokens.revoke(
        request, key=call.caller(), org_id=call.about().id, now=call.now, trace=call.trace
    )
    return ok(views.revoked(done))


async def introspect(call: Call[IntrospectBody, OrganizationQuery]) -> Answer:
    """Tell what a token is good for."""
    found = call.services.tokens.introspect(
        call.body.token, key=call.caller(), org_id=call.about().id, now=call.now
    )
    return ok(views.introspection(found))


def _asked(body: TokenBody) -> MintRequest:
    grants = body.grants
    return MintRequest(
        user_id=given(body.user_id),
        user_email=given(body.user_email),
        permissions=None if body.permissions is UNSET else tuple(body.permissions),
        topics=None if body.topics is UNSET else tuple(body.topics),
        grants=None
        if grants is UNSET
        else tuple(Grant(tuple(g.permissions), tuple(g.topics)) for g in grants),
        ttl_seconds=given(body.ttl),
        client_id=given(body.client_id),
        renewable=body.renewable,
        integration_id=given(body.integration_id),
        metadata={} if body.metadata is UNSET else body.metadata,
    )


def _idempotency(call: Call[Any, Any]) -> IdempotencyKey | None:
    if call.idempotency_key is None:
        return None
    # The key may stand in the body or in a header: that makes no other request of it.
    asked = {name: value for name, value in call.tree.items() if name != "secret_key"}
    digest = hashlib.sha256(msgspec.json.encode(asked, order="sorted")).digest()
    return IdempotencyKey(value=call.idempotency_key, path=call.path, digest=digest)
