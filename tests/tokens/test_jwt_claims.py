"""Refusals of validly signed claims (rows J6 to J8, J16 to J18, V-32, V-63, V-125)."""

import json

import pytest

from tokenmq.errors import ExpiredToken
from tokenmq.tokens import jwt


def header_of(key, **changed):
    return {"typ": "at+jwt", "alg": key.algorithm, "kid": key.kid} | changed


# J6, J16: JSON


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_j6_header_and_claims_are_utf8_without_bom(encoding, es256, here, forge, refused):
    refused(forge(json.dumps(here.claims).encode(encoding)), "claims")
    refused(forge(here.claims, json.dumps(header_of(es256)).encode(encoding)), "header")


@pytest.mark.parametrize("member", ["sub", "exp", "jti", "grants", "iss"])
def test_j6_claim_named_twice_is_refused(member, here, forge, refused):
    text = json.dumps(here.claims, separators=(",", ":"))
    first = f'{{"{member}":{json.dumps(here.claims[member])},'
    refused(forge((first + text[1:]).encode()), "name a member twice")


def test_j6_member_named_twice_inside_a_grant_or_attrs_is_refused(here, forge, refused):
    text = json.dumps(here.claims)
    twice = text.replace('"permissions"', '"permissions": ["publish"], "permissions"')
    refused(forge(twice.encode()), "name a member twice")
    refused(forge((text[:-1] + ', "attrs": {"a": 1, "a": 1}}').encode()), "name a member twice")


@pytest.mark.parametrize("member", ["typ", "alg", "kid"])
def test_j16_header_member_named_twice_is_refused(member, es256, here, forge, refused):
    header = header_of(es256)
    text = f'{{"{member}":{json.dumps(header[member])},{json.dumps(header)[1:]}'
    refused(forge(here.claims, text.encode()), "header")


def test_j16_v123_json_serialisation_is_refused(here, forge, refused):
    header, payload, signature = forge(here.claims).split(".")
    for document in (
        {"protected": header, "payload": payload, "signature": signature},
        {"payload": payload, "signatures": [{"protected": header, "signature": signature}]},
        {f"{header}.{payload}.{signature}": 1},
    ):
        refused(json.dumps(document), "characters")
    refused('{" ' + forge(here.claims) + '":1}', "characters")


# J7, J8: issuer, audience, organization


@pytest.mark.parametrize(
    "iss", ["", "token", "tokenmq2", "Tokenmq", "tokenmq ", "https://tokenmq", "tokenmq\0"]
)
def test_j7_v125_issuer_is_compared_whole(iss, here, forge, refused):
    refused(forge(here.claims | {"iss": iss}), "another issuer")


@pytest.mark.parametrize("iss", [None, ["tokenmq"], {"tokenmq": 1}, 1, True])
def test_j7_v125_issuer_of_another_type_is_refused(iss, here, forge, refused):
    refused(forge(here.claims | {"iss": iss}), "claims")


@pytest.mark.parametrize(
    "sub", ["", "server", "a\0b", "a\nb", "\x7f", "\x85", "a" * 256, "é" * 128], ids=ascii
)
def test_j7_sub_that_can_be_no_user_is_refused(sub, here, forge, refused):
    refused(forge(here.claims | {"sub": sub}), "sub")


def test_j7_lone_surrogate_in_sub_is_refused(here, forge, refused):
    for escaped in (rb"\ud800", rb"\udfff", rb"\ud800x", b"\xed\xa0\x80", b"\xff"):
        refused(forge(json.dumps(here.claims).encode().replace(b"user-123", escaped)), "claims|sub")


@pytest.mark.parametrize(
    "aud",
    [
        "",
        "mqtt",
        "mqtt:",
        "org_k7xm4pqr2n5t",
        "mqtt:org_aaaaaaaaaaaa",
        "MQTT:org_k7xm4pqr2n5t",
        "mqtt:org_k7xm4pqr2n5t ",
        "mqtt:org_k7xm4pqr2n5t/x",
        "http://mqtt:org_k7xm4pqr2n5t",
    ],
)
def test_j8_audience_is_compared_whole(aud, here, forge, refused):
    refused(forge(here.claims | {"aud": aud}), "another audience")


