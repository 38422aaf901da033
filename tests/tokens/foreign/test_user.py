"""From believed claims to a user: ids, e-mails, attributes, grants."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.access.grants import Grant
from tokenmq.access.permission import Permission
from tokenmq.errors import ClaimMissing, Forbidden
from tokenmq.tokens.foreign.configuration import MappingRule
from tokenmq.tokens.foreign.token import ForeignClaims
from tokenmq.tokens.foreign.user import prove
from tokenmq.tokens.subjects import user_problem

READ = (Grant((Permission.SUBSCRIBE,), ("news/#",)),)


@pytest.fixture(scope="module")
def proven(idps, now):
    """Prove what a token of the `oidc` provider says: `proven({claims}, **configuration)`."""

    def run(claims, **configuration):
        return prove(ForeignClaims(claims, now + 60), idps["oidc"].record(**configuration))

    return run


class TestUserId:
    def test_user_is_the_subject_after_the_prefix(self, proven, now):
        user = proven({"sub": "ann"}, user_prefix="g:")
        assert (user.user_id, user.user_email, user.provider_id, user.provider) == (
            "g:ann",
            "g:ann",
            "idp_a",
            "oidc",
        )
        assert (user.attrs, user.grants, user.expires_at) == ({}, None, now + 60)

    def test_email_is_shown_verified_or_not(self, proven):
        assert proven({"sub": "ann", "email": "ann@example.org"}).user_email == "ann@example.org"
        assert proven({"sub": "ann", "mail": "a@b.c"}, email_claim="mail").user_email == "a@b.c"

    @pytest.mark.parametrize("email", [None, 7, "", "server", "a\x00", "a" * 256, ["a@b.c"]])
    def test_email_that_is_none_is_not_shown(self, proven, email):
        assert proven({"sub": "ann", "email": email}).user_email == "ann"

    def test_named_claim_is_the_user_id(self, proven):
        assert proven({"sub": "1", "uid": "ann"}, user_id_claim="uid").user_id == "ann"
        assert proven({"sub": "1", "a": {"b": "ann"}}, user_id_claim="a.b").user_id == "ann"
        with pytest.raises(ClaimMissing, match="uid claim required"):
            proven({"sub": "1"}, user_id_claim="uid")

    @pytest.mark.parametrize("asked", ["sub", "email"])
    def test_verified_email_serves_where_there_is_no_subject(self, proven, asked):
        claims = {"email": "ann@example.org", "email_verified": True}
        assert proven(claims, user_id_claim=asked).user_id == "ann@example.org"

    @pytest.mark.parametrize("verified", [False, None, "true", 1, "yes", [True]])
    @pytest.mark.parametrize("asked", ["sub", "email", "mail"])
    def test_unverified_email_is_no_user_id(self, proven, asked, verified):
        claims = {"email": "ann@example.org", "mail": "ann@example.org", "email_verified": verified}
        with pytest.raises(ClaimMissing, match="email or sub claim required"):
            proven(claims, user_id_claim=asked, email_claim="mail" if asked == "mail" else "email")

    @pytest.mark.parametrize("sub", [None, "", 7, True, ["ann"], {"a": 1}])
    def test_subject_that_is_no_text_is_none(self, proven, sub):
        with pytest.raises(ClaimMissing, match="email or sub claim required"):
            proven({"sub": sub})

    @pytest.mark.parametrize("sub", ["server", "a\x00b", "x" * 256, "a\nb", "a\x7f"])
    def test_subject_that_can_be_no_users_id_is_refused(self, proven, sub):
        with pytest.raises(ClaimMissing, match="user id of the token"):
            proven({"sub": sub})

    def test_prefix_counts_into_the_length(self, proven):
        proven({"sub": "x" * 253}, user_prefix="g:")
        with pytest.raises(ClaimMissing):
            proven({"sub": "x" * 254}, user_prefix="g:")


class TestRequired:
    @pytest.mark.parametrize("value", [None, ""])
    def test_required_claim_must_say_something(self, proven, value):
        proven({"sub": "ann", "plan": "free"}, required_claims=("plan",))
        with pytest.raises(ClaimMissing, match="plan claim required"):
            proven({"sub": "ann", "plan": value}, required_claims=("plan",))
        with pytest.raises(ClaimMissing, match="plan claim required"):
            proven({"sub": "ann"}, required_claims=("plan",))

    def test_false_and_zero_say_something(self, proven):
        proven({"sub": "ann", "a": False, "b": 0}, required_claims=("a", "b"))


class TestAttrs:
    def test_listed_claims_travel_and_no_others(self, proven):
        claims = {"sub": "ann", "plan": "free", "age": 7, "app": {"role": "x"}, "secret": "y", "none": None}
        user = proven(claims, attrs=("plan", "age", "app.role", "none", "missing"))
        assert user.attrs == {"plan": "free", "age": 7, "app.role": "x"}

    def test_unverified_email_does_not_travel(self, proven):
        claims = {"sub": "ann", "email": "ann@example.org"}
        assert proven(claims, attrs=("email",)).attrs == {}
        assert proven({**claims, "email_verified": True}, attrs=("email",)).attrs == {
            "email": "ann@example.org"
        }

    def test_claims_that_are_too_large_are_refused_not_cut(self, proven):
        proven({"sub": "ann", "x": "y" * 1_016}, attrs=("x",))
        with pytest.raises(ClaimMissing, match="at most 1024"):
            proven({"sub": "ann", "x": "y" * 1_017}, attrs=("x",))


class TestMapping:
    def test_all_rules_that_match_give_their_grants(self, proven, admin_rule):
        readers = MappingRule("teams", "red", READ)
        user = proven(
            {"sub": "ann", "role": "admin", "teams": ["blue", "red"]}, mapping=(admin_rule, readers)
        )
        assert user.grants == (*admin_rule.grants, *READ)

    def test_who_matches_nothing_gets_nothing(self, proven, admin_rule):
        for claims in ({"sub": "ann"}, {"sub": "ann", "role": "user"}, {"sub": "ann", "role": None}):
            with pytest.raises(Forbidden, match="mapping"):
                proven(claims, mapping=(admin_rule,))

    @pytest.mark.parametrize(
        ("equals", "value"),
        [(1, True), (True, 1), ("1", 1), (1, "1"), (1, 1.0), ("admin", "Admin"), ("admin", {"admin": 1})],
    )
    def test_value_of_another_type_or_spelling_does_not_match(self, proven, equals, value):
        rule = MappingRule("role", equals, READ)
        with pytest.raises(Forbidden):
            proven({"sub": "ann", "role": value}, mapping=(rule,))
        assert proven({"sub": "ann", "role": equals}, mapping=(rule,)).grants == READ

    def test_unverified_email_matches_nothing(self, proven):
        rule = MappingRule("email", "boss@example.org", READ)
        claims = {"sub": "eve", "email": "boss@example.org"}
        with pytest.raises(Forbidden):
            proven(claims, mapping=(rule,))
        assert proven({**claims, "email_verified": True}, mapping=(rule,)).grants == READ

    def test_path_leads_into_objects_and_a_whole_name_comes_first(self, proven):
        rule = MappingRule("app.role", "admin", READ)
        assert proven({"sub": "a", "app": {"role": "admin"}}, mapping=(rule,)).grants == READ
        assert proven({"sub": "a", "app.role": "admin"}, mapping=(rule,)).grants == READ
        for claims in (
            {"app.role": "user", "app": {"role": "admin"}},
            {"app": "role"},
            {"app": [{"role": 1}]},
        ):
            with pytest.raises(Forbidden):
                proven({"sub": "a", **claims}, mapping=(rule,))


@given(
    claims=st.dictionaries(
        st.sampled_from(["sub", "email", "email_verified", "role", "app"]),
        st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()),
    ),
    prefix=st.sampled_from(["", "g:"]),
)
def test_any_claims_prove_a_user_who_can_be_one_or_are_refused(proven, claims, prefix):
    try:
        user = proven(claims, user_prefix=prefix, attrs=("role",), required_claims=("sub",))
    except ClaimMissing:
        return
    assert user_problem(user.user_id) is None
    assert user.user_id == prefix + claims["sub"]
