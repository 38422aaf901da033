"""Signing keys, for the instance administrator: listed, added, used, retired."""

from __future__ import annotations

from tokenmq.api import views
from tokenmq.api.answer import Answer, ok
from tokenmq.api.call import Call
from tokenmq.api.schemas.answers import SigningKeyList
from tokenmq.api.schemas.requests import InstancePageQuery, KeyOnlyBody, NoQuery, SigningKeyBody
from tokenmq.api.unset import given


async def listing(call: Call[None, InstancePageQuery]) -> Answer:
    """List signing keys."""
    page = call.services.signing_keys.list(
        key=call.caller(), limit=given(call.query.limit), cursor=given(call.query.cursor), now=call.now
    )
    return ok(SigningKeyList([views.signing_key_info(item) for item in page.items], page.next))


async def add(call: Call[SigningKeyBody, NoQuery]) -> Answer:
    """Make a signing key."""
    view = await call.services.signing_keys.add(
        given(call.body.algorithm),
        current=call.body.current,
        key=call.caller(),
        now=call.now,
        trace=call.trace,
    )
    return ok(views.signing_key_info(view), status=201)


async def use(call: Call[KeyOnlyBody, NoQuery]) -> Answer:
    """Sign with a key from now on."""
    view = await call.services.signing_keys.use(
        call.params["kid"], key=call.caller(), now=call.now, trace=call.trace
    )
    return ok(views.signing_key_info(view))


async def retire(call: Call[KeyOnlyBody, NoQuery]) -> Answer:
    """Take a key out of use."""
    view = await call.services.signing_keys.retire(
        call.params["kid"], key=call.caller(), now=call.now, trace=call.trace
    )
    return ok(views.signing_key_info(view))
