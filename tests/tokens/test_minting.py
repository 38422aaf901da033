import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.access.grants import Grant
from tokenmq.access.permission import Permission
from tokenmq.access.policy import STARTING_POLICY, Policy
from tokenmq.access.rules import Rule
from tokenmq.errors import Forbidden, GrantTooWide, InvalidRequest
from tokenmq.tokens import jwt, minting
from tokenmq.tokens.minting import MintRequest, refresh_recommended_at, subject_of
from tokenmq.tokens.records import KeyKind, OrganizationSettings

BOTH = (Permission.PUBLISH, Permission.SUBSCRIBE)
TOKEN_ID = "tok_aaaqeayeaudaocajbifqydiob4"
DEFAULTS = OrganizationSettings()
JTI = "AAECAwQFBgcICQoLDA0ODw"


@pytest.fixture(scope="session")
def mint(secret_key, here):
    """Mint from the fields of a request: `mint(topics=("a",))`; the user is `u`."""

    def run(
        *,
        key=secret_key,
        policy=STARTING_POLICY,
        settings=DEFAULTS,
        now=here.now,
        limits=minting.ANY_NAMES,
        **fields,
    ):
        return minting.mint(
            MintRequest(**{"user_id": "u"} | fields),
            key=key,
            org_id=here.org,
            policy=policy,
            settings=settings,
            now=now,
            token_id=TOKEN_ID,
            jti=JTI,
            issuer=here.issuer,
            limits=limits,
        )

    return run


@pytest.fixture(scope="session")
def problems(mint):
    """Return the fields that a refusal names."""

    def run(**fields):
        with pytest.raises(InvalidRequest) as refusal:
            mint(**fields)
        assert all(text for _, text in refusal.value.problems)
        return [field for field, _ in refusal.value.problems]

    return run


# The whole


def test_published_example_gives_these_claims(mint, here):
    claims = mint(
        user_id="user-123", permissions=BOTH, topics=("notifications/user-123", "chat/#"), now=here.now + 0.9
    )
    assert claims == minting.Claims(
        iss="tokenmq",
        aud=f"mqtt:{here.org}",
        sub="user-123",
        org=here.org,
        iat=here.now,
        nbf=here.now,
        exp=here.now + 3600,
        jti=JTI,
        fam=TOKEN_ID,
        gen=0,
        grants=(Grant(permissions=BOTH, topics=("chat/#", "notifications/user-123")),),
    )


def test_minted_claims_are_verified_when_signed(mint, es256, ring, here):
    claims = mint(
        user_id="ü@x/+",
        client_id="phone-*",
        grants=(Grant((Permission.HISTORY,), ("a/{client_id}", "a/{org}")),),
    )
    assert jwt.verify(jwt.sign(claims, es256), ring, issuer="tokenmq", now=here.now) == claims


def test_publishable_key_makes_no_token(mint, secret_key):
    with pytest.raises(Forbidden):
        mint(key=dataclasses.replace(secret_key, kind=KeyKind.PUBLISHABLE))


def test_instance_key_mints_as_a_secret_one(mint, secret_key):
    key = dataclasses.replace(secret_key, kind=KeyKind.INSTANCE, org_id=None)
    assert mint(key=key, topics=("a",)) == mint(topics=("a",))


def test_every_wrong_field_is_named_at_once(problems):
    fields = problems(
        ttl_seconds=5, topics=("chat/#/x", "ok"), permissions=(), client_id="", integration_id="\0"
    )
    assert sorted(fields) == ["client_id", "integration_id", "permissions", "topics[0]", "ttl"]


LIMITS = minting.NameLimits(max_client_id_bytes=4, max_topic_bytes=8, max_topic_levels=3)


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"client_id": "abcd"}, []),
        ({"client_id": "abcd*"}, []),
        ({"client_id": "*"}, []),
        ({"client_id": "abcde"}, ["client_id"]),
        ({"client_id": "abcde*"}, ["client_id"]),
        ({"client_id": "ééé"}, ["client_id"]),
        ({"topics": ("a", "12345678")}, []),
        ({"topics": ("a", "123456789")}, ["topics[1]"]),
        ({"topics": ("a/b/#",)}, []),
        ({"topics": ("a/b/c/#",)}, ["topics[0]"]),
        ({"grants": (Grant(BOTH, ("a/b/c/d",)),)}, ["grants[0].topics[0]"]),
        # Counted as the broker sees it: with the user's id in the place of its name.
        ({"user_id": "ann", "topics": ("a/{user_id}",)}, []),
        ({"user_id": "annabel", "topics": ("a/{user_id}",)}, ["topics[0]"]),
    ],
)
def test_what_the_broker_would_refuse_is_not_made(mint, problems, fields, wrong):
    if wrong:
        assert problems(limits=LIMITS, **fields) == wrong
    else:
        mint(limits=LIMITS, **fields)
    mint(**fields)


