"""Identity providers: listed for everybody, set up, changed, deleted."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from tokenmq.api import views
from tokenmq.api.answer import Answer, ok
from tokenmq.api.call import Call
from tokenmq.api.schemas.answers import ProviderDeleted, ProviderList
from tokenmq.api.schemas.requests import (
    Keyed,
    OrganizationQuery,
    ProviderBody,
    ProviderPatch,
    ProvidersQuery,
)
from tokenmq.api.unset import given
from tokenmq.errors import InvalidRequest
from tokenmq.services.keys import opens
from tokenmq.services.providers import ProviderRequest
from tokenmq.tokens.foreign.configuration import Configuration, ProviderKind


async def listing(call: Call[None, ProvidersQuery]) -> Answer:
    """List the identity providers of an organization."""
    whole = call.key is not None and opens(call.key, "providers")
    found = call.services.providers.list(call.about().id)
    return ok(ProviderList([views.provider_info(record, whole=whole) for record in found]))


async def create(call: Call[ProviderBody, OrganizationQuery]) -> Answer:
    """Set a provider up."""
    record = await call.services.providers.create(
        ProviderKind(call.body.provider),
        _asked(call.body, call.body.name),
        key=call.caller(),
        org_id=call.about().id,
        now=call.now,
        trace=call.trace,
    )
    return ok(views.provider_info(record, whole=True), status=201)


async def patch(call: Call[ProviderPatch, OrganizationQuery]) -> Answer:
    """Change what is named."""
    request = _asked(call.body, given(call.body.name))
    if request == ProviderRequest(accept_open_policy=request.accept_open_policy):
        raise InvalidRequest(("", "nothing to change"))
    record = await call.services.providers.patch(
        call.params["provider_id"],
        request,
        key=call.caller(),
        org_id=call.about().id,
        now=call.now,
        trace=call.trace,
    )
    return ok(views.provider_info(record, whole=True))


async def delete(call: Call[Keyed, OrganizationQuery]) -> Answer:
    """Delete a provider."""
    provider_id = call.params["provider_id"]
    await call.services.providers.delete(
        provider_id, key=call.caller(), org_id=call.about().id, now=call.now, trace=call.trace
    )
    return ok(ProviderDeleted(provider_id, deleted=True))


def _asked(body: ProviderBody | ProviderPatch, name: str | None) -> ProviderRequest:
    configuration: dict[str, Any] = {
        field: msgspec.to_builtins(value)
        for field in Configuration.__struct_fields__
        if (value := getattr(body, field)) is not UNSET
    }
    if isinstance(configuration.get("audience"), str):
        configuration["audience"] = [configuration["audience"]]
    return ProviderRequest(
        name=name,
        configuration=configuration,
        secret=given(body.jwt_secret),
        drops_secret=body.jwt_secret is None,
        enabled=given(body.enabled),
        accept_open_policy=body.accept_open_policy,
    )
