"""Messages without a connection: published by a key; retained ones listed and removed."""

from __future__ import annotations

import msgspec

from tokenmq.api import views
from tokenmq.api.answer import Answer, ok
from tokenmq.api.call import Call
from tokenmq.api.schemas.answers import Published, RetainedDeleted, RetainedList
from tokenmq.api.schemas.requests import Keyed, OrganizationQuery, PublishBody, RetainedQuery
from tokenmq.api.unset import given


async def publish(call: Call[PublishBody, OrganizationQuery]) -> Answer:
    """Publish a message."""
    body = call.body
    payload = body.payload.encode() if isinstance(body.payload, str) else msgspec.json.encode(body.payload)
    message_id = await call.services.messages.publish(
        body.topic, payload, qos=body.qos, retain=body.retain, key=call.caller(), organization=call.about()
    )
    return ok(Published(success=True, message_id=message_id))


async def retained(call: Call[None, RetainedQuery]) -> Answer:
    """List retained messages."""
    query = call.query
    page = await call.services.messages.retained(
        query.topic,
        key=call.caller(),
        org_id=call.about().id,
        limit=given(query.limit),
        cursor=given(query.cursor),
    )
    return ok(RetainedList([views.retained_info(item) for item in page.items], len(page.items), page.next))


async def clear_retained(call: Call[Keyed, OrganizationQuery]) -> Answer:
    """Remove the retained message of a topic."""
    topic = call.params["topic"]
    await call.services.messages.clear_retained(
        topic, key=call.caller(), org_id=call.about().id, now=call.now, trace=call.trace
    )
    return ok(RetainedDeleted(deleted=True, topic=topic))
