"""Refusals by header: algorithms, keys, kinds (rows J1, J2, J9 to J11, J15, V-120 to V-131)."""

import base64
import contextlib
import hmac
import itertools
import json

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tokenmq.errors import TokenmqError
from tokenmq.tokens import base64url, jwt, keyring, secret, subjects
from tokenmq.tokens.records import KeyKind


def header_of(key, **changed):
    return {"typ": "at+jwt", "alg": key.algorithm, "kid": key.kid} | changed


# J1, J2: algorithms


@pytest.mark.parametrize(
    "alg",
    [
        *[
            "none",
            "None",
            "noNE",
            "NONE",
            "es256",
            "hs256",
            "HS256",
            "HS384",
            "HS512",
            "ES384",
            "ES512",
            "ES256K",
            "PS256",
            "RS384",
            "Ed25519",
            "eddsa",
        ],
        *("RSA1_5", "RSA-OAEP"),
        *("PBES2-HS256+A128KW", "dir"),
        *("", "ES256 ", None, True, 1, ["ES256"], {"ES256": 1}),
    ],
    ids=str,
)
def test_j1_alg_other_than_the_keys_is_refused(alg, signing_key, here, forge, refused):
    refused(forge(here.claims, header_of(signing_key, alg=alg), signing_key), "another algorithm")


def test_j1_each_key_verifies_its_own_algorithm_only(signing_keys, here, forge, refused, verified):
    for named in signing_keys.values():
        for signing in signing_keys.values():
            own = forge(here.claims, header_of(named), signing)
            if named is signing:
                assert verified(own)
                continue
            refused(own, "signature is wrong")
            refused(forge(here.claims, header_of(named, alg=signing.algorithm), signing), "another algorithm")


def test_j2_v120_none_is_refused_with_and_without_a_signature(es256, here, refused):
    for alg in ("none", "None", "nOnE"):
        parts = [json.dumps(part).encode() for part in (header_of(es256, alg=alg), here.claims)]
        unsigned = b".".join(base64url.encode(part) for part in parts)
        refused(unsigned + b".", "another algorithm")
        refused(unsigned + b".AAAA", "another algorithm")
        refused(unsigned, "2 parts")


def test_j2_empty_signature_is_refused(signing_key, here, forge, refused):
    token = forge(here.claims, key=signing_key)
    refused(token.rpartition(".")[0] + ".", "signature is wrong")


# J9, J15: the header


@pytest.mark.parametrize(
    "kid",
    ["", "../../dev/null", "' or 1=1 --", "a" * 65, "a b", "key\n", "|id", "\0", "http://x/", "unknown", "é"],
)
def test_j9_v130_unknown_kid_is_looked_up_and_refused(kid, es256, here, forge, refused):
    refused(forge(here.claims, header_of(es256, kid=kid)), "no key of ours")


@pytest.mark.parametrize("kid", [None, 1, True, ["x"], {"x": 1}])
def test_j9_kid_of_another_type_is_refused(kid, es256, here, forge, refused):
    refused(forge(here.claims, header_of(es256, kid=kid)), "no key of ours")


def test_j9_v130_kid_of_ten_megabytes_is_refused_by_size(es256, here, forge, refused):
    refused(forge(here.claims, header_of(es256, kid="a" * 10_000_000)), "over 8192 bytes")


@pytest.mark.parametrize(
    "member", ["jku", "x5u", "jwk", "x5c", "x5t", "x5t#S256", "cty", "nonce", "url", "b64"]
)
def test_j9_v122_v131_members_that_bring_or_name_a_key_are_refused(member, es256, here, forge, refused):
    value = dict(es256.public_jwk) if member == "jwk" else "https://attacker.example/keys"
    refused(forge(here.claims, header_of(es256, **{member: value})), "header")


def test_v122_key_in_the_header_does_not_verify_its_own_token(es256, here, forge, refused):
    theirs = keyring.generate("ES256", current_from=0)
    embedded = header_of(theirs, jwk=dict(theirs.public_jwk))
    refused(forge(here.claims, embedded, theirs), "header")
    refused(forge(here.claims, header_of(theirs), theirs), "no key of ours")
    refused(forge(here.claims, header_of(es256), theirs), "signature is wrong")


@pytest.mark.parametrize(
    "crit", [[], ["exp"], ["b64"], ["bork", "bork"], "exp", None, {"exp": 1}, ["typ"]], ids=str
)
def test_j15_v124_any_crit_is_refused(crit, es256, here, forge, refused):
    refused(forge(here.claims, header_of(es256, crit=crit)), "header")
    refused(forge(here.claims, header_of(es256, crit=crit, b64=False, bork=1)), "header")


def test_j15_unencoded_payload_is_refused(es256, here, refused):
    header = base64url.encode(json.dumps(header_of(es256, b64=False, crit=["b64"])).encode())
    payload = b"e30"
    signature = base64url.encode(es256.signer.sign(header + b"." + payload))
    refused(header + b"." + payload + b"." + signature, "header")


