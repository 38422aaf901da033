"""Known texts cost no signature, and are held against everything else each time."""

from types import SimpleNamespace

import pytest

from tokenmq.access.grants import Grant
from tokenmq.access.permission import Permission
from tokenmq.errors import ExpiredToken, InvalidToken
from tokenmq.services import verifier as verifier_module
from tokenmq.services.verifier import Verifier
from tokenmq.tokens import ids, jwt, keyring
from tokenmq.tokens.claims import Claims, audience
from tokenmq.tokens.jwt import LapsedClaims

NOW = 1_800_000_000
ORG = "org_abcdefghijkl"


class Signing:
    def __init__(self):
        self.key = keyring.generate("ES256", current_from=0)
        self.keyring = keyring.Keyring([self.key])
        self.forgetting = []

    def on_retirement(self, forget):
        self.forgetting.append(forget)


@pytest.fixture
def signing():
    return Signing()


@pytest.fixture
def counted(monkeypatch):
    """Count how often a signature is checked."""
    calls = SimpleNamespace(count=0)
    real = jwt.read

    def read(*args, **kwargs):
        calls.count += 1
        return real(*args, **kwargs)

    monkeypatch.setattr(verifier_module.jwt, "read", read)
    return calls


def token(signing, number=0):
    claims = Claims(
        iss="tokenmq",
        aud=audience(ORG),
        sub="ann",
        org=ORG,
        iat=NOW,
        nbf=NOW,
        exp=NOW + 60,
        jti=ids.new_jti(number.to_bytes(16)),
        fam=ids.new_token_id(bytes(16)),
        gen=0,
        grants=(Grant((Permission.PUBLISH,), ("a",)),),
    )
    return claims, jwt.sign(claims, signing.key)


def test_token_is_verified_once_and_then_known(signing, counted):
    verifier = Verifier(signing, issuer="tokenmq")
    claims, text = token(signing)
    assert verifier.read(text, NOW) == claims
    assert verifier.read(text.encode(), NOW) == claims
    assert counted.count == 1


def test_token_that_was_just_signed_is_known(signing, counted):
    verifier = Verifier(signing, issuer="tokenmq")
    claims, text = token(signing)
    verifier.remember(text, claims)
    assert verifier.read(text.encode(), NOW) == claims
    assert counted.count == 0


def test_known_token_expires_all_the_same(signing):
    verifier = Verifier(signing, issuer="tokenmq")
    claims, text = token(signing)
    verifier.remember(text, claims)
    verifier.read(text, claims.exp - 0.001)
    with pytest.raises(ExpiredToken) as caught:
        verifier.read(text, claims.exp)
    assert caught.value.expired_at == claims.exp


def test_known_token_is_not_valid_before_its_time(signing):
    verifier = Verifier(signing, issuer="tokenmq")
    claims, text = token(signing)
    verifier.remember(text, claims)
    with pytest.raises(InvalidToken):
        verifier.read(text, claims.nbf - 1)


def test_token_with_one_character_changed_is_not_the_known_one(signing):
    verifier = Verifier(signing, issuer="tokenmq")
    claims, text = token(signing)
    verifier.remember(text, claims)
    for position in (5, len(text) // 2, len(text) - 10):
        other = "A" if text[position] != "A" else "B"
        with pytest.raises(InvalidToken):
            verifier.read(text[:position] + other + text[position + 1 :], NOW)


def test_what_is_remembered_is_bounded_and_the_oldest_goes(signing, counted):
    verifier = Verifier(signing, issuer="tokenmq", remembered=2)
    texts = []
    for number in range(3):
        claims, text = token(signing, number)
        verifier.remember(text, claims)
        texts.append(text)
    verifier.read(texts[1], NOW)
    verifier.read(texts[2], NOW)
    assert counted.count == 0
    verifier.read(texts[0], NOW)
    assert counted.count == 1


def test_nothing_is_known_any_more_when_a_key_is_retired(signing, counted):
    verifier = Verifier(signing, issuer="tokenmq")
    claims, text = token(signing)
    verifier.remember(text, claims)
    for forget in signing.forgetting:
        forget()
    verifier.read(text, NOW)
    assert counted.count == 1


@pytest.mark.parametrize(
    "text", ["", "x", "\ud800", "ü" * 10, "a.b.c", pytest.param("x" * 1_000_000, id="large")]
)
def test_anything_else_is_refused_in_the_declared_way(signing, text):
    with pytest.raises(InvalidToken):
        Verifier(signing, issuer="tokenmq").read(text, NOW)


def test_lapsed_token_is_another_type_whether_it_is_known_or_not(signing, counted):
    verifier = Verifier(signing, issuer="tokenmq")
    claims, text = token(signing)
    for _ in range(2):
        assert verifier.read_lapsed(text, NOW + 60) == LapsedClaims(claims)
    assert counted.count == 1
    assert verifier.read_lapsed(text, NOW + 59) == claims
    with pytest.raises(ExpiredToken):
        verifier.read(text, NOW + 60)