# Who


@pytest.mark.parametrize(
    ("user_id", "user_email", "subject"),
    [
        ("u", None, ("u", "u")),
        (None, "a@b", ("a@b", "a@b")),
        ("u", "a@b", ("u", "a@b")),
        (None, "no mail", ("no mail",) * 2),
    ],
)
def test_user_id_and_email_are_each_others_default(user_id, user_email, subject):
    assert subject_of(MintRequest(user_id=user_id, user_email=user_email)) == subject


def test_request_without_a_user_is_refused(problems):
    assert problems(user_id=None) == ["user_id"]


@pytest.mark.parametrize(
    "text", ["", "server", "a\0", "\x1f", "\x85", "a" * 256, "é" * 128, "\ud800"], ids=ascii
)
def test_texts_that_can_be_no_user_are_refused(text, problems):
    assert problems(user_id=text) == ["user_id"]
    assert problems(user_email=text) == ["user_email"]
    assert problems(user_id=None, user_email=text) == ["user_email"]


# How long


@pytest.mark.parametrize("ttl", [60, 61, 3600, 86400])
def test_life_is_as_asked(ttl, mint, here):
    assert mint(ttl_seconds=ttl).exp == here.now + ttl


@pytest.mark.parametrize("ttl", [-1, 0, 5, 59, 86401, 10**20, True])
def test_life_out_of_bounds_is_refused(ttl, problems):
    assert problems(ttl_seconds=ttl) == ["ttl"]


def test_organization_sets_default_and_bounds_of_life(mint, problems, here):
    settings = OrganizationSettings(default_ttl_seconds=200, min_ttl_seconds=100, max_ttl_seconds=300)
    assert mint(settings=settings).exp == here.now + 200
    assert mint(settings=settings, ttl_seconds=300).exp == here.now + 300
    assert (
        problems(settings=settings, ttl_seconds=99) == problems(settings=settings, ttl_seconds=301) == ["ttl"]
    )


def test_no_setting_widens_the_bounds_of_the_wire_contract(problems):
    settings = OrganizationSettings(default_ttl_seconds=10, min_ttl_seconds=1, max_ttl_seconds=10**6)
    assert problems(settings=settings) == ["ttl"]
    assert problems(settings=settings, ttl_seconds=86401) == ["ttl"]


# What: the combinations of permissions, topics and grants


def test_topics_alone_get_publish_and_subscribe(mint):
    assert mint(topics=("a/#",)).grants == (Grant(BOTH, ("a/#",)),)


def test_permissions_and_topics_multiply_and_repetitions_merge(mint):
    claims = mint(permissions=(Permission.HISTORY, Permission.HISTORY), topics=("b", "a", "b"))
    assert claims.grants == (Grant((Permission.HISTORY,), ("a", "b")),)


def test_grants_stand_for_themselves(mint):
    claims = mint(
        grants=(Grant((Permission.SUBSCRIBE,), ("a/#",)), Grant((Permission.PUBLISH,), ("a/x", "a/#")))
    )
    assert claims.grants == (Grant((Permission.PUBLISH,), ("a/x",)), Grant(BOTH, ("a/#",)))


