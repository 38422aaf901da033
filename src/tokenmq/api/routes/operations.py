"""What everybody may ask: keys to verify with, health."""

from __future__ import annotations

from tokenmq.api.answer import JWK_SET, Answer, Headers, ok
from tokenmq.api.call import Call
from tokenmq.api.schemas.answers import Health
from tokenmq.api.schemas.requests import AnyQuery

_JWKS_HEADERS: Headers = ((b"cache-control", b"public, max-age=300"),)


async def jwks(call: Call[None, AnyQuery]) -> Answer:
    """Publish the keys that verify our tokens."""
    keys = call.services.signing.keyring.jwks(call.now)
    return ok(keys, media_type=JWK_SET, headers=_JWKS_HEADERS)


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
