"""The bodies and queries of the history, as `requests` and `answers` have those of everything else."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tokenmq.access.recording import HistoryRule
from tokenmq.api.schemas.answers import UtcTime
from tokenmq.api.schemas.requests import Keyed, Label, OrganizationQuery, PageQuery, Time
from tokenmq.services.history import MAX_AGE_SECONDS, MAX_MESSAGES, MAX_RULES
from tokenmq.tokens.claims import MAX_TIME

# A query may give a time either way.
Moment = Time | Annotated[float, Meta(ge=0, lt=MAX_TIME, description="Unix seconds")]


class HistoryQuery(PageQuery, kw_only=True):
    """GET /v2/history."""

    topic: Annotated[str, Meta(min_length=1, description="A topic or a topic filter")]
    since: Moment | UnsetType = UNSET
    until: Moment | UnsetType = UNSET
    after: Annotated[int, Meta(ge=0, lt=2**53, description="Only ids greater than this")] = 0
    order: Literal["asc", "desc"] = "desc"


class HistoryEraseQuery(OrganizationQuery, kw_only=True):
    """DELETE /v2/history: exactly one of topic and user_id."""

    topic: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET
    user_id: Label | UnsetType = UNSET


class HistoryRuleBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One rule of the history."""

    topic: Annotated[str, Meta(min_length=1, description="A topic filter")]
    max_age: Annotated[int, Meta(ge=1, le=MAX_AGE_SECONDS, description="Seconds")]
    max_messages: Annotated[int, Meta(ge=1, le=MAX_MESSAGES, description="Of each topic")]
    durable: bool = False


class HistoryRulesBody(Keyed, kw_only=True):
    """PUT /v2/history/rules; the first rule that matches a topic holds, without rules nothing is recorded."""

    rules: Annotated[list[HistoryRuleBody], Meta(max_length=MAX_RULES)]


class HistoryMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded message: `payload` where it is UTF-8, else `payload_base64`."""

    id: int
    topic: str
    payload: str | UnsetType = UNSET
    payload_base64: str | UnsetType = UNSET
    qos: int
    retain: bool
    user_id: str
    at: UtcTime


class HistoryList(msgspec.Struct, frozen=True):
    """One page of recorded messages; `recorded` tells whether any rule touches the filter."""

    recorded: bool
    messages: list[HistoryMessage]
    next: str | None


class HistoryErased(msgspec.Struct, frozen=True):
    """How many recorded messages are gone."""

    erased: int


class HistoryRulesAnswer(msgspec.Struct, frozen=True):
    """What is recorded; the first rule that matches a topic holds."""

    rules: tuple[HistoryRule, ...]
