"""Tokens that become others: refreshed, exchanged."""

from __future__ import annotations

from tokenmq.api import views
from tokenmq.api.answer import Answer, ok
from tokenmq.api.call import Call
from tokenmq.api.schemas.requests import AnyQuery, ExchangeBody, RefreshBody


async def refresh(call: Call[RefreshBody, AnyQuery]) -> Answer:
    """Refresh a token."""
    body = call.body
    token = await call.services.renewals.refresh(
        body.token_id, body.current_token_password, origin=call.origin, now=call.now
    )
    return ok(views.issued(token, now=call.now))


async def exchange(call: Call[ExchangeBody, AnyQuery]) -> Answer:
    """Exchange a token."""
    token = await call.services.exchange.exchange(
        call.body.token, key=call.key, organization=call.about(), origin=call.origin, now=call.now
    )
    return ok(views.issued(token, now=call.now))
