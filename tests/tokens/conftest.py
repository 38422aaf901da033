"""Values that the tests of the tokens package share; all of them immutable or functions."""

import dataclasses
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tokenmq.access.grants import Grant
from tokenmq.errors import InvalidToken
from tokenmq.tokens import base64url, jwt, keyring
from tokenmq.tokens.keyring import Keyring, SigningKey
from tokenmq.tokens.records import KeyKind, KeyRecord

ORG = "org_k7xm4pqr2n5t"
NOW = 1_800_000_000

CLAIMS: dict[str, Any] = {
    "iss": "tokenmq",
    "aud": f"mqtt:{ORG}",
    "sub": "user-123",
    "org": ORG,
    "iat": NOW,
    "nbf": NOW,
    "exp": NOW + 3_600,
    "jti": "AAECAwQFBgcICQoLDA0ODw",
    "fam": "tok_aaaqeayeaudaocajbifqydiob4",
    "gen": 0,
    "grants": [{"permissions": ["publish", "subscribe"], "topics": ["chat/#"]}],
}


@pytest.fixture(scope="session")
def here() -> SimpleNamespace:
    """Where and when tokens are shown: `org`, `now`, `issuer`, and claims that fit."""
    return SimpleNamespace(org=ORG, now=NOW, issuer="tokenmq", claims=CLAIMS)


@pytest.fixture(scope="session")
def signing_keys() -> dict[str, SigningKey]:
    return {name: keyring.generate(name, current_from=0) for name in ("ES256", "EdDSA", "RS256")}


@pytest.fixture(scope="session")
def ring(signing_keys: dict[str, SigningKey]) -> Keyring:
    return Keyring(signing_keys.values())


@pytest.fixture(scope="session", params=["ES256", "EdDSA", "RS256"])
def signing_key(request: pytest.FixtureRequest, signing_keys: dict[str, SigningKey]) -> SigningKey:
    return signing_keys[request.param]


@pytest.fixture(scope="session")
def es256(signing_keys: dict[str, SigningKey]) -> SigningKey:
    return signing_keys["ES256"]


@pytest.fixture(scope="session")
def forge(es256: SigningKey) -> Callable[..., str]:
    """Sign anything with a key of ours: `forge(claims, header=None, key=es256)`.

    Claims and header may be JSON values or the bytes themselves.
    """

    def sign(claims: Any, header: Any = None, key: SigningKey = es256) -> str:
        if header is None:
            header = {"typ": "at+jwt", "alg": key.algorithm, "kid": key.kid}
        message = b".".join(base64url.encode(as_bytes(part)) for part in (header, claims))
        return (message + b"." + base64url.encode(key.signer.sign(message))).decode()

    def as_bytes(part: Any) -> bytes:
        return part if isinstance(part, bytes) else json.dumps(part, separators=(",", ":")).encode()

    return sign


@pytest.fixture(scope="session")
def secret_key() -> KeyRecord:
    return KeyRecord(
        id="abcdefgh",
        org_id=ORG,
        kind=KeyKind.SECRET,
        name="backend",
        digest=bytes(32),
        hint="x7m4",
        scopes=(),
        grants=(),
        created_at=NOW,
    )


@pytest.fixture(scope="session")
def restricted_key(secret_key: KeyRecord) -> Callable[..., KeyRecord]:
    """Make a restricted key: `restricted_key(Grant(...), ...)`."""

    def make(*grants: Grant) -> KeyRecord:
        return dataclasses.replace(
            secret_key, kind=KeyKind.RESTRICTED, scopes=("tokens:create",), grants=grants
        )

    return make


@pytest.fixture(scope="session")
def refused(ring, here):
    """Assert that a token is refused, not as expired, for the reason named."""

    def check(token, because, *, keys=ring, now=here.now, org_id=None):
        with pytest.raises(InvalidToken, match=because) as refusal:
            jwt.verify(token, keys, issuer=here.issuer, now=now, org_id=org_id)
        assert type(refusal.value) is InvalidToken

    return check


@pytest.fixture(scope="session")
def verified(ring, here):
    def verify(token, *, now=here.now, org_id=None):
        return jwt.verify(token, ring, issuer=here.issuer, now=now, org_id=org_id)

    return verify