@pytest.mark.parametrize("member", ["typ", "alg", "kid"])
def test_header_without_a_member_is_refused(member, es256, here, forge, refused):
    header = header_of(es256)
    del header[member]
    refused(forge(here.claims, header), "header")


@pytest.mark.parametrize(
    "header", [b"", b"{", b"[]", b"null", b'"x"', b"1", b"NaN", b"{}x", b"\xff", b"[" * 5000]
)
def test_header_that_is_no_object_is_refused(header, here, forge, refused):
    refused(forge(here.claims, header), "header")


# J10, J11: kinds


@pytest.mark.parametrize(
    "typ",
    [
        *("JWT", "jwt", "AT+JWT", "application/at+jwt"),
        *("dpop+jwt", "rt+jwt", "logout+jwt", "secevent+jwt"),
        *("token-introspection+jwt", "at+jwt ", "", None, 1, ["at+jwt"]),
    ],
    ids=str,
)
def test_j10_typ_is_exactly_ours(typ, es256, here, forge, refused):
    refused(forge(here.claims, header_of(es256, typ=typ)), "another type")


def test_j11_other_kinds_of_token_signed_with_our_key_are_refused(es256, here, forge, refused):
    base = {name: here.claims[name] for name in ("iss", "sub", "iat", "exp", "jti")}
    kinds = {
        "id token": ("JWT", {"aud": "client", "nonce": "n", "email": "a@b"}),
        "dpop proof": ("dpop+jwt", {"htm": "POST", "htu": "https://x/", "aud": here.claims["aud"]}),
        "client assertion": ("JWT", {"aud": "https://tokens.example/"}),
        "refresh token": ("rt+jwt", {"aud": here.claims["aud"], "fam": here.claims["fam"]}),
        "api access token": ("at+jwt", {"aud": "https://api.example/", "scope": "mqtt", "client_id": "x"}),
    }
    for typ, members in kinds.values():
        refused(forge(base | members, header_of(es256, typ=typ)), "type|claims")
        refused(forge(base | members), "claims")


def test_j11_every_kind_passes_at_its_own_acceptor_only(ring, here, forge, es256):
    kinds = {
        "token": forge(here.claims),
        "key": secret.create(KeyKind.SECRET, entropy=bytes(range(40))).text,
        "username": subjects.username("user-123", here.org),
        "id token": forge(here.claims, header_of(es256, typ="JWT")),
        "token id": here.claims["fam"],
    }
    acceptors = {
        "token": lambda text: jwt.verify(text, ring, issuer=here.issuer, now=here.now),
        "key": secret.parse,
        "username": subjects.split_username,
    }
    passed = set()
    for (kind, text), (name, accept) in itertools.product(kinds.items(), acceptors.items()):
        with contextlib.suppress(TokenmqError):
            accept(text)
            passed.add((kind, name))
    assert passed == {(name, name) for name in acceptors}


# V-121: the public key as HMAC secret


def _encodings(public, public_jwk):
    formats = [
        (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        (Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    ]
    formats.append((Encoding.OpenSSH, PublicFormat.OpenSSH))
    if public_jwk["kty"] == "RSA":
        formats += [(Encoding.PEM, PublicFormat.PKCS1), (Encoding.DER, PublicFormat.PKCS1)]
    if public_jwk["kty"] == "EC":
        formats += [
            (Encoding.X962, PublicFormat.UncompressedPoint),
            (Encoding.X962, PublicFormat.CompressedPoint),
        ]
    if public_jwk["kty"] == "OKP":
        formats.append((Encoding.Raw, PublicFormat.Raw))
    for encoding, form in formats:
        written = public.public_bytes(encoding, form)
        yield from (written, written.strip(), base64.b64encode(written))
    yield from (
        json.dumps(public_jwk).encode(),
        json.dumps(public_jwk, separators=(",", ":"), sort_keys=True).encode(),
    )
    for member in ("x", "y", "n", "e", "kid"):
        if member in public_jwk:
            yield public_jwk[member].encode()
            yield base64url.decode(public_jwk[member].encode())
    yield b""


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_v121_public_key_in_no_encoding_serves_as_hmac_secret(digest, signing_key, here, refused):
    payload = base64url.encode(json.dumps(here.claims).encode())
    for shared in _encodings(signing_key.private.public_key(), signing_key.public_jwk):
        for alg in (f"HS{digest[3:]}", signing_key.algorithm):
            header = base64url.encode(json.dumps(header_of(signing_key, alg=alg)).encode())
            message = header + b"." + payload
            signature = base64url.encode(hmac.digest(shared, message, digest))
            because = "another algorithm" if alg[:2] == "HS" else "signature is wrong"
            refused(message + b"." + signature, because)
