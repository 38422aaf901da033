"""Messages without a connection: published by a key, and what is retained looked at and removed."""

from __future__ import annotations

import asyncio
import hashlib
import os
from heapq import nsmallest

from tokenmq.broker.refusals import Refusal, Why
from tokenmq.errors import (
    Conflict,
    Forbidden,
    InvalidKey,
    InvalidRequest,
    InvalidTopic,
    NotFound,
    TokenmqError,
    Unavailable,
)
from tokenmq.services.auditing import NO_TRACE, Action, Trace, entry, of_key
from tokenmq.services.broker_views import RetainedView
from tokenmq.services.keys import authorise
from tokenmq.services.live import Door
from tokenmq.services.paging import Page, Position, check_limit, page_of, read_cursor
from tokenmq.services.servers import server_identity
from tokenmq.stores.audit import AuditStore
from tokenmq.tokens import base64url, ids
from tokenmq.tokens.records import KeyRecord, OrganizationRecord
from tokenmq.topics.filter import check_filter
from tokenmq.topics.name import check_name

_PUBLISH = "publish"
_RETAINED = "retained"

# Prefixes of topics that are looked at before others have their turn: some milliseconds.
_TURN = 2_000
# Of a topic's digest: no two of an organization have the same.
_DIGEST_BYTES = 16


class Messages:
    """What goes into the running broker, and what it retains."""

    def __init__(self, door: Door, trail: AuditStore) -> None:
        self._door = door
        self._trail = trail

    async def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int,
        retain: bool,
        key: KeyRecord,
        organization: OrganizationRecord,
    ) -> str:
        """Publish a message in the name of a key; return its id.

        It returns when the message is kept where a receiver or `retain` asks for that. That
        nobody receives it is no error.

        Raises: Forbidden (scope, rights of the key), NotFound, InvalidRequest (topic, size),
            Conflict (the organization's quota), InvalidKey (deleted meanwhile), Unavailable.
        """
        authorise(key, _PUBLISH, organization.id)
        try:
            check_name(topic)
        except InvalidTopic as error:
            raise InvalidRequest(("topic", error.reason)) from None
        publisher = server_identity(key, organization.id, organization.settings)
        refusal = await self._door.live.publish(publisher, topic, payload, qos=qos, retain=retain)
        if refusal is not None:
            raise _error(refusal)
        return ids.new_message_id(os.urandom(ids.MESSAGE_ID_ENTROPY))

    async def retained(
        self, topic_filter: str, *, key: KeyRecord, org_id: str, limit: int | None, cursor: str | None
    ) -> Page[RetainedView]:
        """Return the retained messages on the topics of a filter, the one left there first first.

        Raises: Forbidden, NotFound, InvalidRequest (filter, limit or cursor).
        """
        authorise(key, _RETAINED, org_id)
        try:
            check_filter(topic_filter)
        except InvalidTopic as error:
            raise InvalidRequest(("topic", error.reason)) from None
        size = check_limit(limit)
        listing = ("retained", org_id, topic_filter)
        after = read_cursor(listing, cursor)
        found: list[tuple[Position, RetainedView]] = []
        for turn, view in enumerate(self._door.live.retained(org_id, topic_filter), 1):
            if view is not None and (after is None or _position(view) > after):
                found.append((_position(view), view))
            if turn % _TURN == 0:
                await asyncio.sleep(0)
        page = [view for _, view in nsmallest(size + 1, found, key=_first)]
        return page_of(page, size, listing, _position)

    async def clear_retained(
        self, topic: str, *, key: KeyRecord, org_id: str, now: float, trace: Trace = NO_TRACE
    ) -> None:
        """Remove the retained message of a topic; durable before it returns.

        Raises: Forbidden, NotFound (also: the topic has none), NotKept.
        """
        authorise(key, _RETAINED, org_id)
        if not await self._door.live.clear_retained(org_id, topic):
            raise NotFound("the topic has no retained message")
        about = f"topic:{topic}"
        told = entry(Action.RETAINED_DELETED, about, actor=of_key(key), org_id=org_id, now=now, trace=trace)
        self._trail.note((told,))


def _position(view: RetainedView) -> Position:
    """Return the place of a message in lists: a digest of the topic, for that may be as long as it likes."""
    digest = hashlib.sha256(view.topic.encode()).digest()[:_DIGEST_BYTES]
    return int(view.stored_at), base64url.encode(digest).decode("ascii")


def _first(found: tuple[Position, RetainedView]) -> Position:
    return found[0]


def _error(refusal: Refusal) -> TokenmqError:
    """Return what a refusal of the core is to a caller."""
    if refusal.why is Why.TOPIC:
        return InvalidRequest(("topic", refusal.text))
    if refusal.why is Why.SIZE:
        return InvalidRequest(("payload", refusal.text))
    if refusal.why is Why.QUOTA:
        return Conflict(refusal.text)
    if refusal.why is Why.STORE:
        return Unavailable(refusal.text)
    if refusal.why is Why.REVOKED:
        return InvalidKey("the key is not known")
    return Forbidden(refusal.text)
