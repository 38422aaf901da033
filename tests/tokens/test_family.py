import dataclasses

from tokenmq.access.policy import STARTING_POLICY
from tokenmq.tokens import minting
from tokenmq.tokens.family import claims_of, found, is_extendable
from tokenmq.tokens.minting import MintRequest
from tokenmq.tokens.records import FamilyRecord, OrganizationSettings

REQUEST = MintRequest(
    user_id="u",
    user_email="u@example.com",
    topics=("chat/#",),
    client_id="phone",
    renewable=False,
    integration_id="app",
    metadata={"a": 1},
)


def founded(here, key, request=REQUEST):
    settings = OrganizationSettings()
    claims = minting.mint(
        request,
        key=key,
        org_id=here.org,
        policy=STARTING_POLICY,
        settings=settings,
        now=here.now,
        token_id=here.claims["fam"],
        jti=here.claims["jti"],
        issuer=here.issuer,
    )
    return claims, found(claims, request, key_id=key.id, kid="kid", settings=settings)


def test_founded_family_holds_what_was_asked_and_minted(here, secret_key):
    claims, record = founded(here, secret_key)
    assert record == FamilyRecord(
        token_id=here.claims["fam"],
        org_id=here.org,
        user_id="u",
        user_email="u@example.com",
        key_id=secret_key.id,
        integration_id="app",
        client_id="phone",
        renewable=False,
        grants=claims.grants,
        metadata={"a": 1},
        first_issued_at=here.now,
        ttl_seconds=3600,
        gen=0,
        jti=here.claims["jti"],
        kid="kid",
        issued_at=here.now,
        expires_at=here.now + 3600,
        ends_at=here.now + 2592000,
    )


def test_claims_come_back_from_the_record_as_they_were(here, secret_key):
    claims, record = founded(here, secret_key)
    assert claims_of(record, issuer=here.issuer) == claims


def test_family_is_extendable_while_renewable_and_before_its_end(here, secret_key):
    _, record = founded(here, secret_key, dataclasses.replace(REQUEST, renewable=True))
    assert is_extendable(record)
    assert not is_extendable(dataclasses.replace(record, renewable=False))
    assert not is_extendable(dataclasses.replace(record, expires_at=record.ends_at))