@pytest.mark.parametrize(
    "beside", [{"permissions": BOTH}, {"topics": ("a",)}, {"permissions": BOTH, "topics": ("a",)}]
)
def test_grants_beside_permissions_or_topics_are_refused(beside, problems):
    assert problems(grants=(Grant(BOTH, ("a",)),), **beside) == ["grants"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"topics": ()}, "topics"),
        ({"permissions": ()}, "permissions"),
        ({"permissions": (), "topics": ("a",)}, "permissions"),
        ({"grants": ()}, "grants"),
        ({"grants": (Grant((), ("a",)),)}, "grants[0].permissions"),
        ({"grants": (Grant(BOTH, ("a",)), Grant(BOTH, ()))}, "grants[1].topics"),
        ({"topics": tuple(map(str, range(65)))}, "topics"),
        ({"grants": (Grant(BOTH, tuple(map(str, range(33)))),) * 2}, "grants"),
        ({"topics": ("a", "chat/#/x")}, "topics[1]"),
        ({"topics": ("$share/g/a",)}, "topics[0]"),
        ({"topics": ("{user}",)}, "topics[0]"),
        ({"grants": (Grant(BOTH, ("a", "b+")),)}, "grants[0].topics[1]"),
        ({"client_id": "a\0"}, "client_id"),
        ({"client_id": "a" * 65536}, "client_id"),
        ({"integration_id": ""}, "integration_id"),
        ({"integration_id": "a" * 256}, "integration_id"),
        ({"metadata": {"a": "x" * 4096}}, "metadata"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_field_is_named(fields, named, problems):
    assert problems(**fields) == [named]


def test_64_topics_and_4_kib_of_metadata_are_possible(mint):
    topics = tuple(f"t/{number:02}" for number in range(64))
    assert mint(topics=topics, metadata={"a": "x" * 4088}).grants == (Grant(BOTH, topics),)


@pytest.mark.parametrize("user_id", ["a/b", "+", "#", "$a", "a{b}"])
def test_topic_that_this_user_id_would_make_void_is_refused(user_id, mint, problems):
    assert problems(user_id=user_id, topics=("a/{user_id}",)) == ["topics[0]"]
    assert mint(user_id=user_id, topics=("a/b",))


def test_topic_that_this_client_id_would_make_void_is_refused(mint, problems):
    assert problems(client_id="a/b", topics=("a/{client_id}",)) == ["topics[0]"]
    assert mint(client_id="a/b*", topics=("a/{client_id}",))


def test_nothing_said_gives_what_the_policy_grants_this_user(mint):
    own = "$notifications/{user_id}/#"
    everything = tuple(sorted(Permission))
    assert mint().grants == (
        Grant(everything, ("#", "$spaces/#")),
        Grant((Permission.SUBSCRIBE,), ("$notifications/channels/#", own)),
    )
    assert own not in {topic for grant in mint(user_id="a/b").grants for topic in grant.topics}


def test_permissions_alone_get_what_the_policy_grants_for_them(mint):
    assert mint(permissions=(Permission.HISTORY,)).grants == (
        Grant((Permission.HISTORY,), ("#", "$spaces/#")),
    )


# When to come back


@pytest.mark.parametrize(
    ("issued", "expires", "now", "expected"),
    [
        (0, 3600, 0, 3240),
        (0, 60, 0, 54),
        (0, 3600, 3239, 3244),
        (0, 3600, 3590, 3595),
        (0, 3600, 3596, 3598),
        (0, 3600, 3597.9, 3598),
        (100, 161, 100, 154),
    ],
)
def test_refresh_is_recommended_at(issued, expires, now, expected):
    assert refresh_recommended_at(issued, expires, now, extendable=True) == expected


@given(st.integers(0, 2**31), st.integers(1, 86_400), st.floats(0, 1))
def test_refresh_is_never_recommended_for_the_past_nor_too_late(issued, life, part):
    expires = issued + life
    now = min(issued + part * life, expires - 2.0)
    moment = refresh_recommended_at(issued, expires, now, extendable=True)
    assert moment > now or life < 2
    assert moment < expires and moment <= now + 24 * 86_400
    assert moment >= int(issued + 0.9 * life) - 1


def test_refresh_that_would_not_extend_is_recommended_at_expiry():
    assert refresh_recommended_at(0, 3600, 10, extendable=False) == 3600


def test_refresh_is_recommended_within_24_days_whatever_the_life():
    assert refresh_recommended_at(0, 10**8, 0, extendable=True) == 24 * 86_400


# The policy's and the key's word, in full in test_narrowing


def test_request_that_the_policy_leaves_nothing_of_names_permission_and_topic(mint):
    with pytest.raises(GrantTooWide, match="policy leaves nothing of publish on") as refusal:
        mint(topics=("chat/#", "$SYS/#"))
    assert (refusal.value.permission, refusal.value.topic_filter) == ("publish", "$SYS/#")


def test_request_beyond_a_restricted_key_names_permission_and_topic(mint, restricted_key):
    key = restricted_key(Grant((Permission.PUBLISH,), ("chat/#",)))
    assert mint(key=key, permissions=(Permission.PUBLISH,), topics=("chat/+/x",))
    with pytest.raises(GrantTooWide, match="key does not give subscribe on chat/a") as refusal:
        mint(key=key, topics=("chat/a",))
    assert (refusal.value.permission, refusal.value.topic_filter) == ("subscribe", "chat/a")


def test_what_one_policy_let_pass_is_judged_anew_under_another(mint):
    narrow = Policy((Rule("*", (Permission.SUBSCRIBE,), ("#",)),))
    for _ in range(2):
        assert mint(topics=("a/#",)).grants == (Grant(BOTH, ("a/#",)),)
        with pytest.raises(GrantTooWide):
            mint(topics=("a/#",), policy=narrow)


def test_what_a_secret_key_may_ask_a_restricted_one_may_not(mint, secret_key):
    narrow = dataclasses.replace(secret_key, kind=KeyKind.RESTRICTED, grants=(Grant(BOTH, ("a/b",)),))
    mint(topics=("a/#",))
    with pytest.raises(GrantTooWide):
        mint(topics=("a/#",), key=narrow)
