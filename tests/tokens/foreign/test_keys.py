"""A provider's key set: what of it is believed, and what is passed over."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.errors import UnusableKey
from tokenmq.tokens import base64url
from tokenmq.tokens.foreign.keys import MAX_KEYS, KeySet, read_key_set


def read(*keys, **members):
    return read_key_set(json.dumps({"keys": list(keys), **members}).encode())


def text(number):
    return base64url.encode(number.to_bytes((number.bit_length() + 7) // 8)).decode()


@pytest.fixture(scope="module")
def es256(signers):
    return signers["ES256"].public


@pytest.fixture(scope="module")
def rs256(signers):
    return signers["RS256"].public


def test_keys_stand_under_their_names_with_one_algorithm_each(signers):
    found = read(*(signer.public for signer in signers.values() if signer.public)).keys
    assert {kid: key.algorithm for kid, key in found.items()} == {
        "ES256-key": "ES256",
        "EdDSA-key": "EdDSA",
        "RS256-key": "RS256",
    }


def test_members_that_are_unknown_or_left_out_change_nothing(es256):
    plain = {name: es256[name] for name in ("kty", "crv", "x", "y", "kid")}
    found = read({**plain, "x5t": "abc", "ext": True, "key_ops": ["verify"]}, more="of the set")
    assert found.keys == read(es256).keys


@pytest.mark.parametrize(
    "change",
    [
        {"kty": "AKP"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": 7},
        {"kty": None},
        {"crv": "P-384"},
        {"crv": "secp256k1"},
        {"use": "enc"},
        {"use": None},
        {"alg": "ES384"},
        {"alg": "RS256"},
        {"alg": "HS256"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"d": "c2VjcmV0"},
        {"k": "c2VjcmV0"},
        {"x": "c2hvcnQ"},
        {"x": 7},
        {"kid": None},
        {"kid": 7},
        {"kid": ""},
        {"kid": "a b"},
        {"kid": "x" * 129},
    ],
    ids=json.dumps,
)
def test_j_4_j_19_key_that_is_not_for_us_is_passed_over_alone(es256, rs256, change):
    assert set(read({**es256, **change}, rs256).keys) == {"RS256-key"}
    with pytest.raises(UnusableKey, match="no usable key"):
        read({**es256, **change})


def test_j_4_point_off_the_curve_is_passed_over(es256, rs256):
    assert set(read({**es256, "y": es256["x"]}, rs256).keys) == {"RS256-key"}


@pytest.mark.parametrize(("bits", "exponent"), [(1_024, 65_537), (2_048, 3)])
def test_j_4_weak_rsa_key_is_passed_over(es256, bits, exponent):
    public = rsa.generate_private_key(public_exponent=exponent, key_size=bits).public_key().public_numbers()
    weak = {"kty": "RSA", "kid": "weak", "n": text(public.n), "e": text(public.e)}
    assert set(read(weak, es256).keys) == {"ES256-key"}


def test_key_on_another_curve_is_passed_over(es256):
    numbers = ec.generate_private_key(ec.SECP384R1()).public_key().public_numbers()
    other = {"kty": "EC", "crv": "P-384", "kid": "other", "x": text(numbers.x), "y": text(numbers.y)}
    assert set(read(other, es256).keys) == {"ES256-key"}


def test_same_key_twice_is_one_key(es256):
    assert set(read(es256, es256).keys) == {"ES256-key"}


def test_name_of_two_keys_stands_for_neither_unless_one_was_known(es256, rs256, make_signer):
    other = make_signer("ES256", "ES256-key").public
    for second in (other, {**rs256, "kid": "ES256-key"}):
        found = read(es256, second)
        assert (dict(found.keys), set(found.disputed)) == ({}, {"ES256-key"})
        known = read(es256).keys
        assert found.following({}) == {}
        assert found.following(known) == dict(known)
        assert found.following(read(make_signer("ES256", "ES256-key").public).keys) == {}


def test_withdrawn_key_is_gone_and_a_new_one_there(es256, rs256):
    assert set(read(rs256).following(read(es256).keys)) == {"RS256-key"}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"keys":[]}',
        b'{"keys":{}}',
        b'{"keys":[1]}',
        b'{"keys":null}',
        b"<html></html>",
        b'{"keys":[\xff]}',
        b'{"keys":[],"keys":[]}',
        b"[" * 50000,
        b'{"keys":[{}]}',
    ],
    ids=lambda raw: raw[:20].decode("latin-1"),
)
def test_document_that_is_no_key_set_is_refused(raw):
    with pytest.raises(UnusableKey):
        read_key_set(raw)


def test_set_with_too_many_keys_is_refused(es256):
    with pytest.raises(UnusableKey, match="more than"):
        read(*[es256] * (MAX_KEYS + 1))


@given(
    document=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["keys", "kty", "kid", "crv", "x", "y", "n", "e", "use", "alg", "d", "k"]),
                inner,
            )
        ),
        max_leaves=20,
    )
)
def test_any_document_gives_a_key_set_or_one_type_of_error(document):
    try:
        found = read_key_set(json.dumps({"keys": document}).encode())
    except UnusableKey:
        return
    assert isinstance(found, KeySet)
