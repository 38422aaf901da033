"""The history: read, erased, and what is recorded."""

from __future__ import annotations

from datetime import datetime

from msgspec import UnsetType

from tokenmq.access.recording import HistoryRule
from tokenmq.api import views
from tokenmq.api.answer import Answer, ok
from tokenmq.api.call import Call
from tokenmq.api.schemas.history import (
    HistoryErased,
    HistoryEraseQuery,
    HistoryList,
    HistoryQuery,
    HistoryRulesAnswer,
    HistoryRulesBody,
)
from tokenmq.api.schemas.requests import Keyed, OrganizationQuery
from tokenmq.api.unset import given
from tokenmq.services.history import Reading


async def read(call: Call[None, HistoryQuery]) -> Answer:
    """Read recorded messages."""
    query = call.query
    reading = Reading(
        query.topic,
        since=_seconds(query.since),
        until=_seconds(query.until),
        after=query.after,
        order=query.order,
        limit=given(query.limit),
        cursor=given(query.cursor),
    )
    page = await call.services.history.read(
        reading, reader=call.bearer or call.caller(), org_id=call.about().id, now=call.now
    )
    messages = [views.history_message(record) for record in page.messages]
    return ok(HistoryList(page.recorded, messages, page.next))


async def erase(call: Call[Keyed, HistoryEraseQuery]) -> Answer:
    """Erase recorded messages."""
    erased = await call.services.history.erase(
        topic=given(call.query.topic),
        user_id=given(call.query.user_id),
        key=call.caller(),
        org_id=call.about().id,
        now=call.now,
        trace=call.trace,
    )
    return ok(HistoryErased(erased))


async def rules(call: Call[None, OrganizationQuery]) -> Answer:
    """Show what is recorded."""
    found = call.services.history.rules(key=call.caller(), org_id=call.about().id)
    return ok(HistoryRulesAnswer(found.rules))


async def put_rules(call: Call[HistoryRulesBody, OrganizationQuery]) -> Answer:
    """Say what is recorded."""
    asked = [
        HistoryRule(rule.topic, rule.max_age, rule.max_messages, rule.durable) for rule in call.body.rules
    ]
    found = await call.services.history.put_rules(
        asked, key=call.caller(), org_id=call.about().id, now=call.now, trace=call.trace
    )
    return ok(HistoryRulesAnswer(found.rules))


def _seconds(moment: datetime | float | UnsetType) -> float | None:
    if isinstance(moment, UnsetType):
        return None
    return moment.timestamp() if isinstance(moment, datetime) else moment
