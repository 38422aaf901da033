"""A provider's token is believed in one spelling, with one key, for one audience, in its time."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.errors import ExpiredToken, InvalidToken
from tokenmq.limits import MAX_TOKEN_BYTES
from tokenmq.tokens import base64url
from tokenmq.tokens.algorithms import P256_ORDER
from tokenmq.tokens.foreign.token import LEEWAY_SECONDS, announce

ALGORITHMS = ("ES256", "RS256", "EdDSA", "HS256")


@pytest.fixture
def oidc(idps):
    return idps["oidc"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_good_token_of_each_kind_and_algorithm_is_believed(believe, signers, idp, now, algorithm):
    claims = believe(signers[algorithm].token(idp.claims), idp, key=algorithm)
    assert (dict(claims.values), claims.expires_at) == (idp.claims, now + 3_600)


def test_token_says_who_it_is_from_before_it_is_believed(signers, oidc):
    said = announce(signers["RS256"].token(oidc.claims))
    assert (said.issuer, said.algorithm, said.kid) == (oidc.issuer, "RS256", "RS256-key")
    assert announce(signers["RS256"].token(oidc.claims, {"alg": "RS256"})).kid is None


class TestAlgorithm:
    """J1, J2, V-120, V-121, V-61: a key serves one algorithm, and a token chooses nothing."""

    @pytest.mark.parametrize("signed", ALGORITHMS)
    @pytest.mark.parametrize("held", ALGORITHMS)
    def test_v_61_key_verifies_its_own_algorithm_alone(self, believe, refused, signers, oidc, signed, held):
        text = signers[signed].token(oidc.claims)
        if signed == held:
            believe(text, oidc, key=held)
        else:
            refused(text, oidc, "another algorithm", key=held)

    @pytest.mark.parametrize("said", ["none", "None", "noNE", "es256", "ES384", "HS256", "", "ES256 "])
    def test_v_120_header_that_says_another_algorithm_is_refused(self, refused, signers, oidc, said):
        refused(signers["ES256"].token(oidc.claims, {"alg": said}), oidc, "another algorithm")

    def test_v_120_unsigned_token_is_refused(self, refused, oidc):
        parts = [base64url.encode(json.dumps(one).encode()) for one in ({"alg": "none"}, oidc.claims)]
        for text in (b".".join([*parts, b""]).decode(), b".".join(parts).decode()):
            refused(text, oidc, "algorithm|parts")

    def test_v_121_public_key_used_as_hmac_secret_is_refused(self, refused, signers, hmac_signer, oidc):
        public = signers["RS256"].public
        for secret in (json.dumps(public).encode(), public["n"].encode(), base64.b64encode(b"der")):
            refused(hmac_signer(secret, "RS256-key").token(oidc.claims), oidc, "algorithm", key="RS256")

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_signature_of_another_key_is_refused(self, refused, make_signer, hmac_signer, oidc, algorithm):
        other = hmac_signer(b"x" * 32) if algorithm == "HS256" else make_signer(algorithm, "other")
        refused(other.token(oidc.claims), oidc, "signature is wrong", key=algorithm)

    def test_both_spellings_of_an_ecdsa_signature_are_good_for_others_sign_so(self, believe, signers, oidc):
        message, _, signature = signers["ES256"].token(oidc.claims).rpartition(".")
        raw = base64url.decode(signature.encode())
        other = raw[:32] + (P256_ORDER - int.from_bytes(raw[32:])).to_bytes(32)
        believe(f"{message}.{base64url.encode(other).decode()}", oidc)


class TestShape:
    """J3, J6, J12 to J16, V-122 to V-129."""

    @pytest.mark.parametrize(
        "member",
        ["jku", "jwk", "x5u", "x5c", "crit", "zip", "b64", "enc", "epk", "p2c", "p2s", "apu", "apv"],
    )
    def test_v_122_v_124_header_that_chooses_a_key_or_a_rule_is_refused(self, refused, signers, oidc, member):
        header = {"alg": "ES256", "kid": "ES256-key", member: []}
        refused(signers["ES256"].token(oidc.claims, header), oidc, "not accepted")

    def test_members_that_mean_nothing_to_us_are_ignored(self, believe, signers, oidc):
        believe(signers["ES256"].token(oidc.claims, {"alg": "ES256", "cat": "cl_B7d4", "x5t": "abc"}), oidc)

    @pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "application/at+jwt"])
    def test_j_10_types_of_access_and_id_tokens_are_taken(self, believe, signers, oidc, typ):
        believe(signers["ES256"].token(oidc.claims, {"alg": "ES256", "typ": typ}), oidc)

    @pytest.mark.parametrize("typ", ["dpop+jwt", "logout+jwt", "secevent+jwt", "", 1, None, "rt+jwt"])
    def test_j_11_token_of_another_use_is_refused(self, refused, signers, oidc, typ):
        refused(signers["ES256"].token(oidc.claims, {"alg": "ES256", "typ": typ}), oidc, "another type")

    @pytest.mark.parametrize(
        "header",
        [
            b'{"alg":"ES256","alg":"ES256"}',
            b"[]",
            b"null",
            b'{"alg":"ES256"',
            b"\xef\xbb\xbf{}",
            b"[" * 5500,
            '{"alg":"ES256"}'.encode("utf-16"),
            b'{"alg":"ES256","x":NaN}',
            b'{"alg":"ES256","x":"\\ud800"}',
        ],
    )
    def test_j_6_j_16_header_that_is_not_one_json_object_is_refused(self, refused, signers, oidc, header):
        refused(signers["ES256"].token(oidc.claims, header), oidc, "header")

    @pytest.mark.parametrize("change", [b'"sub":"admin",', b'"iss":"https://evil.example",'])
    def test_j_6_claim_named_twice_is_refused(self, refused, signers, oidc, change):
        raw = json.dumps(oidc.claims).encode()
        refused(signers["ES256"].token(b"{" + change + raw[1:]), oidc, "twice")

    @pytest.mark.parametrize("claims", [b"", b"[]", b"1", b'"x"', b"null", b'{"sub":"\xff"}'])
    def test_j_6_claims_that_are_no_object_are_refused(self, refused, signers, oidc, claims):
        refused(signers["ES256"].token(claims), oidc, "claims")

    def test_j_13_padding_space_and_braces_are_refused_before_decoding(self, refused, signers, oidc):
        text = signers["ES256"].token(oidc.claims)
        for odd in (text + "=", text + "==", " " + text, text + "\n", "{" + text + "}", text + "é"):
            refused(odd, oidc, "characters")

    def test_v_127_v_129_encrypted_token_is_refused_before_decoding(self, refused, signers, oidc):
        refused(signers["ES256"].token(oidc.claims) + ".x.y", oidc, "5 parts")

    def test_v_126_large_token_is_refused_before_decoding(self, refused, oidc):
        refused("a" * (MAX_TOKEN_BYTES + 1), oidc, "bytes")
        refused("." * MAX_TOKEN_BYTES, oidc, "parts")

    @pytest.mark.parametrize("kid", ["", "a b", "' or 1=1", "x" * 129, "a\x00", 7, ["a"], "é"])
    def test_v_130_name_of_a_key_that_can_be_none_is_refused(self, refused, signers, oidc, kid):
        refused(signers["ES256"].token(oidc.claims, {"alg": "ES256", "kid": kid}), oidc, "names its key")

    @pytest.mark.parametrize("member", ["alg"])
    def test_header_without_an_algorithm_is_refused(self, refused, signers, oidc, member):
        refused(signers["ES256"].token(oidc.claims, {"kid": "x"}), oidc, "names no algorithm")

    @pytest.mark.parametrize("iss", [None, 1, ["https://login.example.org"], {}])
    def test_token_without_an_issuer_announces_nothing(self, signers, oidc, iss):
        with pytest.raises(InvalidToken, match="no issuer"):
            announce(signers["ES256"].token({**oidc.claims, "iss": iss}))


class TestPlace:
    """J7, J8, V-125."""

    @pytest.mark.parametrize(
        "iss",
        [
            "https://login.example.org/",
            "https://login.example.or",
            "login",
            "HTTPS://login.example.org",
            None,
            5,
            ["https://login.example.org"],
            "https://login.example.org.evil.example",
        ],
    )
    def test_v_125_issuer_is_compared_exactly(self, refused, signers, oidc, iss):
        refused(signers["ES256"].token({**oidc.claims, "iss": iss}), oidc, "another issuer")

    @pytest.mark.parametrize("aud", ["web", ["web"], ["other", "mobile"], ["web", 7]])
    def test_j_8_audience_may_be_one_of_several(self, believe, signers, oidc, aud):
        believe(signers["ES256"].token({**oidc.claims, "aud": aud}), oidc)

    @pytest.mark.parametrize("aud", ["we", "webb", "WEB", [], ["other"], None, 5, {"web": 1}, [["web"]], ""])
    def test_j_8_other_audience_is_refused(self, refused, signers, oidc, aud):
        refused(signers["ES256"].token({**oidc.claims, "aud": aud}), oidc, "another audience")

    def test_j_8_missing_audience_is_refused(self, refused, signers, oidc):
        claims = {name: value for name, value in oidc.claims.items() if name != "aud"}
        refused(signers["ES256"].token(claims), oidc, "another audience")


class TestTimes:
    """J17, with the leeway that providers have."""

    def test_token_is_good_until_the_leeway_is_over(self, believe, signers, oidc, now):
        text = signers["ES256"].token({**oidc.claims, "exp": now})
        believe(text, oidc, now=now + LEEWAY_SECONDS - 0.1)
        with pytest.raises(ExpiredToken) as expired:
            believe(text, oidc, now=now + LEEWAY_SECONDS)
        assert expired.value.expired_at == now

    @pytest.mark.parametrize("name", ["nbf", "iat", "auth_time"])
    def test_token_is_good_from_the_leeway_before_its_time(self, believe, refused, signers, oidc, now, name):
        text = signers["ES256"].token({**oidc.claims, name: now + LEEWAY_SECONDS})
        believe(text, oidc)
        refused(text, oidc, "not valid yet|not been yet", now=now - 1)

    @pytest.mark.parametrize("name", ["exp", "nbf", "iat", "auth_time"])
    @pytest.mark.parametrize("value", [True, "1800003600", 1.8e9, -1, 4_102_444_800, None, [], 10**30])
    def test_j_17_time_that_is_no_whole_number_in_bounds_is_refused(
        self, refused, signers, oidc, name, value
    ):
        refused(signers["ES256"].token({**oidc.claims, name: value}), oidc, "within bounds|JSON")

    @pytest.mark.parametrize("text", [b"NaN", b"Infinity", b"1e400", b"1e308"])
    def test_j_17_endless_expiry_is_refused(self, refused, signers, oidc, text):
        raw = json.dumps({**oidc.claims, "exp": 7}).encode().replace(b'"exp": 7', b'"exp": ' + text)
        refused(signers["ES256"].token(raw), oidc, "JSON|within bounds")

    def test_j_17_expiry_is_needed_and_the_others_are_not(self, believe, refused, signers, oidc):
        claims = {name: value for name, value in oidc.claims.items() if name != "iat"}
        believe(signers["ES256"].token(claims), oidc)
        del claims["exp"]
        refused(signers["ES256"].token(claims), oidc, "no expiry")


@given(data=st.data())
def test_token_that_was_changed_anywhere_is_refused(believe, signers, idps, data):
    idp = idps[data.draw(st.sampled_from(sorted(idps)))]
    algorithm = data.draw(st.sampled_from(["ES256", "EdDSA", "HS256"]))
    text = signers[algorithm].token(idp.claims).encode()
    place = data.draw(st.integers(0, len(text) - 1))
    kind = data.draw(st.sampled_from(["change", "drop", "insert", "cut"]))
    byte = bytes([data.draw(st.integers(0, 255))])
    changed = {
        "change": text[:place] + byte + text[place + 1 :],
        "drop": text[:place] + text[place + 1 :],
        "insert": text[:place] + byte + text[place:],
        "cut": text[:place],
    }[kind]
    if changed == text:
        return
    with pytest.raises(InvalidToken):
        believe(changed, idp, key=algorithm)


@given(text=st.one_of(st.text(), st.binary(), st.from_regex(r"[\w-]{0,40}\.[\w-]{0,40}\.[\w-]{0,40}")))
def test_anything_at_all_is_refused_in_one_type_of_error(believe, idps, text):
    with pytest.raises(InvalidToken):
        believe(text, idps["oidc"])
    with pytest.raises(InvalidToken):
        announce(text)


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=6,
    ),
    name=st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "azp", "role", "firebase", "gty", "sts", "sub"]),
    data=st.data(),
)
def test_claim_of_any_type_is_believed_or_refused(believe, signers, idps, value, name, data):
    idp = idps[data.draw(st.sampled_from(sorted(idps)))]
    try:
        believed = believe(signers["HS256"].token({**idp.claims, name: value}), idp, key="HS256")
    except InvalidToken:
        return
    assert believed.values["iss"] == idp.issuer
