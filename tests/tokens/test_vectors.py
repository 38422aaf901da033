"""The vectors of tests/vectors/tokens.json, which serve implementations in any language."""

import json
from pathlib import Path

import pytest

from tokenmq.errors import ExpiredToken, InvalidToken
from tokenmq.tokens import claims as claims_of_token
from tokenmq.tokens import ids, jwt, keyring, secret, subjects
from tokenmq.tokens.keyring import Keyring
from tokenmq.tokens.records import KeyKind

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "tokens.json").read_text("utf-8"))


def each(kind):
    return pytest.mark.parametrize("vector", VECTORS[kind], ids=lambda vector: vector.get("name"))


@pytest.fixture(scope="module")
def verify():
    ring = Keyring.from_jwks(VECTORS["jwks"])
    return lambda token: jwt.verify(token, ring, issuer=VECTORS["issuer"], now=VECTORS["now"])


@each("accepted")
def test_accepted(vector, verify):
    assert json.loads(claims_of_token.encode(verify(vector["token"]))) == vector["claims"]


@each("expired")
def test_expired(vector, verify):
    with pytest.raises(ExpiredToken) as refusal:
        verify(vector["token"])
    assert refusal.value.expired_at == vector["expired_at"]


@each("refused")
def test_refused(vector, verify):
    with pytest.raises(InvalidToken) as refusal:
        verify(vector["token"])
    assert type(refusal.value) is InvalidToken


@each("thumbprints")
def test_thumbprints(vector):
    assert keyring.thumbprint(vector["jwk"]) == vector["kid"]


@each("keys")
def test_keys(vector):
    new = secret.create(KeyKind(vector["kind"]), entropy=bytes.fromhex(vector["entropy"]))
    assert (new.text, new.id, new.digest.hex()) == (vector["text"], vector["id"], vector["digest"])
    assert secret.parse(vector["text"]).digest == new.digest
    assert secret.mask(new.hint, KeyKind(vector["kind"])) == vector["masked"]


@each("usernames")
def test_usernames(vector):
    assert subjects.username(vector["user_id"], vector["org_id"]) == vector["username"]
    assert subjects.split_username(vector["username"]) == (vector["user_id"], vector["org_id"])


@each("ids")
def test_ids(vector):
    entropy = bytes.fromhex(vector["entropy"])
    made = (ids.new_org_id(entropy[:8]), ids.new_token_id(entropy), ids.new_jti(entropy))
    assert made == (vector["org_id"], vector["token_id"], vector["jti"])
