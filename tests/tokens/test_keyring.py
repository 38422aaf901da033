import dataclasses
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.errors import UnusableKey
from tokenmq.tokens import keyring
from tokenmq.tokens.algorithms import ALGORITHMS
from tokenmq.tokens.keyring import Keyring

SECRET = "correct horse battery staple"


@pytest.fixture(scope="session")
def old(es256):
    return dataclasses.replace(es256, current_from=100)


@pytest.fixture(scope="session")
def new(signing_keys):
    return dataclasses.replace(signing_keys["EdDSA"], current_from=200)


def pkcs8(private):
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_newest_key_whose_time_has_come_signs(old, new):
    ring = Keyring([new, old])
    assert ring.current(100) is ring.current(199.9) is old
    assert ring.current(200) is ring.current(10**10) is new


def test_key_is_added_and_made_current_by_another_keyring(old, new):
    before = Keyring([old])
    after = before.with_key(new)
    assert before.current(300) is old and after.current(300) is new
    assert before.by_kid(new.kid, 300) is None and after.by_kid(old.kid, 300) is old
    again = after.with_key(dataclasses.replace(old, current_from=300))
    assert again.current(300).kid == old.kid and len(again) == 2


def test_retired_key_neither_signs_nor_verifies_nor_is_shown(old, new):
    ring = Keyring([old, dataclasses.replace(new, retired_at=300)])
    assert ring.current(299).kid == new.kid and ring.current(300) is old
    assert ring.by_kid(new.kid, 299.9) is not None and ring.by_header(new.header, 299.9) is not None
    assert ring.by_kid(new.kid, 300) is None and ring.by_header(new.header, 300) is None
    assert [shown["kid"] for shown in ring.jwks(300)["keys"]] == [old.kid]


def test_without_a_key_in_force_nothing_signs(old):
    for ring, now in (
        (Keyring(), 1),
        (Keyring([old]), 99),
        (Keyring([dataclasses.replace(old, retired_at=150)]), 150),
    ):
        with pytest.raises(UnusableKey, match="no signing key is in force"):
            ring.current(now)


def test_key_whose_time_has_not_come_verifies_and_is_shown(old, new):
    ring = Keyring([old, new])
    assert ring.by_kid(new.kid, 100) is new
    assert {shown["kid"] for shown in ring.jwks(100)["keys"]} == {old.kid, new.kid}


