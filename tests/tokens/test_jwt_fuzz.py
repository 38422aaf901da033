"""V-32: whatever is shown, signed or not, `verify` raises InvalidToken or gives sound claims."""

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmq.errors import ExpiredToken, InvalidToken
from tokenmq.tokens import jwt

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = [
    "iss",
    "aud",
    "sub",
    "org",
    "iat",
    "nbf",
    "exp",
    "jti",
    "fam",
    "gen",
    "grants",
    "client_id",
    "attrs",
]
FUZZ = settings(max_examples=400)


@pytest.fixture(scope="session")
def outcome(ring, here):
    """Return claims, or None for a refusal; any other exception fails the test."""

    def run(token):
        try:
            return jwt.verify(token, ring, issuer=here.issuer, now=here.now)
        except InvalidToken:
            return None

    return run


def assert_sound(claims, here):
    """What the broker may rely on, said again in other words."""
    assert claims.iss == "tokenmq" and claims.aud == "mqtt:" + claims.org and len(claims.org) == 16
    for number in (claims.iat, claims.nbf, claims.exp, claims.gen):
        assert type(number) is int and number >= 0
    assert claims.iat <= claims.nbf <= here.now < claims.exp <= claims.iat + 86_400
    assert 1 <= len(claims.sub.encode()) <= 255 and claims.sub != "server"
    assert not any(unicodedata.category(char) == "Cc" for char in claims.sub)  # what is unassigned may be
    assert claims.client_id is None or claims.client_id
    assert claims.grants
    for grant in claims.grants:
        assert grant.permissions and set(grant.permissions) <= {"publish", "subscribe", "presence", "history"}
        assert grant.topics and all(topic and "\0" not in topic for topic in grant.topics)


@given(st.binary(max_size=300) | st.text(max_size=300) | st.from_regex(r"[\w.=-]{0,80}"))
@FUZZ
def test_v32_arbitrary_input_is_refused(outcome, token):
    assert outcome(token) is None


@given(st.data())
@FUZZ
def test_v32_changed_tokens_are_refused(outcome, here, forge, data):
    token = forge(here.claims).encode()
    start = data.draw(st.integers(0, len(token)))
    stop = data.draw(st.integers(start, min(len(token), start + 8)))
    changed = token[:start] + data.draw(st.binary(max_size=8)) + token[stop:]
    assert (outcome(changed) is None) is (changed != token)


@given(st.binary(max_size=200) | ANY_JSON)
@FUZZ
def test_v32_arbitrary_claims_under_a_valid_signature_are_refused(outcome, forge, claims):
    assert outcome(forge(claims)) is None


@given(st.binary(max_size=200) | ANY_JSON)
@FUZZ
def test_v32_arbitrary_headers_under_a_valid_signature_are_refused(outcome, here, forge, header):
    assert outcome(forge(here.claims, header if header is not None else b"null")) is None


@given(member=st.sampled_from([*MEMBERS, "extra"]), value=ANY_JSON)
@FUZZ
def test_v32_one_arbitrary_claim_under_a_valid_signature(outcome, here, forge, member, value):
    claims = outcome(forge(here.claims | {member: value}))
    if claims is not None:
        assert_sound(claims, here)
        assert getattr(claims, member) is not None and member != "extra"


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "iat": st.integers(1_799_900_000, 1_800_100_000),
            "nbf": st.integers(1_799_900_000, 1_800_100_000),
            "exp": st.integers(1_799_900_000, 1_800_200_000),
            "gen": st.integers(-2, 2**33),
            "sub": st.text(max_size=5).filter(lambda text: text.isprintable()),
            "client_id": st.text(max_size=5),
            "grants": st.lists(
                st.fixed_dictionaries(
                    {
                        "permissions": st.lists(
                            st.sampled_from(["publish", "subscribe", "history", "x"]), max_size=2
                        ),
                        "topics": st.lists(st.text("ab/+#${}\0user_id", max_size=9), max_size=2),
                    }
                ),
                max_size=2,
            ),
        },
    )
)
@settings(max_examples=800)
def test_v32_nearly_right_claims_under_a_valid_signature(ring, here, forge, changed):
    document = here.claims | changed
    try:
        claims = jwt.verify(forge(document), ring, issuer=here.issuer, now=here.now)
    except ExpiredToken:
        claims = jwt.verify(forge(document), ring, issuer=here.issuer, now=document["exp"] - 1)
        assert claims.exp <= here.now
        return
    except InvalidToken:
        return
    assert_sound(claims, here)
    assert (
        json.loads(json.dumps(document)).items()
        >= {"sub": claims.sub, "exp": claims.exp, "gen": claims.gen}.items()
    )
