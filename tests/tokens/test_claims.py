import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.access.grants import Grant
from tokenmq.access.permission import Permission
from tokenmq.errors import InvalidToken
from tokenmq.tokens import claims as claims_of_token
from tokenmq.tokens.claims import Claims, strict_json


def claims_of(here, **changed):
    grant = Grant(permissions=(Permission.PUBLISH, Permission.SUBSCRIBE), topics=("chat/#",))
    return Claims(**(here.claims | {"grants": (grant,)} | changed))


def test_encoded_claims_are_the_json_of_the_wire_contract(here):
    assert json.loads(claims_of_token.encode(claims_of(here))) == here.claims
    bound = json.loads(claims_of_token.encode(claims_of(here, client_id="c-*", attrs={"a": 1})))
    assert bound == here.claims | {"client_id": "c-*", "attrs": {"a": 1}}


def test_encoding_has_one_spelling_which_decodes_to_the_same(here):
    raw = claims_of_token.encode(claims_of(here, sub="ü/\N{GRINNING FACE}"))
    assert raw == json.dumps(json.loads(raw), separators=(",", ":"), ensure_ascii=False).encode()
    assert claims_of_token.encode(claims_of_token.decode(raw)) == raw


@given(st.binary(max_size=100))
def test_only_invalid_token_escapes_decode(raw):
    with pytest.raises(InvalidToken):
        claims_of_token.decode(raw)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_strict_json_reads_what_json_writes(value):
    assert strict_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "raw",
    [
        *(b'{"a":1,"a":1}', b'[{"a":{"b":1,"b":2}}]', rb'{"a":1,"\u0061":1}'),
        *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"[1e400]"),
        *(b"", b" ", b"{", b"{}{}", b"{'a':1}", b'{"a":1,}', b"01", b"1.", b".5", b"+1", b"tru"),
        *(b"\xef\xbb\xbf{}", '"a"'.encode("utf-16"), b'"\xff"', b'"\xed\xa0\x80"', b'"a\nb"'),
    ],
)
def test_strict_json_refuses_what_is_open_to_reading(raw):
    with pytest.raises(ValueError):  # noqa: PT011 - which of its kinds is json's own affair
        strict_json(raw)


def test_checked_claims_need_their_issuer_and_organization(here):
    claims_of_token.check(claims_of(here), issuer="tokenmq", now=here.now, org_id=here.org)
    for issuer, org_id in (("other", None), ("tokenmq", "org_aaaaaaaaaaaa"), ("tokenmq", "")):
        with pytest.raises(InvalidToken):
            claims_of_token.check(claims_of(here), issuer=issuer, now=here.now, org_id=org_id)


def test_audience_names_the_broker_of_one_organization(here):
    assert claims_of_token.audience(here.org) == f"mqtt:{here.org}"
