"""Tokens that become others: refreshed, exchanged."""

from __future__ import annotations

from tokenmq.api import oauth, views
from tokenmq.api.answer import Answer, ok
from tokenmq.api.call import Call
from tokenmq.api.schemas.requests import AnyQuery, ExchangeBody, ExchangeForm, RefreshBody
from tokenmq.api.unset import given


async def refresh(call: Call[RefreshBody, AnyQuery]) -> Answer:
    """Refresh a token."""
    body = call.body
    token = await call.services.renewals.refresh(
        body.token_id, body.current_token_password, origin=call.origin, now=call.now, trace=call.trace
    )
    return ok(views.issued(token, now=call.now))


async def exchange(call: Call[ExchangeBody | ExchangeForm, AnyQuery]) -> Answer:
    """Exchange a token."""
    body, form = call.body, call.body if isinstance(call.body, ExchangeForm) else None
    if form is not None:
        oauth.check_audience(form, call.about().id)
    token = await call.services.exchange.exchange(
        body.subject_token if isinstance(body, ExchangeForm) else body.token,
        key=call.key,
        organization=call.about(),
        origin=call.origin,
        now=call.now,
        trace=call.trace,
        provider=given(body.provider),
        integration_id=given(body.integration_id),
        ttl_seconds=given(body.ttl),
    )
    return ok(
        views.exchanged(token, now=call.now, issued_type=None if form is None else oauth.issued_type(form))
    )
