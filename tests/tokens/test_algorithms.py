import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.tokens.algorithms import ALGORITHMS

SIZES = {"ES256": 64, "EdDSA": 64, "RS256": 256}


@given(st.sampled_from(["ES256", "EdDSA"]), st.binary(max_size=100), st.binary(max_size=100))
def test_signature_is_of_its_message_only(signing_keys, algorithm, message, other):
    key = signing_keys[algorithm]
    signature = key.signer.sign(message)
    assert len(signature) == SIZES[algorithm]
    assert key.verifier.verify(other, signature) is (message == other)


def test_rs256_signature_is_of_its_message_only(signing_keys):
    key = signing_keys["RS256"]
    signature = key.signer.sign(b"message")
    assert len(signature) == SIZES["RS256"]
    assert key.verifier.verify(b"message", signature) and not key.verifier.verify(b"massage", signature)


def test_es256_signature_is_what_rfc_7518_says(es256):
    signature = es256.signer.sign(b"message")
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    public = es256.private.public_key()
    public.verify(encode_dss_signature(r, s), b"message", ec.ECDSA(hashes.SHA256()))


@given(st.sampled_from(ALGORITHMS), st.binary(max_size=300))
def test_v32_arbitrary_signatures_are_wrong(signing_keys, algorithm, signature):
    assert signing_keys[algorithm].verifier.verify(b"message", signature) is False


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_longer_and_shorter_signatures_are_wrong(algorithm, signing_keys):
    key = signing_keys[algorithm]
    signature = key.signer.sign(b"message")
    for changed in (signature + b"\0", b"\0" + signature, signature[:-1], signature[1:], signature * 2, b""):
        assert not key.verifier.verify(b"message", changed)