@pytest.mark.parametrize("aud", [None, [], ["mqtt:org_k7xm4pqr2n5t"], {}, 7])
def test_j8_audience_of_another_type_is_refused(aud, here, forge, refused):
    refused(forge(here.claims | {"aud": aud}), "claims")


def test_j8_org_and_aud_must_agree(here, forge, refused):
    refused(forge(here.claims | {"org": "org_aaaaaaaaaaaa"}), "another audience")
    refused(forge(here.claims | {"org": "", "aud": "mqtt:"}), "another audience")
    refused(forge(here.claims | {"org": "ORG", "aud": "mqtt:ORG"}), "another audience")


def test_j8_token_of_another_organization_is_refused_where_one_is_asked_for(here, forge, refused, verified):
    token = forge(here.claims)
    assert verified(token, org_id=here.org)
    refused(token, "another organization", org_id="org_aaaaaaaaaaaa")


# J17: times, and what a number is


@pytest.mark.parametrize("member", ["exp", "iat", "nbf", "gen"])
@pytest.mark.parametrize(
    "text",
    [
        *[
            "true",
            "false",
            "null",
            "NaN",
            "Infinity",
            "-Infinity",
            "[]",
            "{}",
            "[1800003600]",
            "-0.0",
            "1e308",
            "1e999",
            "1.8e9",
            "18e8",
        ],
        *("1800003600.0", "1800003600.5", "01800003600"),
        *("+1800003600", "0x6B49D200", "18000036_00"),
        *('"1800003600"', "9" * 400, "9" * 4400),
    ],
    ids=lambda text: text[:12],
)
def test_j17_number_that_is_no_plain_integer_is_refused(member, text, here, forge, refused):
    document = json.dumps(here.claims | {member: "@"}).replace('"@"', text)
    refused(forge(document.encode()), "claims|out of|over 8192")


@pytest.mark.parametrize("member", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", [0, -1, 4_102_444_800, 2**63, 2**64, 10**30, -(10**30)])
def test_j17_times_out_of_bounds_are_refused(member, value, here, forge, refused):
    refused(forge(here.claims | {member: value}), "times|longer|claims")


def test_j17_life_is_at_most_the_longest_after_iat(here, forge, refused, verified):
    assert verified(forge(here.claims | {"exp": here.now + 86_400}))
    refused(forge(here.claims | {"exp": here.now + 86_401}), "lives longer")
    refused(forge(here.claims | {"exp": here.now}), "times")
    refused(forge(here.claims | {"exp": here.now - 1}), "times")


def test_j17_iat_and_nbf_in_the_future_are_refused_without_leeway(here, forge, refused, verified):
    token = forge(here.claims)
    assert verified(token, now=here.now)
    refused(token, "not valid yet", now=here.now - 0.001)
    later = forge(here.claims | {"nbf": here.now + 10})
    refused(later, "not valid yet", now=here.now + 9.9)
    assert verified(later, now=here.now + 10)
    refused(forge(here.claims | {"nbf": here.now - 1}), "times")


def test_exp_equal_to_now_is_expired(signing_key, here, forge, ring, verified):
    token = forge(here.claims, key=signing_key)
    exp = here.claims["exp"]
    assert verified(token, now=exp - 0.001).exp == exp
    for now in (exp, exp + 0.5, exp + 10**9):
        with pytest.raises(ExpiredToken) as refusal:
            jwt.verify(token, ring, issuer=here.issuer, now=now)
        assert refusal.value.expired_at == exp


@pytest.mark.parametrize(
    "change", [{"iss": "x"}, {"aud": "x"}, {"sub": ""}, {"jti": "x"}, {"grants": []}], ids=str
)
def test_only_a_genuine_token_for_here_is_called_expired(change, here, forge, refused):
    late = here.claims["exp"]
    refused(forge(here.claims | change), "token", now=late)
    refused(forge(here.claims)[:-6] + "AAAAAA", "signature|spelling", now=late)
    refused(forge(here.claims), "another organization", now=late, org_id="org_aaaaaaaaaaaa")


# J18, V-63: every claim


@pytest.mark.parametrize(
    "member", ["iss", "aud", "sub", "org", "iat", "nbf", "exp", "jti", "fam", "gen", "grants"]
)
def test_v63_no_claim_may_be_missing_or_null(member, here, forge, refused):
    refused(forge({name: value for name, value in here.claims.items() if name != member}), "claims")
    refused(forge(here.claims | {member: None}), "claims")


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": None},
        {"client_id": ""},
        {"client_id": 1},
        {"client_id": ["x"]},
        {"client_id": "a\0"},
        {"attrs": None},
        {"attrs": []},
        {"attrs": "x"},
    ],
    ids=str,
)
def test_v63_optional_claim_that_is_empty_or_null_never_means_any(change, here, forge, refused):
    refused(forge(here.claims | change), "client_id|claims")


