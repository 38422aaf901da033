import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.errors import UnusableKey
from tokenmq.tokens import base64url, jwk
from tokenmq.tokens.algorithms import PublicKey

# RFC 7638 §3.1
RFC7638 = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc"
    "_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQ"
    "R0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bF"
    "TWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    "e": "AQAB",
    "alg": "RS256",
    "kid": "2011-04-29",
}
# RFC 8037 §A.2, §A.3
RFC8037 = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}


@pytest.fixture(scope="session")
def public_jwk(signing_keys):
    """The JWK of the test key of an algorithm, as a dictionary to change."""
    return lambda algorithm: dict(signing_keys[algorithm].public_jwk)


def test_j21_thumbprint_is_the_one_of_rfc_7638():
    assert jwk.thumbprint(RFC7638) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_j21_thumbprint_is_the_one_of_rfc_8037():
    assert jwk.thumbprint(RFC8037) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
def test_j19_written_key_has_kty_use_alg_kid_and_nothing_private(algorithm, public_jwk):
    written = public_jwk(algorithm)
    required = {"ES256": {"kty", "crv", "x", "y"}, "EdDSA": {"kty", "crv", "x"}, "RS256": {"kty", "n", "e"}}
    assert written.keys() == required[algorithm] | {"use", "alg", "kid"}
    assert (written["use"], written["alg"], written["kid"]) == ("sig", algorithm, jwk.thumbprint(written))


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
def test_written_key_reads_back_whatever_else_stands_in_it(algorithm, public_jwk):
    written = public_jwk(algorithm)
    read = jwk.read({**written, "x5t": "unknown", "key_ops": ["verify"]})
    assert isinstance(read, PublicKey) and jwk.write(read) == written


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
@pytest.mark.parametrize("member", sorted(jwk.PRIVATE_MEMBERS))
def test_j4_private_member_in_a_public_key_is_refused(algorithm, member, public_jwk):
    with pytest.raises(UnusableKey, match="private"):
        jwk.read({**public_jwk(algorithm), member: "AAAA"})


def _altered(text, index=5):
    return text[:index] + ("A" if text[index] != "A" else "B") + text[index + 1 :]


@pytest.mark.parametrize("member", ["x", "y"])
def test_j4_point_off_the_curve_is_refused(member, public_jwk):
    given_jwk = public_jwk("ES256")
    given_jwk[member] = _altered(given_jwk[member])
    given_jwk["kid"] = jwk.thumbprint(given_jwk)
    with pytest.raises(UnusableKey, match="no valid public key"):
        jwk.read(given_jwk)


@pytest.mark.parametrize(
    ("bits", "exponent", "because"),
    [(1024, 65537, "1024 bits"), (2048, 3, "exponent"), (2047, 65537, "2047 bits")],
)
def test_j4_j2_weak_rsa_keys_are_refused(bits, exponent, because):
    public = rsa.generate_private_key(exponent, bits).public_key()
    with pytest.raises(UnusableKey, match=because):
        jwk.write(public)
    numbers = public.public_numbers()
    members = {
        "kty": "RSA",
        "n": base64url.encode(numbers.n.to_bytes(bits // 8 + 1).lstrip(b"\0")).decode(),
        "e": base64url.encode(numbers.e.to_bytes(3).lstrip(b"\0")).decode(),
    }
    with pytest.raises(UnusableKey):
        jwk.read({**members, "use": "sig", "alg": "RS256", "kid": jwk.thumbprint(members)})


def test_j4_oversized_rsa_key_is_refused_before_it_is_built(public_jwk):
    huge = base64url.encode(b"\xff" * 500_000).decode()
    for member in ("n", "e"):
        with pytest.raises(UnusableKey, match="over 8192 bits"):
            jwk.read({**public_jwk("RS256"), member: huge})


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP256K1()], ids=lambda curve: curve.name)
def test_other_curves_are_refused(curve):
    with pytest.raises(UnusableKey, match="wanted P-256"):
        jwk.write(ec.generate_private_key(curve).public_key())


@pytest.mark.parametrize(
    "change",
    [
        *({"use": value} for value in (None, "enc", "SIG", ["sig"])),
        *({"alg": value} for value in (None, "ES384", "es256", "HS256", "none")),
        *({"kid": value} for value in (None, "", "mine", 1)),
        *({"kty": value} for value in (None, "oct", "RSA", "OKP", "ec", ["EC"])),
        *({"crv": value} for value in (None, "P-384", "secp256k1", "Ed25519")),
        *({"x": value} for value in (None, "", "AAAA", 7, "é", "\ud800", "====")),
    ],
    ids=ascii,
)
def test_key_with_another_member_is_refused(change, public_jwk):
    with pytest.raises(UnusableKey):
        jwk.read({**public_jwk("ES256"), **change})


def test_second_spelling_of_a_key_is_refused(public_jwk):
    given_jwk = public_jwk("RS256")
    padded = base64url.encode(b"\0" + base64url.decode(given_jwk["n"].encode())).decode()
    for n in (padded, given_jwk["n"] + "=", given_jwk["n"] + "\n"):
        with pytest.raises(UnusableKey):
            jwk.read({**given_jwk, "n": n})


def test_j19_unknown_kinds_in_a_set_are_passed_over(public_jwk):
    known = public_jwk("ES256")
    strangers = [{"kty": "oct"}, {"kty": "AKP", "pub": "x"}, {}, {"kty": ["EC"]}, {"kty": None}]
    assert len(jwk.read_set({"keys": [*strangers, known], "more": 1})) == 1
    assert jwk.read_set({"keys": []}) == []


@pytest.mark.parametrize(
    "document", [None, [], "keys", {}, {"keys": {}}, {"keys": [1]}, {"keys": [None]}], ids=str
)
def test_documents_that_are_no_set_are_refused(document):
    with pytest.raises(UnusableKey, match="no JWK set"):
        jwk.read_set(document)


@given(
    st.dictionaries(
        st.sampled_from(["kty", "crv", "x", "y", "n", "e", "use", "alg", "kid"]),
        st.sampled_from(["EC", "OKP", "RSA", "P-256", "Ed25519", "AQAB", "AAAA", "sig"])
        | st.text(max_size=50)
        | st.binary(max_size=300).map(lambda data: base64url.encode(data).decode())
        | st.integers()
        | st.none(),
    )
)
def test_v32_arbitrary_keys_are_refused(members):
    for read in (jwk.read, jwk.thumbprint):
        try:
            assert isinstance(read(members), str)
        except UnusableKey:
            continue


def test_v32_ed25519_keys_of_another_size_are_refused():
    raw = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    for size in (0, 1, 31, 33, 64):
        members = {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode((raw * 2)[:size]).decode()}
        with pytest.raises(UnusableKey):
            jwk.read({**members, "use": "sig", "alg": "EdDSA", "kid": jwk.thumbprint(members)})


def test_written_keys_are_json(public_jwk):
    assert json.loads(json.dumps(public_jwk("RS256"))) == public_jwk("RS256")
