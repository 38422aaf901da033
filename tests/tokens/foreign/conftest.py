"""Identity providers of every kind, with keys, and tokens as they sign them."""

import dataclasses
import hmac
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tokenmq.access.grants import Grant
from tokenmq.access.permission import Permission
from tokenmq.errors import InvalidToken
from tokenmq.tokens import algorithms, base64url, jwk
from tokenmq.tokens.foreign import kinds, token
from tokenmq.tokens.foreign.configuration import Configuration, MappingRule, ProviderKind, ProviderRecord
from tokenmq.tokens.foreign.keys import ForeignKey, read_key_set, shared_secret

NOW = 1_800_000_000
SECRET = b"a-shared-secret-of-more-than-32-bytes"
TIMES = {"iat": NOW - 60, "exp": NOW + 3_600}
ADMIN = MappingRule("role", "admin", (Grant((Permission.PUBLISH,), ("admin/#",)),))


@dataclasses.dataclass(frozen=True)
class Signer:
    """A key as a provider has it: it signs, and its public part stands in a key set."""

    algorithm: str
    kid: str
    sign: Callable[[bytes], bytes]
    public: dict[str, Any] | None

    def token(self, claims: Any, header: Any = None) -> str:
        """Sign claims; `header` in place of the usual one, both as values or as bytes."""
        usual = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT"}
        message = b".".join(base64url.encode(as_bytes(one)) for one in (header or usual, claims))
        return (message + b"." + base64url.encode(self.sign(message))).decode()


def as_bytes(part: Any) -> bytes:
    return part if isinstance(part, bytes) else json.dumps(part, separators=(",", ":")).encode()


def new_signer(algorithm: str, kid: str) -> Signer:
    private = algorithms.generate(algorithm)
    public = {**jwk.write(private.public_key()), "kid": kid}
    return Signer(algorithm, kid, algorithms.signer(private).sign, public)


@pytest.fixture(scope="session")
def make_signer() -> Callable[[str, str], Signer]:
    return new_signer


@pytest.fixture(scope="session")
def signers() -> dict[str, Signer]:
    """One key of each algorithm, the shared secret among them."""
    found = {name: new_signer(name, f"{name}-key") for name in algorithms.ALGORITHMS}
    found["HS256"] = Signer("HS256", "shared", lambda message: hmac_of(SECRET, message), None)
    return found


def hmac_of(secret: bytes, message: bytes) -> bytes:
    return hmac.digest(secret, message, "sha256")


@pytest.fixture(scope="session")
def hmac_signer() -> Callable[..., Signer]:
    """Sign HS256 with any bytes."""
    return lambda secret, kid="shared": Signer("HS256", kid, lambda message: hmac_of(secret, message), None)


@pytest.fixture(scope="session")
def foreign_keys(signers: dict[str, Signer]) -> dict[str, ForeignKey]:
    public = [signer.public for signer in signers.values() if signer.public is not None]
    held = read_key_set(as_bytes({"keys": public})).keys
    public_keys = {name: held[f"{name}-key"] for name in algorithms.ALGORITHMS}
    return {**public_keys, "HS256": shared_secret(SECRET)}


@dataclasses.dataclass(frozen=True)
class Idp:
    """A provider of one kind: how it is set up, and what a good token of it says."""

    kind: ProviderKind
    configuration: Configuration
    claims: dict[str, Any]

    @property
    def issuer(self) -> str:
        return kinds.issuer_of(self.kind, self.configuration)

    def record(self, **changes: Any) -> ProviderRecord:
        configuration = msgspec.structs.replace(self.configuration, **changes)
        return ProviderRecord(
            "idp_a", "org_k7xm4pqr2n5t", self.kind, "ours", configuration, None, enabled=True, created_at=NOW
        )


IDPS = {
    "supabase": Idp(
        ProviderKind.SUPABASE,
        Configuration(project_url="https://abc.supabase.example"),
        {
            "iss": "https://abc.supabase.example/auth/v1",
            "aud": "authenticated",
            "role": "authenticated",
            "sub": "8f14e45f",
            "email": "ann@example.org",
            "is_anonymous": False,
            "app_metadata": {"role": "admin", "teams": ["red", "blue"]},
            "user_metadata": {"role": "admin"},
            **TIMES,
        },
    ),
    "firebase": Idp(
        ProviderKind.FIREBASE,
        Configuration(project_id="our-project"),
        {
            "iss": "https://securetoken.google.com/our-project",
            "aud": "our-project",
            "sub": "fire-ann",
            "auth_time": NOW - 100,
            "firebase": {"sign_in_provider": "password"},
            "email": "ann@example.org",
            "email_verified": True,
            **TIMES,
        },
    ),
    "auth0": Idp(
        ProviderKind.AUTH0,
        Configuration(domain="tenant.auth0.example", audience=("https://api.example.org",)),
        {
            "iss": "https://tenant.auth0.example/",
            "aud": ["https://api.example.org", "https://tenant.auth0.example/userinfo"],
            "sub": "auth0|ann",
            "azp": "app",
            **TIMES,
        },
    ),
    "clerk": Idp(
        ProviderKind.CLERK,
        Configuration(
            domains=("dev.clerk.example", "clerk.example.org"),
            authorized_parties=("https://app.example.org",),
        ),
        {
            "iss": "https://dev.clerk.example",
            "sub": "user_ann",
            "azp": "https://app.example.org",
            "sts": "active",
            **TIMES,
        },
    ),
    "oidc": Idp(
        ProviderKind.OIDC,
        Configuration(issuer="https://login.example.org", audience=("web", "mobile")),
        {"iss": "https://login.example.org", "aud": "web", "sub": "ann", "role": "admin", **TIMES},
    ),
}


@pytest.fixture(scope="session")
def idps() -> dict[str, Idp]:
    return IDPS


@pytest.fixture(params=IDPS)
def idp(request: pytest.FixtureRequest) -> Idp:
    return IDPS[request.param]


@pytest.fixture(scope="session")
def now() -> int:
    return NOW


@pytest.fixture(scope="session")
def admin_rule() -> MappingRule:
    return ADMIN


@pytest.fixture(scope="session")
def believe(foreign_keys):
    """Verify a token with a provider's rules: `believe(text, idp, key=…, now=…, **configuration)`."""

    def verify(text, idp, *, key="ES256", now=NOW, issuer=None, **changes):
        return token.verify(
            text,
            foreign_keys[key] if isinstance(key, str) else key,
            kind=idp.kind,
            configuration=msgspec.structs.replace(idp.configuration, **changes),
            issuer=issuer or idp.issuer,
            now=now,
        )

    return verify


@pytest.fixture(scope="session")
def refused(believe):
    """Assert that a token is refused, not as expired, for the reason named."""

    def check(text, idp, because, **changes):
        with pytest.raises(InvalidToken, match=because) as refusal:
            believe(text, idp, **changes)
        assert type(refusal.value) is InvalidToken

    return check