@pytest.mark.parametrize("member", ["scope", "admin", "Sub", "sub ", "roles", "$ref", "", "cnf", "acl"])
def test_unknown_claim_is_refused(member, here, forge, refused):
    refused(forge(here.claims | {member: "x"}), "claims")


@pytest.mark.parametrize(
    "change",
    [
        {"jti": ""},
        {"jti": "AAECAwQFBgcICQoLDA0OD"},
        {"jti": "a" * 200},
        {"jti": "AAECAwQFBgcICQoLDA0OD="},
        {"fam": ""},
        {"fam": "tok_"},
        {"fam": "org_k7xm4pqr2n5t"},
        {"fam": "tok_AAAQEAYEAUDAOCAJBIFQYDIOB4"},
    ],
    ids=str,
)
def test_j18_ids_of_another_shape_are_refused(change, here, forge, refused):
    refused(forge(here.claims | change), "jti and fam")


@pytest.mark.parametrize("gen", [-1, 2**31, 2**64, 10**40])
def test_gen_out_of_bounds_is_refused(gen, here, forge, refused):
    refused(forge(here.claims | {"gen": gen}), "gen|claims")


PLAIN = {"permissions": ["publish"], "topics": ["a"]}


MALFORMED_FILTERS = [
    "",
    "a/#/b",
    "a+",
    "#a",
    "a\0b",
    "a\nb",
    "{admin}",
    "{user_id",
    "a}",
    "$share/g/a",
    "/" * 200,
]


@pytest.mark.parametrize(
    "grants",
    [
        *([], {}, "publish:a", [[]], [None], ["publish"], [{}], [PLAIN, None]),
        *([{name: value}] for name, value in PLAIN.items()),
        *([PLAIN | {"permissions": value}] for value in ([], None, "publish", [None], ["all"], ["Publish"])),
        *([PLAIN | {"topics": value}] for value in ([], None, "a", [1])),
        *([PLAIN, PLAIN | {"topics": ["a", topic]}] for topic in MALFORMED_FILTERS),
        [PLAIN | {"deny": True}],
    ],
    ids=lambda grants: str(grants)[:50],
)
def test_malformed_grants_are_refused(grants, here, forge, refused):
    refused(forge(here.claims | {"grants": grants}), "grant|claims|over 8192")


def test_attrs_over_a_kibibyte_are_refused(here, forge, refused, verified):
    assert verified(forge(here.claims | {"attrs": {"a": "x" * (1024 - 8)}}))
    refused(forge(here.claims | {"attrs": {"a": "x" * (1024 - 7)}}), "attrs")
    refused(forge(json.dumps(here.claims).encode()[:-1] + b',"attrs":{"a":1e999}}'), "claims")


@pytest.mark.parametrize("depth", [200, 500, 1000])
def test_v32_deep_nesting_under_a_valid_signature_is_refused(depth, here, forge, refused):
    nested = b'{"attrs":' + b'{"a":' * depth + b"1" + b"}" * depth + b","
    refused(forge(nested + json.dumps(here.claims).encode()[1:]), "claims|attrs|over 8192")
    refused(forge(b"[" * 5 * depth), "claims|over 8192")