def test_j19_jwks_has_no_private_member(ring):
    text = json.dumps(ring.jwks(0))
    for shown in json.loads(text)["keys"]:
        assert {"kty", "use", "alg", "kid"} <= shown.keys()
        assert not shown.keys() & {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
    assert "PRIVATE" not in text


def test_changing_what_jwks_gave_changes_no_key(ring, es256):
    ring.jwks(0)["keys"][0]["kid"] = "other"
    assert ring.jwks(0)["keys"][0]["kid"] == es256.kid


def test_keyring_of_a_jwks_verifies_and_never_signs(ring, es256):
    public = Keyring.from_jwks(json.loads(json.dumps(ring.jwks(0))))
    signature = es256.signer.sign(b"message")
    assert public.by_kid(es256.kid, 0).verifier.verify(b"message", signature)
    assert public.by_header(es256.header, 0).kid == es256.kid
    with pytest.raises(UnusableKey):
        public.current(0)
    with pytest.raises(UnusableKey, match="no private part"):
        keyring.to_pem(public.by_kid(es256.kid, 0), None)


def test_j21_kid_is_the_thumbprint(signing_key):
    assert signing_key.kid == keyring.thumbprint(signing_key.public_jwk) and len(signing_key.kid) == 43


def test_j2_generated_rsa_key_has_2048_bits(signing_keys):
    assert signing_keys["RS256"].private.key_size >= 2048


@pytest.mark.parametrize("algorithm", ["", "none", "HS256", "es256", "ES384", "RS512", "Ed25519"])
def test_j2_unknown_algorithm_makes_no_key(algorithm):
    with pytest.raises(UnusableKey, match="none of ES256, EdDSA, RS256"):
        keyring.generate(algorithm, current_from=0)


def test_algorithms_are_those_that_keys_are_made_for(signing_keys):
    assert tuple(signing_keys) == ALGORITHMS
    assert all(key.algorithm == name for name, key in signing_keys.items())


@pytest.mark.parametrize("secret", [None, SECRET, "é" * 20])
def test_private_key_is_written_and_read_again(signing_key, secret):
    pem = keyring.to_pem(signing_key, secret)
    assert keyring.is_encrypted(pem) is (secret is not None)
    read = keyring.from_pem(pem, secret, current_from=7, retired_at=9)
    assert (read.kid, read.algorithm, read.public_jwk) == (
        signing_key.kid,
        signing_key.algorithm,
        signing_key.public_jwk,
    )
    assert (read.current_from, read.retired_at) == (7, 9)
    assert signing_key.verifier.verify(b"message", read.signer.sign(b"message"))


def test_key_that_is_not_encrypted_is_read_with_a_secret_too(es256):
    assert keyring.from_pem(keyring.to_pem(es256, None), SECRET).kid == es256.kid


@pytest.mark.parametrize("secret", [None, "wrong", SECRET + " ", ""])
def test_encrypted_key_stays_closed_without_its_secret(es256, secret):
    with pytest.raises(UnusableKey, match="cannot be opened"):
        keyring.from_pem(keyring.to_pem(es256, SECRET), secret)


@pytest.mark.parametrize("secret", ["", "x" * 5000])
def test_secret_that_encrypts_nothing_is_refused(es256, secret):
    with pytest.raises(UnusableKey, match="empty or too long"):
        keyring.to_pem(es256, secret)


OTHER_KEYS = {
    "rsa-1024": lambda: rsa.generate_private_key(65537, 1024),
    "rsa-e3": lambda: rsa.generate_private_key(3, 2048),
    "p-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "ed448": ed448.Ed448PrivateKey.generate,
    "x25519": x25519.X25519PrivateKey.generate,
    "dsa": lambda: dsa.generate_private_key(1024),
}


@pytest.mark.parametrize("generate", OTHER_KEYS.values(), ids=OTHER_KEYS)
def test_j4_keys_of_other_kinds_and_weak_ones_are_refused(generate):
    with pytest.raises(UnusableKey):
        keyring.from_pem(pkcs8(generate()), None)


@given(st.data())
def test_v32_truncated_and_changed_keys_are_refused(signing_keys, data):
    pem = keyring.to_pem(signing_keys[data.draw(st.sampled_from(ALGORITHMS))], None)
    cut = data.draw(st.integers(0, len(pem) - 2))
    damaged = pem[:cut] + data.draw(st.binary(max_size=4)) + pem[cut + data.draw(st.integers(1, 6)) :]
    try:
        keyring.from_pem(damaged, None)
    except UnusableKey:
        return


@given(st.binary(max_size=200), st.none() | st.text(max_size=8))
def test_v32_arbitrary_bytes_are_no_key(data, secret):
    for pem in (data, b"-----BEGIN PRIVATE KEY-----\n" + data + b"\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(UnusableKey):
            keyring.from_pem(pem, secret)


def test_record_is_written_and_read_again(signing_key):
    key = dataclasses.replace(signing_key, current_from=5, retired_at=50)
    record = keyring.to_record(key, secret=SECRET, created_at=4)
    assert (record.kid, record.algorithm, record.created_at) == (key.kid, key.algorithm, 4)
    assert b"ENCRYPTED" in record.private_pem
    read = keyring.from_record(record, secret=SECRET)
    assert (read.kid, read.header, read.current_from, read.retired_at) == (key.kid, key.header, 5, 50)


def test_record_whose_parts_do_not_belong_together_is_refused(signing_keys):
    record = keyring.to_record(signing_keys["ES256"], secret=None, created_at=4)
    other = keyring.to_record(signing_keys["EdDSA"], secret=None, created_at=4)
    for field in ("kid", "algorithm", "public_jwk", "private_pem"):
        with pytest.raises(UnusableKey):
            keyring.from_record(dataclasses.replace(record, **{field: getattr(other, field)}), secret=None)


def test_keys_do_not_print_themselves(signing_key):
    record = keyring.to_record(signing_key, secret=None, created_at=4)
    assert "PRIVATE" not in repr(signing_key) + repr(record)
    assert repr(signing_key.private) not in repr(signing_key)
