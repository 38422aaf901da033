"""What comes of a password that is shown, against a transcription of the contract made apart."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.tokens import family
from tokenmq.tokens.family import FamilyState, FamilyUsage, Verdict
from tokenmq.tokens.records import FamilyRecord, OrganizationSettings

NOW = 1_800_000_000
SETTINGS = OrganizationSettings()
RECORD = FamilyRecord(
    token_id="tok_a",
    org_id="org_a",
    user_id="ann",
    user_email="ann@example.org",
    key_id="key",
    integration_id="web",
    client_id="phone-*",
    renewable=True,
    grants=(),
    metadata={"a": 1},
    first_issued_at=NOW,
    ttl_seconds=3_600,
    gen=0,
    jti="first",
    kid="kid",
    issued_at=NOW,
    expires_at=NOW + 3_600,
    ends_at=NOW + 2_592_000,
    attrs={"role": "admin"},
)


def made(**changes):
    return dataclasses.replace(RECORD, **changes)


def third(**changes):
    """A family at generation 2, which took the place of generation 1 at NOW."""
    return made(gen=2, superseded_at=NOW, presented=1, **changes)


def judge(gen, record, now=NOW + 10, settings=SETTINGS, signable=True):
    return family.judge_refresh(gen, record, settings=settings, now=now, signable=signable)


def exchange(gen, record, now=NOW + 10, settings=SETTINGS, expired=False):
    return family.judge_exchange(gen, record, settings=settings, now=now, expired=expired)


class TestState:
    @pytest.mark.parametrize(
        ("changes", "now", "state"),
        [
            ({}, NOW, FamilyState.LIVING),
            ({}, NOW + 3_599.9, FamilyState.LIVING),
            ({}, NOW + 3_600, FamilyState.LAPSED),
            ({}, NOW + 3_900, FamilyState.LAPSED),
            ({}, NOW + 3_900.1, FamilyState.OVER),
            ({"ends_at": NOW + 3_600}, NOW + 3_599, FamilyState.LIVING),
            ({"ends_at": NOW + 3_600}, NOW + 3_600, FamilyState.OVER),
            ({"replaced_at": NOW}, NOW, FamilyState.REPLACED),
            ({"replaced_at": NOW}, NOW + 3_601, FamilyState.REPLACED),
            ({"replaced_at": NOW}, NOW + 4_000, FamilyState.OVER),
            ({"revoked_at": NOW, "replaced_at": NOW}, NOW + 9_000, FamilyState.REVOKED),
        ],
    )
    def test_first_state_that_fits(self, changes, now, state):
        assert family.state_of(made(**changes), SETTINGS, now) is state


class TestRefresh:
    def test_newest_is_followed_by_the_next(self):
        assert judge(0, RECORD) is Verdict.ROTATE
        assert judge(0, RECORD, now=NOW + 3_700) is Verdict.ROTATE

    def test_one_before_is_repeated_while_the_newest_was_never_shown(self):
        assert judge(1, third(), now=NOW + 3_000) is Verdict.REPEAT

    def test_one_before_is_repeated_for_30_s_when_the_newest_was_shown(self):
        record = dataclasses.replace(third(), presented=2)
        assert judge(1, record, now=NOW + 29.9) is Verdict.REPEAT
        assert judge(1, record, now=NOW + 30) is Verdict.REUSE

    def test_what_is_repeated_is_minted_anew_when_it_could_not_be_used(self):
        assert judge(1, third(), now=NOW + 3_598) is Verdict.REPEAT
        assert judge(1, third(), now=NOW + 3_598.1) is Verdict.REMINT
        assert judge(1, third(), now=NOW + 3_900) is Verdict.REMINT
        assert judge(1, third(), signable=False) is Verdict.REMINT

    @pytest.mark.parametrize("gen", [0, 3, 7])
    def test_any_other_is_a_reuse(self, gen):
        assert judge(gen, third()) is Verdict.REUSE

    @pytest.mark.parametrize("gen", [0, 1, 2])
    @pytest.mark.parametrize(
        ("changes", "now", "verdict"),
        [
            ({"revoked_at": NOW}, NOW + 10, Verdict.REVOKED),
            ({"replaced_at": NOW}, NOW + 10, Verdict.REPLACED),
            ({}, NOW + 3_901, Verdict.OVER),
        ],
    )
    def test_reuse_is_counted_of_lapsed_and_living_families_only(self, gen, changes, now, verdict):
        assert judge(gen, third(**changes), now=now) is verdict

    def test_family_that_is_not_renewable_is_forbidden_before_its_end_and_expired_after(self):
        record = made(renewable=False)
        assert judge(0, record, now=NOW + 3_599) is Verdict.NOT_RENEWABLE
        assert judge(0, record, now=NOW + 3_600) is Verdict.OVER

    def test_no_password_is_made_that_would_live_under_2_s(self):
        record = made(ends_at=NOW + 3_602)
        assert judge(0, record, now=NOW + 3_600) is Verdict.ROTATE
        assert judge(0, record, now=NOW + 3_600.5) is Verdict.OVER


class TestExchange:
    def test_newest_is_exchanged_while_it_has_not_expired(self):
        assert exchange(0, RECORD) is Verdict.CHILD
        assert exchange(0, RECORD, now=NOW + 3_700, expired=True) is Verdict.EXPIRED

    def test_one_before_is_exchanged_as_long_as_it_may_be_shown_expired_or_not(self):
        assert exchange(1, third(), expired=True) is Verdict.CHILD
        shown = dataclasses.replace(third(), presented=2)
        assert exchange(1, shown, now=NOW + 29, expired=True) is Verdict.CHILD
        assert exchange(1, shown, now=NOW + 30) is Verdict.REUSE

    @pytest.mark.parametrize("expired", [False, True])
    def test_superseded_one_is_a_reuse_expired_or_not(self, expired):
        assert exchange(0, third(), expired=expired) is Verdict.REUSE

    @pytest.mark.parametrize(
        ("changes", "verdict"),
        [({"revoked_at": 1}, Verdict.REVOKED), ({"replaced_at": 1}, Verdict.REPLACED)],
    )
    def test_ended_families_exchange_nothing(self, changes, verdict):
        assert exchange(0, made(**changes)) is verdict

    def test_child_of_a_family_that_is_not_renewable_lives_at_least_2_s(self):
        record = made(renewable=False)
        assert exchange(0, record, now=NOW + 3_598) is Verdict.CHILD
        assert exchange(0, record, now=NOW + 3_598.5) is Verdict.OVER


class TestMaking:
    def test_next_generation_has_the_life_that_was_asked_for_first(self):
        record = family.renewed(RECORD, Verdict.ROTATE, jti="j", kid="k", now=NOW + 3_000.2)
        assert record == made(
            gen=1, jti="j", kid="k", issued_at=NOW + 3_000, expires_at=NOW + 6_600, superseded_at=NOW + 3_001
        )

    def test_next_generation_ends_with_the_family(self):
        record = family.renewed(
            made(ends_at=NOW + 4_000), Verdict.ROTATE, jti="j", kid="k", now=NOW + 3_000
        )
        assert record.expires_at == NOW + 4_000
        assert not family.is_extendable(record)

    def test_newest_minted_anew_keeps_its_generation(self):
        record = family.renewed(third(), Verdict.REMINT, jti="j", kid="k", now=NOW + 3_700)
        assert record == third(jti="j", kid="k", issued_at=NOW + 3_700, expires_at=NOW + 7_300)

    def test_child_is_alike_but_begins_anew(self):
        record = third(clients=(("c", None),), connected=1)
        child = family.child_of(record, token_id="tok_b", jti="j", kid="k", now=NOW + 60.7)
        assert child == made(
            token_id="tok_b",
            jti="j",
            kid="k",
            first_issued_at=NOW + 60,
            issued_at=NOW + 60,
            expires_at=NOW + 3_660,
            parent_id="tok_a",
        )

    def test_childs_child_belongs_to_the_root(self):
        child = family.child_of(RECORD, token_id="tok_b", jti="j", kid="k", now=NOW)
        assert family.child_of(child, token_id="tok_c", jti="j", kid="k", now=NOW).parent_id == "tok_a"

    def test_child_of_a_family_that_is_not_renewable_ends_with_it(self):
        child = family.child_of(made(renewable=False), token_id="tok_b", jti="j", kid="k", now=NOW + 60)
        assert (child.expires_at, child.ends_at) == (NOW + 3_600, NOW + 3_600)
        assert not child.renewable

    def test_what_was_seen_only_ever_grows(self):
        record = third(connected=1, clients=(("c", 5),))
        assert family.used(record, None) == record
        assert family.used(record, FamilyUsage("tok_a", 0, None, ())) == record
        seen = family.used(record, FamilyUsage("tok_a", 2, 2, (("d", None),)))
        assert (seen.presented, seen.connected, seen.clients) == (2, 2, (("d", None),))

    def test_connections_get_the_newest_password(self):
        renewal = family.renewal_of(third())
        assert (renewal.gen, renewal.jti, renewal.expires_at) == (2, "first", NOW + 3_600)
        assert renewal.attrs == {"role": "admin"}


# The oracle: the sentences of the contract, one after the other, on plain numbers.


def oracle(g, n, *, revoked, replaced, renewable, age, life_left, since, unpresented, to_end, ttl, grace):
    """Say what a refresh is answered with; `age` is how long ago the newest expired."""
    if revoked:
        return {"unauthorized"}
    if to_end <= 0 or age > grace:
        return {"token_expired"}
    if replaced:
        return {"unauthorized"}
    in_window = g == n - 1 and since is not None and (unpresented or since < 30)
    if g != n and not in_window:
        return {"reuse"}
    if not renewable:
        return {"forbidden"} if life_left > 0 else {"token_expired"}
    if in_window and life_left >= 2:
        return {"same"}
    if min(ttl, to_end) < 2:
        return {"token_expired"}
    return {"minted anew"} if in_window else {"next"}


WORDS = {
    Verdict.REVOKED: "unauthorized",
    Verdict.REPLACED: "unauthorized",
    Verdict.OVER: "token_expired",
    Verdict.NOT_RENEWABLE: "forbidden",
    Verdict.REUSE: "reuse",
    Verdict.REPEAT: "same",
    Verdict.REMINT: "minted anew",
    Verdict.ROTATE: "next",
}


@given(
    n=st.integers(0, 4),
    g=st.integers(0, 5),
    revoked=st.booleans(),
    replaced=st.booleans(),
    renewable=st.booleans(),
    issued=st.integers(-4_000, 0),
    ttl=st.sampled_from([60, 61, 3_600]),
    end=st.integers(-2, 4_000),
    since=st.integers(0, 60),
    unpresented=st.booleans(),
    grace=st.sampled_from([0, 1, 300, 900]),
)
def test_verdict_is_that_of_the_contract(
    n, g, revoked, replaced, renewable, issued, ttl, end, since, unpresented, grace
):
    ends_at = NOW + end
    expires_at = min(NOW + issued + ttl, ends_at)
    record = made(
        gen=n,
        revoked_at=1 if revoked else None,
        replaced_at=1 if replaced else None,
        renewable=renewable,
        ttl_seconds=ttl,
        expires_at=expires_at,
        ends_at=ends_at,
        superseded_at=NOW - since if n else None,
        presented=n - 1 if unpresented else n,
    )
    verdict = judge(g, record, now=NOW, settings=OrganizationSettings(refresh_grace_seconds=grace))
    expected = oracle(
        g, n, revoked=revoked, replaced=replaced, renewable=renewable, age=NOW - expires_at,
        life_left=expires_at - NOW, since=since if n else None, unpresented=unpresented,
        to_end=end, ttl=ttl, grace=grace,
    )  # fmt: skip
    assert WORDS[verdict] in expected


@given(st.lists(st.tuples(st.sampled_from(["newest", "before", "older", "wait"]), st.integers(0, 4_000))))
def test_n5_generations_are_monotone_and_at_most_one_follows_another(steps):
    record, now, jtis = RECORD, float(NOW), {RECORD.jti}
    for what, seconds in steps:
        if what == "wait":
            now += seconds
            continue
        gen = record.gen - {"newest": 0, "before": 1, "older": 2}[what]
        if gen < 0:
            continue
        verdict = judge(gen, record, now=now)
        if verdict is Verdict.REUSE:
            return
        if verdict in (Verdict.ROTATE, Verdict.REMINT):
            jti = f"j{len(jtis)}"
            jtis.add(jti)
            after = family.renewed(record, verdict, jti=jti, kid="kid", now=now)
            assert after.gen == record.gen + (verdict is Verdict.ROTATE)
            assert after.expires_at >= record.expires_at
            assert after.expires_at - now >= 2
            record = after
