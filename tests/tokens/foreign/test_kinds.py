"""Each kind of provider takes its own tokens and no other's."""

import msgspec
import pytest

from tokenmq.errors import InvalidToken
from tokenmq.tokens.foreign import kinds
from tokenmq.tokens.foreign.configuration import Configuration, ProviderKind

ALL = ("supabase", "firebase", "auth0", "clerk", "oidc")


@pytest.mark.parametrize("shown", ALL)
@pytest.mark.parametrize("asked", ALL)
def test_j_11_only_the_diagonal_passes(believe, signers, idps, shown, asked):
    """Signed with one key for all, so that only claims tell them apart."""
    text = signers["ES256"].token(idps[shown].claims)
    if shown == asked:
        believe(text, idps[asked])
        return
    with pytest.raises(InvalidToken):
        believe(text, idps[asked])


@pytest.mark.parametrize("shown", ALL)
@pytest.mark.parametrize("asked", ALL)
def test_j_11_another_kinds_token_is_refused_even_with_the_same_issuer(believe, signers, idps, shown, asked):
    """But for what says nothing of its own: an issuer that passes for another is that other."""
    if shown == asked:
        return
    claims = {**idps[shown].claims, "iss": idps[asked].issuer}
    with pytest.raises(InvalidToken):
        believe(signers["ES256"].token(claims), idps[asked])


@pytest.mark.parametrize("asked", ALL)
def test_token_of_ours_is_nobodys(believe, idps, asked, signers, now):
    ours = {"iss": "tokenmq", "aud": "mqtt:org_k7xm4pqr2n5t", "sub": "ann", "iat": now, "exp": now + 60}
    with pytest.raises(InvalidToken):
        believe(signers["ES256"].token(ours, {"typ": "at+jwt", "alg": "ES256"}), idps[asked])


def test_sources_are_where_each_kind_has_its_keys(idps):
    found = {name: kinds.sources(idp.kind, idp.configuration) for name, idp in idps.items()}
    assert {
        name: [(one.issuer, one.url, one.discovered) for one in some] for name, some in found.items()
    } == {
        "supabase": [
            (
                "https://abc.supabase.example/auth/v1",
                "https://abc.supabase.example/auth/v1/.well-known/jwks.json",
                False,
            )
        ],
        "firebase": [("https://securetoken.google.com/our-project", kinds.FIREBASE_JWKS_URL, False)],
        "auth0": [
            ("https://tenant.auth0.example/", "https://tenant.auth0.example/.well-known/jwks.json", False)
        ],
        "clerk": [
            ("https://dev.clerk.example", "https://dev.clerk.example/.well-known/jwks.json", False),
            ("https://clerk.example.org", "https://clerk.example.org/.well-known/jwks.json", False),
        ],
        "oidc": [
            (
                "https://login.example.org",
                "https://login.example.org/.well-known/openid-configuration",
                True,
            )
        ],
    }


def test_named_key_set_stands_in_place_of_the_usual_one(idps):
    for idp in idps.values():
        configuration = msgspec.structs.replace(idp.configuration, jwks_url="https://keys.example/set")
        for source in kinds.sources(idp.kind, configuration):
            assert (source.url, source.discovered) == ("https://keys.example/set", False)


def test_discovery_of_an_issuer_with_a_slash_has_one_slash():
    configuration = Configuration(issuer="https://login.example.org/", audience=("web",))
    (source,) = kinds.sources(ProviderKind.OIDC, configuration)
    assert source.url == "https://login.example.org/.well-known/openid-configuration"


class TestSupabase:
    @pytest.mark.parametrize("role", ["anon", "service_role", None, 7, ["authenticated"]])
    def test_key_of_the_project_is_no_user(self, refused, signers, idps, role):
        idp = idps["supabase"]
        refused(signers["HS256"].token({**idp.claims, "role": role}), idp, "no user's", key="HS256")

    def test_missing_role_is_refused(self, refused, signers, idps):
        claims = {name: value for name, value in idps["supabase"].claims.items() if name != "role"}
        refused(signers["ES256"].token(claims), idps["supabase"], "no user's")

    def test_who_has_not_signed_in_is_refused_unless_allowed(self, believe, refused, signers, idps):
        text = signers["ES256"].token({**idps["supabase"].claims, "is_anonymous": True})
        refused(text, idps["supabase"], "not signed in")
        believe(text, idps["supabase"], allow_anonymous=True)


class TestFirebase:
    def test_who_has_not_signed_in_is_refused_unless_allowed(self, believe, refused, signers, idps):
        claims = {**idps["firebase"].claims, "firebase": {"sign_in_provider": "anonymous"}}
        refused(signers["RS256"].token(claims), idps["firebase"], "not signed in", key="RS256")
        believe(signers["RS256"].token(claims), idps["firebase"], key="RS256", allow_anonymous=True)

    @pytest.mark.parametrize("details", [None, {}, [], "password", {"sign_in_provider": 1}])
    def test_token_that_does_not_say_how_its_user_signed_in_is_refused(self, refused, signers, idps, details):
        refused(
            signers["ES256"].token({**idps["firebase"].claims, "firebase": details}),
            idps["firebase"],
            "how its user",
        )


class TestAuth0:
    def test_programs_token_is_no_users(self, refused, signers, idps):
        claims = {**idps["auth0"].claims, "gty": "client-credentials", "sub": "abc@clients"}
        refused(signers["RS256"].token(claims), idps["auth0"], "program's", key="RS256")


class TestClerk:
    @pytest.mark.parametrize("azp", ["https://evil.example", None, 5, ["https://app.example.org"], ""])
    def test_another_party_is_refused_where_parties_are_set(self, refused, signers, idps, azp):
        refused(signers["ES256"].token({**idps["clerk"].claims, "azp": azp}), idps["clerk"], "azp")

    def test_any_party_is_taken_where_none_is_set(self, believe, signers, idps):
        claims = {name: value for name, value in idps["clerk"].claims.items() if name != "azp"}
        believe(signers["ES256"].token(claims), idps["clerk"], authorized_parties=())

    def test_each_domain_is_its_own_issuer(self, believe, refused, signers, idps):
        text = signers["ES256"].token({**idps["clerk"].claims, "iss": "https://clerk.example.org"})
        believe(text, idps["clerk"], issuer="https://clerk.example.org")
        refused(text, idps["clerk"], "another issuer")

    def test_audience_is_wanted_only_where_it_is_set(self, believe, refused, signers, idps):
        text = signers["ES256"].token({**idps["clerk"].claims, "aud": "template"})
        refused(text, idps["clerk"], "another audience")
        believe(text, idps["clerk"], audience=("template",))
        refused(signers["ES256"].token(idps["clerk"].claims), idps["clerk"], "audience", audience=("x",))

    def test_session_that_is_not_complete_is_refused(self, refused, signers, idps):
        refused(signers["ES256"].token({**idps["clerk"].claims, "sts": "pending"}), idps["clerk"], "complete")
