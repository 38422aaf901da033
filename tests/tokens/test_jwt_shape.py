"""Refusals by text: size, characters, parts, signatures (rows J3, J12 to J14, V-123 to V-129)."""

import json
import zlib

import pytest

from tokenmq.errors import InvalidToken
from tokenmq.tokens import base64url, jwt
from tokenmq.tokens.algorithms import P256_ORDER


def header_of(key, **changed):
    return {"typ": "at+jwt", "alg": key.algorithm, "kid": key.kid} | changed


# J3, J12, J14, V-127, V-128, V-129: no encryption, no compression


@pytest.mark.parametrize("parts", [1, 2, 4, 5, 6, 4000])
def test_j3_v129_other_numbers_of_parts_are_refused_before_parsing(parts, refused):
    refused(".".join(["e30"[: 3 if parts < 9 else 1]] * parts), f"{parts} parts")


@pytest.mark.parametrize("alg", ["RSA-OAEP-256", "dir", "ECDH-ES", "A256KW", "PBES2-HS256+A128KW"])
def test_j12_v127_v128_encrypted_tokens_are_refused(alg, es256, refused):
    header = header_of(es256, alg=alg, enc="A256GCM", zip="DEF", p2c=2**31 - 1, p2s="AAAA")
    first = base64url.encode(json.dumps(header).encode()).decode()
    refused(f"{first}.AAAA.AAAA.AAAA.AAAA", "5 parts")
    refused(f"{first}.AAAA.AAAA", "header")


def test_j14_compressed_claims_are_refused(es256, here, forge, refused):
    compressor = zlib.compressobj(wbits=-15)
    packed = compressor.compress(json.dumps(here.claims).encode()) + compressor.flush()
    refused(forge(packed, header_of(es256, zip="DEF")), "header")
    refused(forge(packed), "claims")


# J13: which characters a token has


@pytest.mark.parametrize(
    "shape",
    [
        *("{}=", "{}==", "{}\n", " {}", "Bearer {}", "{}\0", "{}+", "{}/", "{},", '"{}"', "{}\ufeff", "{}é"),
        *("\ud800{}", "{}٣", "{}\u2028", "tkn_{}*", "<{}>"),
    ],
    ids=ascii,
)
def test_j13_other_characters_are_refused(shape, here, forge, refused):
    refused(shape.format(forge(here.claims)), "characters")


def test_j13_padding_or_space_between_parts_is_refused(here, forge, refused):
    for separator in ("=.", ".=", ". ", "\t.", ".\n"):
        refused(forge(here.claims).replace(".", separator, 1), "characters")


def test_j13_bytes_that_are_no_ascii_are_refused(here, forge, refused):
    refused(forge(here.claims).encode() + b"\xff", "characters")
    refused(bytes(range(256)), "characters")


@pytest.mark.parametrize("part", [0, 1, 2])
def test_second_spelling_of_a_part_is_refused(part, here, forge, refused):
    """The last character of a part may have bits over: they must be zero."""
    alphabet = base64url.ALPHABET.decode()
    # A blank more or less in the claims gives each length; a signature of 64 bytes has 4 bits over.
    for blanks in range(3):
        parts = forge(json.dumps(here.claims).encode() + b" " * blanks).split(".")
        if len(parts[part]) % 4 == 0:
            continue
        parts[part] = parts[part][:-1] + alphabet[alphabet.index(parts[part][-1]) + 1]
        refused(".".join(parts), "spelling|header|no key")


def test_high_s_twin_of_an_es256_signature_is_refused(es256, here, forge, refused, verified):
    # (r, n - s) verifies wherever (r, s) does; a token must have one spelling.
    token = forge(here.claims)
    assert verified(token)
    signed, _, signature = token.rpartition(".")
    raw = base64url.decode(signature.encode())
    twin = raw[:32] + (P256_ORDER - int.from_bytes(raw[32:])).to_bytes(32)
    refused(f"{signed}.{base64url.encode(twin).decode()}", "signature is wrong")


@pytest.mark.parametrize("size", [0, 1, 63, 65, 70, 72, 128])
def test_es256_signature_of_another_size_is_refused(size, here, forge, refused):
    signed = forge(here.claims).rpartition(".")[0]
    refused(f"{signed}.{base64url.encode(bytes([1] * size)).decode()}", "signature is wrong")


def test_es256_signature_of_zeros_or_the_order_is_refused(here, forge, refused):
    signed = forge(here.claims).rpartition(".")[0]
    for r in (0, 1, P256_ORDER, 2**256 - 1):
        for s in (0, 1, P256_ORDER // 2, P256_ORDER, 2**256 - 1):
            raw = r.to_bytes(32) + s.to_bytes(32)
            refused(f"{signed}.{base64url.encode(raw).decode()}", "signature is wrong")


def test_every_flipped_byte_is_refused(signing_key, here, forge, ring):
    token = forge(here.claims, key=signing_key).encode()
    for position in range(len(token)):
        flipped = token[:position] + bytes([token[position] ^ 1]) + token[position + 1 :]
        with pytest.raises(InvalidToken):
            jwt.verify(flipped, ring, issuer=here.issuer, now=here.now)


def test_every_truncation_is_refused(here, forge, ring):
    token = forge(here.claims)
    for length in range(len(token)):
        with pytest.raises(InvalidToken):
            jwt.verify(token[:length], ring, issuer=here.issuer, now=here.now)


# V-126: its size


def test_v126_token_of_8193_bytes_is_refused_before_anything_is_decoded(monkeypatch, here, forge, refused):
    def decode(text):
        raise AssertionError("decoded")

    monkeypatch.setattr(base64url, "decode", decode)
    refused("A" * 8193, "over 8192 bytes")
    refused(b"." * 20_000_000, "over 8192 bytes")
    refused("e30." * 3000, "over 8192 bytes")
