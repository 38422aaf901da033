"""What a provider's configuration must keep."""

import msgspec
import pytest

from tokenmq.access.grants import Grant
from tokenmq.access.permission import Permission
from tokenmq.errors import InvalidRequest
from tokenmq.tokens.foreign import rules
from tokenmq.tokens.foreign.configuration import Configuration, MappingRule, ProviderKind


def problems(kind, configuration, *, has_secret=False):
    try:
        rules.check(kind, configuration, has_secret=has_secret)
    except InvalidRequest as error:
        return [name for name, _ in error.problems]
    return []


def changed(idp, **changes):
    return problems(idp.kind, msgspec.structs.replace(idp.configuration, **changes))


def test_providers_of_each_kind_are_good_as_they_are(idp):
    assert changed(idp) == []


@pytest.mark.parametrize(
    ("kind", "needed"),
    [
        ("supabase", ["project_url"]),
        ("firebase", ["project_id"]),
        ("auth0", ["domain", "audience"]),
        ("clerk", ["domains"]),
        ("oidc", ["issuer", "audience"]),
    ],
)
def test_what_a_kind_needs_is_named(kind, needed):
    assert problems(ProviderKind(kind), Configuration()) == needed


def test_fields_of_another_kind_are_refused(idps):
    foreign = {
        "project_url": "https://a.example",
        "project_id": "p",
        "domain": "a.example",
        "domains": ("a.example",),
        "issuer": "https://a.example",
        "allow_anonymous": True,
        "authorized_parties": ("x",),
        "audience": ("x",),
    }
    own = {
        "supabase": {"project_url", "allow_anonymous"},
        "firebase": {"project_id", "allow_anonymous"},
        "auth0": {"domain", "audience", "authorized_parties"},
        "clerk": {"domains", "audience", "authorized_parties"},
        "oidc": {"issuer", "audience", "authorized_parties"},
    }
    for name, idp in idps.items():
        for field, value in foreign.items():
            expected = [] if field in own[name] else [field]
            assert changed(idp, **{field: value}) == expected, (name, field)


@pytest.mark.parametrize(
    "url",
    [
        "abc.supabase.co",
        "https://",
        "ftp://a.example",
        "https://a.example/path",
        "https://a.example/",
        "",
        "https://user@a.example",
        "http://localhost:80@evil.example",
        "https://a.example?x",
        "https://a b",
        "https://a.example#x",
        "https://a.example:0",
        "https://a.example:99999",
        "https://é.example",
    ],
)
def test_v_105_project_url_is_an_address_without_more(idps, url):
    assert changed(idps["supabase"], project_url=url) == ["project_url"]


@pytest.mark.parametrize(
    "domain", ["", "https://a.example", "a.example/x", "A.example", "a@b", "a b", "a.example:0"]
)
def test_domain_is_a_host(idps, domain):
    if domain:
        assert changed(idps["auth0"], domain=domain) == ["domain"]
    assert changed(idps["clerk"], domains=("b.example", domain)) == ["domains[1]"]


@pytest.mark.parametrize("project", ["", "Our", "our project", "x" * 64, "a/b"])
def test_project_id_is_one(idps, project):
    assert changed(idps["firebase"], project_id=project) == ["project_id"]


def test_issuer_that_is_no_address_needs_a_key_set(idps):
    assert changed(idps["oidc"], issuer="our backend") == ["issuer"]
    assert changed(idps["oidc"], issuer="our backend", jwks_url="https://a.example/jwks") == []


@pytest.mark.parametrize(
    "url", ["a.example", "https://u@a.example/x", "https://a.example/#x", "file:///x", "\\"]
)
def test_key_set_has_an_address(idp, url):
    if len(idp.configuration.domains) > 1:
        assert changed(idp, jwks_url="https://a.example/x") == ["jwks_url"]
    else:
        assert changed(idp, jwks_url=url) == ["jwks_url"]


def test_shared_secret_is_supabases_alone(idps):
    for name, idp in idps.items():
        expected = [] if name == "supabase" else ["jwt_secret"]
        assert problems(idp.kind, idp.configuration, has_secret=True) == expected
    with_url = msgspec.structs.replace(idps["supabase"].configuration, jwks_url="https://a.example/x")
    assert problems(ProviderKind.SUPABASE, with_url, has_secret=True) == ["jwks_url"]


@pytest.mark.parametrize("size", [31, 1_025])
def test_j_5_secret_is_as_long_as_the_hash(size):
    rules.check_secret("x" * 32)
    with pytest.raises(InvalidRequest, match="jwt_secret"):
        rules.check_secret("x" * size)


@pytest.mark.parametrize("claim", ["user_metadata", "user_metadata.role"])
def test_what_supabases_users_write_decides_nothing(idps, claim):
    rule = MappingRule(claim, "admin", (Grant((Permission.PUBLISH,), ("a",)),))
    for change, field in (
        ({"user_id_claim": claim}, "user_id_claim"),
        ({"attrs": ("role", claim)}, "attrs[1]"),
        ({"mapping": (rule,)}, "mapping[0].claim"),
    ):
        assert changed(idps["supabase"], **change) == [field]
        assert changed(idps["oidc"], **change) == []


def test_lists_and_texts_are_bounded(idps):
    oidc = idps["oidc"]
    assert changed(oidc, audience=tuple(map(str, range(33)))) == ["audience"]
    assert changed(oidc, audience=("x", "")) == ["audience[1]"]
    assert changed(oidc, attrs=("",)) == ["attrs[0]"]
    assert changed(oidc, required_claims=("a\x00",)) == ["required_claims[0]"]
    assert changed(oidc, user_prefix="x" * 65) == ["user_prefix"]
    assert changed(oidc, user_prefix="a\n") == ["user_prefix"]


def test_mapping_names_what_is_wrong(idps):
    def rule(*grants):
        return (MappingRule("role", "admin", grants),)

    oidc = idps["oidc"]
    both = (Permission.PUBLISH, Permission.SUBSCRIBE)
    assert changed(oidc, mapping=rule()) == ["mapping[0].grants"]
    assert changed(oidc, mapping=rule(Grant((), ("a",)))) == ["mapping[0].grants[0]"]
    assert changed(oidc, mapping=rule(Grant(both, ("a", "b/#/c")))) == ["mapping[0].grants[0].topics[1]"]
    assert changed(oidc, mapping=rule(Grant(both, ("{nobody}",)))) == ["mapping[0].grants[0].topics[0]"]
    assert changed(oidc, mapping=rule(Grant(both, tuple(f"t/{n}" for n in range(65))))) == ["mapping"]
    assert changed(oidc, mapping=rule(Grant(both, ("users/{user_id}/#",)))) == []


@pytest.mark.parametrize(
    ("prefixes", "overlap"),
    [
        ([], False),
        ([""], False),
        (["", "a"], True),
        (["a", "a"], True),
        (["a", "ab"], True),
        (["ab", "c", "a"], True),
        (["a-", "b-", "c"], False),
        (["a", "b", "aa", "c"], True),
    ],
)
def test_prefixes_overlap_where_two_users_could_have_one_id(prefixes, overlap):
    assert rules.overlapping_prefixes(prefixes) is overlap
