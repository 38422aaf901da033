"""Sessions: listed, ended one by one or all of a user."""

from __future__ import annotations

from tokenmq.api import views
from tokenmq.api.answer import Answer, ok
from tokenmq.api.call import Call
from tokenmq.api.schemas.answers import SessionDeleted, SessionList, UserTerminated
from tokenmq.api.schemas.requests import Keyed, OrganizationQuery, SessionListQuery
from tokenmq.api.unset import given
from tokenmq.services.sessions import user_of
from tokenmq.tokens.subjects import username


async def listing(call: Call[None, SessionListQuery]) -> Answer:
    """List sessions."""
    query = call.query
    page = call.services.sessions.list(
        call.about().id,
        key=call.caller(),
        user_id=given(query.user_id),
        limit=given(query.limit),
        cursor=given(query.cursor),
    )
    return ok(SessionList([views.session_info(item) for item in page.items], page.next))


async def delete(call: Call[Keyed, OrganizationQuery]) -> Answer:
    """End one session."""
    client_id = call.params["client_id"]
    await call.services.sessions.end(
        client_id, key=call.caller(), org_id=call.about().id, now=call.now, trace=call.trace
    )
    return ok(SessionDeleted(client_id, deleted=True))


async def terminate(call: Call[Keyed, OrganizationQuery]) -> Answer:
    """End all sessions of a user."""
    org_id, name = call.about().id, call.params["username"]
    count = await call.services.sessions.end_user(
        name, key=call.caller(), org_id=org_id, now=call.now, trace=call.trace
    )
    return ok(UserTerminated(username(user_of(name, org_id), org_id), count))
