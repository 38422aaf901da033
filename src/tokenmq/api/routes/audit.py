"""The audit trail: listed, verified."""

from __future__ import annotations

from datetime import datetime

from tokenmq.api import views
from tokenmq.api.answer import Answer, ok
from tokenmq.api.call import Call
from tokenmq.api.schemas.answers import AuditList
from tokenmq.api.schemas.requests import AuditCheckQuery, AuditQuery
from tokenmq.api.unset import given
from tokenmq.services.audit import Filters


async def listing(call: Call[None, AuditQuery]) -> Answer:
    """List rows."""
    query = call.query
    filters = Filters(
        action=given(query.action),
        actor=given(query.actor),
        object=given(query.object),
        user_id=given(query.user_id),
        since=_seconds(given(query.since)),
        until=_seconds(given(query.until)),
    )
    page = await call.services.audit.list(
        filters,
        key=call.caller(),
        org_id=None if call.organization is None else call.organization.id,
        limit=given(query.limit),
        cursor=given(query.cursor),
    )
    return ok(AuditList([views.audit_row(told) for told in page.items], page.next))


async def verify(call: Call[None, AuditCheckQuery]) -> Answer:
    """Verify the next part of the chain."""
    verified = await call.services.audit.verify(key=call.caller(), cursor=given(call.query.cursor))
    return ok(views.audit_check(verified))


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())
