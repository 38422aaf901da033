"""What everybody may ask: keys to verify with, providers, health."""

from __future__ import annotations

from tokenmq.api.answer import JWK_SET, Answer, Headers, ok
from tokenmq.api.call import Call
from tokenmq.api.schemas.answers import Health, ProviderList
from tokenmq.api.schemas.requests import AnyQuery, ProvidersQuery

_JWKS_HEADERS: Headers = ((b"cache-control", b"public, max-age=300"),)


async def jwks(call: Call[None, AnyQuery]) -> Answer:
    """Publish the keys that verify our tokens."""
    keys = call.services.signing.keyring.jwks(call.now)
    return ok(keys, media_type=JWK_SET, headers=_JWKS_HEADERS)


async def providers(call: Call[None, ProvidersQuery]) -> Answer:
    """List the identity providers of an organization: tokens of keys alone, so none."""
    call.about()
    return ok(ProviderList([]))


async def healthz(_call: Call[None, AnyQuery]) -> Answer:
    """Tell that the process answers."""
    return ok(Health("ok"))


async def readyz(call: Call[None, AnyQuery]) -> Answer:
    """Tell that a token could be made now."""
    await call.services.check_ready()
    return ok(Health("ok"))


async def openapi(call: Call[None, AnyQuery]) -> Answer:
    """Describe all endpoints."""
    return Answer(call.document)
