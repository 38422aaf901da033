"""Organizations, for the instance administrator."""

from __future__ import annotations

from tokenmq.api import views
from tokenmq.api.answer import Answer, ok
from tokenmq.api.call import Call
from tokenmq.api.schemas.answers import OrganizationDeleted, OrganizationList
from tokenmq.api.schemas.requests import (
    InstancePageQuery,
    KeyOnlyBody,
    NoQuery,
    OrganizationBody,
    OrganizationPatch,
)
from tokenmq.api.unset import given
from tokenmq.errors import InvalidRequest

# Words that other programs have for "no tenant": a tenant of that name would be taken for none.
_RESERVED_NAMES = frozenset({"null", "none", "nil", "undefined", "global", "default", "system"})


async def create(call: Call[OrganizationBody, NoQuery]) -> Answer:
    """Make an organization."""
    _refuse_reserved(call.body.name)
    record = await call.services.organizations.create(
        name=call.body.name,
        settings=given(call.body.settings),
        key=call.caller(),
        now=call.now,
        trace=call.trace,
    )
    return ok(views.organization_info(record), status=201)


async def listing(call: Call[None, InstancePageQuery]) -> Answer:
    """List organizations."""
    page = call.services.organizations.list(
        key=call.caller(), limit=given(call.query.limit), cursor=given(call.query.cursor)
    )
    return ok(OrganizationList([views.organization_info(item) for item in page.items], page.next))


async def show(call: Call[None, NoQuery]) -> Answer:
    """Show an organization."""
    record = call.services.organizations.get(call.params["organization_id"], key=call.caller())
    return ok(views.organization_info(record))


async def patch(call: Call[OrganizationPatch, NoQuery]) -> Answer:
    """Change what is named."""
    name, settings = given(call.body.name), given(call.body.settings)
    if name is None and settings is None:
        raise InvalidRequest(("", "nothing to change: wanted name or settings"))
    if name is not None:
        _refuse_reserved(name)
    record = await call.services.organizations.patch(
        call.params["organization_id"],
        name=name,
        settings=settings,
        key=call.caller(),
        now=call.now,
        trace=call.trace,
    )
    return ok(views.organization_info(record))


async def delete(call: Call[KeyOnlyBody, NoQuery]) -> Answer:
    """Delete an organization with all that is its."""
    org_id = call.params["organization_id"]
    closed = await call.services.organizations.delete(
        org_id, key=call.caller(), now=call.now, trace=call.trace
    )
    return ok(OrganizationDeleted(org_id, deleted=True, sessions_closed=closed))


def _refuse_reserved(name: str) -> None:
    plain = name.strip().casefold()
    if not plain or plain in _RESERVED_NAMES or plain.startswith("$"):
        raise InvalidRequest(("name", "is a reserved word, is blank, or begins with $"))
