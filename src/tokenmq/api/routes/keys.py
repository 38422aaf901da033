"""Servers' keys: made, listed, deleted."""

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET

from tokenmq.api import views
from tokenmq.api.answer import Answer, ok
from tokenmq.api.call import Call
from tokenmq.api.schemas.answers import KeyDeleted, KeyList
from tokenmq.api.schemas.requests import KeyBody, KeyDeleteBody, KeyDeleteQuery, OrganizationQuery, PageQuery
from tokenmq.api.unset import given
from tokenmq.errors import InvalidRequest
from tokenmq.services.keys import KeyRequest

# The year 10000: no time of an answer may reach it (RFC 3339 §5.6 has four digits).
_END_OF_TIME = 253_402_300_800


async def create(call: Call[KeyBody, OrganizationQuery]) -> Answer:
    """Make a key."""
    body = call.body
    request = KeyRequest(
        kind=body.kind,
        name=body.name,
        scopes=None if body.scopes is UNSET else tuple(body.scopes),
        permissions=None if body.permissions is UNSET else tuple(body.permissions),
        topics=None if body.topics is UNSET else tuple(body.topics),
        expires_at=_seconds(given(body.expires_at)),
        expires_at_given=body.expires_at is not UNSET,
    )
    created = await call.services.keys.create(
        request, key=call.caller(), org_id=call.about().id, now=call.now, trace=call.trace
    )
    return ok(views.new_key(created), status=201)


async def listing(call: Call[None, PageQuery]) -> Answer:
    """List keys, masked."""
    query = call.query
    page = call.services.keys.list(
        call.about().id, key=call.caller(), limit=given(query.limit), cursor=given(query.cursor)
    )
    return ok(KeyList([views.key_info(item) for item in page.items], page.next))


async def delete(call: Call[KeyDeleteBody, KeyDeleteQuery]) -> Answer:
    """Delete a key, and revoke what it issued if asked."""
    wishes = {wish for wish in (call.body.revoke_tokens, call.query.revoke_tokens) if wish is not UNSET}
    if len(wishes) > 1:
        raise InvalidRequest(("revoke_tokens", "the body and the query differ"))
    key_id = call.params["key_id"]
    done = await call.services.keys.delete(
        key_id,
        key=call.caller(),
        org_id=call.about().id,
        revoke_tokens=True in wishes,
        now=call.now,
        trace=call.trace,
    )
    return ok(KeyDeleted(key_id, deleted=True, revoked=done.revoked, sessions_closed=done.sessions_closed))


def _seconds(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    seconds = moment.timestamp()
    if seconds >= _END_OF_TIME:
        raise InvalidRequest(("expires_at", "is after the year 9999"))
    return int(seconds)
