"""What is signed is verified, with the keys in force; for the refusals see test_jwt_*.py."""

import base64
import dataclasses
import hashlib
import json

import pytest

from tokenmq.errors import InvalidRequest, InvalidToken, UnusableKey
from tokenmq.tokens import base64url, jwt, keyring
from tokenmq.tokens import claims as claims_of_token
from tokenmq.tokens.algorithms import P256_ORDER
from tokenmq.tokens.keyring import Keyring


def claims_from(document):
    return claims_of_token.decode(json.dumps(document, separators=(",", ":")).encode())


# What is written, and read again


def test_signed_claims_are_verified_again(signing_key, here, verified):
    claims = claims_from(here.claims)
    token = jwt.sign(claims, signing_key)
    assert verified(token) == verified(token.encode()) == claims
    assert verified(token, org_id=here.org) == claims


def test_header_is_exactly_typ_alg_kid(signing_key, here):
    header = jwt.sign(claims_from(here.claims), signing_key).split(".")[0]
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == {
        "typ": "at+jwt",
        "alg": signing_key.algorithm,
        "kid": signing_key.kid,
    }


def test_es256_signature_is_raw_r_and_low_s(es256, here):
    # RFC 7518 §3.4
    for _ in range(20):
        signature = base64url.decode(jwt.sign(claims_from(here.claims), es256).split(".")[2].encode())
        assert len(signature) == 64 and int.from_bytes(signature[32:]) <= P256_ORDER // 2


def test_forged_header_in_another_order_is_accepted_when_all_of_it_is_right(es256, here, forge, verified):
    reordered = {"kid": es256.kid, "typ": "at+jwt", "alg": "ES256"}
    assert verified(forge(here.claims, header=reordered)).sub == "user-123"
    assert verified(forge(here.claims, header=json.dumps(reordered, indent=2).encode())).sub == "user-123"


def test_claims_in_another_order_and_spelling_are_accepted(here, forge, verified):
    reordered = dict(reversed(here.claims.items()))
    assert verified(forge(json.dumps(reordered, indent=1).encode())).sub == "user-123"
    escaped = json.dumps(here.claims).replace("user-123", r"\u0075ser-123").encode()
    assert verified(forge(escaped)).sub == "user-123"


def test_optional_claims_are_read(here, forge, verified):
    claims = verified(forge(here.claims | {"client_id": "phone-*", "attrs": {"role": ["x", 1.5, None]}}))
    assert claims.client_id == "phone-*" and claims.attrs == {"role": ["x", 1.5, None]}


def test_token_over_8192_bytes_is_not_signed(es256, here, verified):
    def token_with(length):
        topics = ["a" * 1000] * 4 + ["b" * length]
        grants = [{"permissions": ["publish"], "topics": topics}]
        return jwt.sign(claims_from(here.claims | {"grants": grants}), es256)

    longest = max(length for length in range(1400, 1800, 4) if _signs(token_with, length))
    longest = max(length for length in range(longest, longest + 4) if _signs(token_with, length))
    assert 8189 <= len(token_with(longest)) <= 8192
    assert verified(token_with(longest)).sub == "user-123"
    with pytest.raises(InvalidRequest, match=r"topics: token would have 819[3-9] bytes"):
        token_with(longest + 1)


def _signs(token_with, length):
    try:
        token_with(length)
    except InvalidRequest:
        return False
    return True


def test_public_key_alone_signs_nothing(ring, here):
    document = ring.jwks(here.now)
    public = Keyring.from_jwks(document).by_kid(document["keys"][0]["kid"], here.now)
    with pytest.raises(UnusableKey):
        jwt.sign(claims_from(here.claims), public)


# Keys that come and go


def test_retired_key_verifies_nothing_and_an_early_one_verifies(es256, here, forge, refused, ring, verified):
    token = forge(here.claims)
    retired = ring.with_key(dataclasses.replace(es256, retired_at=here.now + 100))
    assert jwt.verify(token, retired, issuer=here.issuer, now=here.now + 99)
    refused(token, "no key of ours", keys=retired, now=here.now + 100)
    early = ring.with_key(dataclasses.replace(es256, current_from=here.now + 100))
    assert jwt.verify(token, early, issuer=here.issuer, now=here.now)
    refused(token, "no key of ours", keys=Keyring())


def test_token_of_another_instance_is_refused(here, forge, refused):
    theirs = keyring.generate("ES256", current_from=0)
    refused(forge(here.claims, key=theirs), "no key of ours")


def test_refusals_do_not_repeat_the_token(here, forge, ring):
    token = forge(here.claims | {"sub": "a\0secretive"})
    with pytest.raises(InvalidToken) as refusal:
        jwt.verify(token, ring, issuer=here.issuer, now=here.now)
    assert "secretive" not in str(refusal.value) and refusal.value.__cause__ is None


def test_pattern_finds_whole_and_cut_tokens(signing_key, here, forge):
    token = forge(here.claims, key=signing_key)
    for text in (token, token[:-20], token.rpartition(".")[0], token[: token.index(".") + 40]):
        assert jwt.PATTERN.sub("*", f"password={text}, next") == "password=*, next"
    assert hashlib.sha256(token.encode()).hexdigest() not in token
