"""Who is present: on a topic or filter, or one user."""

from __future__ import annotations

from msgspec import UNSET

from tokenmq.api.answer import Answer, ok
from tokenmq.api.call import Call
from tokenmq.api.schemas.presence import PresenceList, PresenceQuery, PresentUser
from tokenmq.api.schemas.requests import PageQuery
from tokenmq.api.unset import given
from tokenmq.services.bearers import Bearer
from tokenmq.services.presence import Present, shown_topics
from tokenmq.timestamps import rfc3339
from tokenmq.tokens.records import KeyRecord


async def on_topic(call: Call[None, PresenceQuery]) -> Answer:
    """List who is present on the topics of a filter."""
    caller, query = call.bearer or call.caller(), call.query
    found = call.services.presence.on(
        query.topic,
        caller=caller,
        org_id=call.about().id,
        limit=given(query.limit),
        cursor=given(query.cursor),
    )
    return _shown(found, caller)


async def of_user(call: Call[None, PageQuery]) -> Answer:
    """List where one user is connected."""
    caller, query = call.bearer or call.caller(), call.query
    found = call.services.presence.of(
        call.params["username"],
        caller=caller,
        org_id=call.about().id,
        limit=given(query.limit),
        cursor=given(query.cursor),
    )
    return _shown(found, caller)


def _shown(found: Present, caller: KeyRecord | Bearer) -> Answer:
    users = [
        PresentUser(
            view.username,
            view.name,
            rfc3339(view.since),
            shown_topics(view, caller),
            UNSET if found.is_redacted else view.client_id,
            UNSET if found.is_redacted else view.address,
        )
        for view in found.page.items
    ]
    return ok(PresenceList(found.online_count, found.count, users, found.page.next))
