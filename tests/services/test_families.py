"""What is remembered of families, for how long, and what follows for their passwords."""

import dataclasses

import msgspec
import pytest

from tokenmq.access.identity import Identity
from tokenmq.errors import ExpiredToken, FamilyLapsed, InvalidToken
from tokenmq.services.families import Families
from tokenmq.stores.base import GRACE_SECONDS, EndedFamily
from tokenmq.stores.family_life import FamilyFacts, KnownFamily
from tokenmq.tokens.claims import Claims
from tokenmq.tokens.family import FamilyUsage, renewal_of
from tokenmq.tokens.jwt import LapsedClaims
from tokenmq.tokens.records import FamilyRecord, OrganizationSettings

NOW = 1_800_000_000
END = NOW + 3_600


def identity(token_id="tok_a", expires_at=END):
    return Identity(
        org_id="org_abcdefghijkl",
        user_id="ann",
        username="ann@org_abcdefghijkl",
        grants=(),
        expires_at=expires_at,
        token_id=token_id,
        jti=None,
        gen=0,
        key_id=None if token_id else "abcdefgh",
        client_id=None,
    )


def test_family_that_is_not_known_is_as_its_claims_say():
    Families().check(identity(), NOW)


@pytest.mark.parametrize(("revoked", "words"), [(True, "revoked"), (False, "replaced")])
def test_ended_family_is_refused_and_told_why(revoked, words):
    families = Families()
    families.mark([EndedFamily("tok_a", END, revoked=revoked)], NOW)
    with pytest.raises(InvalidToken, match=words):
        families.check(identity(), NOW)
    families.check(identity("tok_b"), NOW)


@pytest.mark.parametrize("order", [(True, False), (False, True)], ids=["revoked first", "replaced first"])
def test_revoked_wins_over_replaced(order):
    families = Families()
    for revoked in order:
        families.mark([EndedFamily("tok_a", END, revoked=revoked)], NOW)
    with pytest.raises(InvalidToken, match="revoked"):
        families.check_family("tok_a")
    assert len(families) == 1


def test_identity_is_refused_from_its_expiry_on():
    families = Families()
    families.check(identity(), END - 0.001)
    with pytest.raises(ExpiredToken):
        families.check(identity(), END)


def test_servers_identity_has_no_family_and_may_never_expire():
    families = Families()
    families.check(identity(token_id=None, expires_at=None), NOW)
    with pytest.raises(ExpiredToken):
        families.check(identity(token_id=None), END)


def test_family_is_forgotten_only_when_its_password_and_the_grace_are_over():
    families = Families()
    families.mark(
        [EndedFamily("tok_a", END, revoked=True), EndedFamily("tok_b", END + 9_000, revoked=True)], NOW
    )
    families.forget(END + GRACE_SECONDS)
    assert len(families) == 2
    families.forget(END + GRACE_SECONDS + 1_200)
    assert len(families) == 1
    with pytest.raises(InvalidToken):
        families.check_family("tok_b")


def test_family_that_was_over_long_ago_is_not_taken_in():
    families = Families()
    families.mark([EndedFamily("tok_a", NOW - GRACE_SECONDS, revoked=True)], NOW)
    assert len(families) == 0


CLAIMS = {
    "iss": "tokenmq",
    "aud": "mqtt:org_abcdefghijkl",
    "sub": "ann",
    "org": "org_abcdefghijkl",
    "iat": NOW,
    "nbf": NOW,
    "exp": END,
    "jti": "first",
    "fam": "tok_a",
    "gen": 0,
    "grants": (),
}
RECORD = FamilyRecord(
    token_id="tok_a",
    org_id="org_abcdefghijkl",
    user_id="ann",
    user_email="ann",
    key_id="key",
    integration_id=None,
    client_id=None,
    renewable=True,
    grants=(),
    metadata={},
    first_issued_at=NOW,
    ttl_seconds=3_600,
    gen=1,
    jti="second",
    kid="kid",
    issued_at=NOW + 3_000,
    expires_at=NOW + 6_600,
    ends_at=NOW + 2_592_000,
    superseded_at=NOW + 3_000,
)
NEWEST = renewal_of(RECORD)


def password(gen=0, **changes):
    return Claims(**{**CLAIMS, "gen": gen, "jti": ("first", "second", "third")[gen], **changes})


def newer(gen=1):
    return password(gen, iat=NOW + 3_000, nbf=NOW + 3_000, exp=NOW + 6_600)


def shown(families, now, claims=None, client_id="c1", **settings):
    """Show a password at a CONNECT as the verifier gives it."""
    claims = claims or password()
    found = LapsedClaims(claims) if now >= claims.exp else claims
    return families.connect(found, client_id, OrganizationSettings(**settings), now)


def enter(families, claims=None, client_id="c1", now=NOW + 10, **settings):
    """Connect; return what `left` takes."""
    claims = claims or password()
    newest = shown(families, now, claims, client_id, **settings)
    who = msgspec.structs.replace(identity(), gen=claims.gen, expires_at=claims.exp)
    if newest is not None:
        who = msgspec.structs.replace(who.renewed(newest), shown_gen=claims.gen)
    families.check(who, now)
    return families.connected(who, client_id)


def refreshed(**changes):
    """A family that was connected by c1, refreshed, and lost its connection."""
    families = Families()
    stay = enter(families)
    families.renew(dataclasses.replace(RECORD, **changes))
    families.left(stay, NOW + 3_100)
    return families


class TestConnect:
    def test_family_that_was_never_refreshed_is_as_its_claims_say(self):
        families = Families()
        assert shown(families, END - 1) is None
        with pytest.raises(ExpiredToken):
            shown(families, END)

    def test_newest_is_as_its_claims_say(self):
        assert shown(refreshed(), NOW + 5_000, newer()) is None

    @pytest.mark.parametrize("now", [NOW + 3_200, END, NOW + 6_599])
    def test_superseded_or_expired_one_comes_back_with_the_newest_scope_and_expiry(self, now):
        assert shown(refreshed(), now) == NEWEST

    def test_stolen_one_with_another_client_id_is_refused(self):
        with pytest.raises(InvalidToken, match="newest"):
            shown(refreshed(), NOW + 3_200, client_id="thief")
        with pytest.raises(ExpiredToken):
            shown(refreshed(), END, client_id="thief")

    def test_client_comes_back_within_the_window_or_the_familys_life_alone(self):
        # It left at 3,100; the life is 3,600 s, longer than a window of 60 s.
        later = {"expires_at": NOW + 9_000}
        for window in (60, 3_600):
            families = refreshed(**later)
            assert shown(families, NOW + 6_700, reconnect_window_seconds=window).gen == 1
            with pytest.raises(ExpiredToken):
                shown(families, NOW + 6_701, reconnect_window_seconds=window)
        assert shown(refreshed(**later), NOW + 8_000, reconnect_window_seconds=7_200).gen == 1

    def test_client_that_is_still_connected_may_come_back_whenever_it_does(self):
        families = Families()
        enter(families)
        families.renew(dataclasses.replace(RECORD, expires_at=NOW + 90_000))
        assert shown(families, NOW + 80_000).gen == 1

    def test_client_that_took_over_from_itself_is_still_connected(self):
        families = Families()
        first = enter(families)
        enter(families, now=NOW + 100)
        families.left(first, NOW + 100)
        families.renew(dataclasses.replace(RECORD, expires_at=NOW + 90_000))
        assert shown(families, NOW + 80_000).gen == 1

    def test_none_comes_back_once_a_connection_has_shown_a_newer_one(self):
        families = refreshed()
        families.left(enter(families, newer(), now=NOW + 3_200), NOW + 3_201)
        with pytest.raises(InvalidToken):
            shown(families, NOW + 3_300)
        with pytest.raises(ExpiredToken):
            shown(families, END)

    def test_who_came_back_with_an_old_one_has_shown_no_newer(self):
        families = refreshed()
        for later in (3_200, 3_300, 3_400):
            families.left(enter(families, now=NOW + later), NOW + later + 1)
        assert shown(families, NOW + 3_500) == NEWEST

    def test_presented_over_http_keeps_no_connection_away(self):
        families = refreshed()
        families.require_current(newer(), NOW + 3_200)
        assert shown(families, NOW + 3_300) == NEWEST

    def test_unexpired_one_opens_while_no_connection_was_ever_made(self):
        families = Families()
        families.renew(RECORD)
        assert shown(families, NOW + 3_200, client_id="any") == NEWEST
        with pytest.raises(ExpiredToken):
            shown(families, END, client_id="any")
        enter(families, client_id="any", now=NOW + 3_200)
        with pytest.raises(InvalidToken):
            shown(families, NOW + 3_300, client_id="other")
        assert shown(families, NOW + 3_300, client_id="any") == NEWEST

    def test_family_that_is_older_than_the_process_counts_as_having_been_connected(self):
        families = Families(started_at=NOW + 1)
        families.renew(RECORD)
        with pytest.raises(InvalidToken):
            shown(families, NOW + 3_200)

    def test_organization_may_want_no_superseded_ones(self):
        with pytest.raises(InvalidToken):
            shown(refreshed(), NOW + 3_200, superseded_reconnect=False)
        with pytest.raises(ExpiredToken):
            shown(refreshed(), END, superseded_reconnect=False)
        assert shown(refreshed(), NOW + 3_200, newer(), superseded_reconnect=False) is None

    def test_generation_that_was_never_given_out_is_refused(self):
        with pytest.raises(InvalidToken):
            shown(refreshed(), NOW + 3_200, newer(2))

    @pytest.mark.parametrize("revoked", [True, False])
    def test_ended_family_opens_nothing(self, revoked):
        families = refreshed()
        families.mark([EndedFamily("tok_a", NOW + 6_600, revoked=revoked)], NOW)
        for claims in (password(), newer()):
            with pytest.raises(InvalidToken, match="revoked" if revoked else "replaced"):
                shown(families, NOW + 3_200, claims)
        assert families.renew(dataclasses.replace(RECORD, gen=2)) is None
        assert families.usage_of("tok_a") is None
        assert families.take_usage(10) == []

    def test_only_the_16_latest_client_ids_come_back(self):
        families = Families()
        for number in range(17):
            enter(families, client_id=f"c{number}")
        enter(families, client_id="c1")
        enter(families, client_id="c17")
        families.renew(RECORD)
        known = []
        for number in range(18):
            try:
                known.append(shown(families, NOW + 3_200, client_id=f"c{number}") and number)
            except InvalidToken:
                continue
        assert known == [1, *range(3, 18)]


def recently():
    """A family that was refreshed, and connected by c1 not long before its end."""
    families = refreshed()
    families.left(enter(families, now=NOW + 6_500), NOW + 6_501)
    return families


class TestLapsed:
    def test_known_client_is_told_to_try_again_for_60_s_from_its_first_try(self):
        families = recently()
        for later in (6_700, 6_730, 6_759):
            with pytest.raises(FamilyLapsed):
                shown(families, NOW + later)
        with pytest.raises(ExpiredToken):
            shown(families, NOW + 6_760)

    def test_family_that_was_never_refreshed_lapses_likewise(self):
        families = Families()
        enter(families)
        with pytest.raises(FamilyLapsed):
            shown(families, END)
        with pytest.raises(ExpiredToken):
            shown(families, END, client_id="other")

    def test_refresh_ends_the_lapse_and_its_clock(self):
        families = recently()
        with pytest.raises(FamilyLapsed):
            shown(families, NOW + 6_600)
        families.renew(
            dataclasses.replace(RECORD, gen=2, jti="third", issued_at=NOW + 6_650, expires_at=NOW + 6_710)
        )
        assert shown(families, NOW + 6_655).gen == 2
        with pytest.raises(FamilyLapsed):
            shown(families, NOW + 6_710)

    def test_family_that_is_over_is_expired(self):
        with pytest.raises(FamilyLapsed):
            shown(recently(), NOW + 6_900)
        with pytest.raises(ExpiredToken):
            shown(recently(), NOW + 6_901)
        with pytest.raises(ExpiredToken):
            shown(recently(), NOW + 6_602, refresh_grace_seconds=1)
        families = recently()
        families.learn([FamilyFacts("tok_a", renewable=True, ends_at=NOW + 6_600, is_replaced=False)])
        with pytest.raises(ExpiredToken):
            shown(families, NOW + 6_600)

    def test_family_that_is_not_renewable_or_replaced_is_expired(self):
        families = recently()
        families.learn([FamilyFacts("tok_a", renewable=False, ends_at=NOW + 9_000, is_replaced=False)])
        with pytest.raises(ExpiredToken):
            shown(families, NOW + 6_700)
        families = recently()
        families.note_replaced(["tok_a", "tok_b"])
        assert shown(families, NOW + 6_500) == NEWEST
        with pytest.raises(ExpiredToken):
            shown(families, NOW + 6_700)

    def test_what_the_store_knows_of_a_connected_family_is_learnt(self):
        families = Families()
        enter(families)
        facts = FamilyFacts("tok_a", renewable=False, ends_at=NOW + 9_000, is_replaced=False)
        families.learn([facts, dataclasses.replace(facts, token_id="tok_b")])
        with pytest.raises(ExpiredToken):
            shown(families, END)


class TestElsewhere:
    def test_newest_is_good_and_the_one_before_until_it_was_shown(self):
        families = refreshed()
        families.require_current(password(), NOW + 3_500)
        families.require_current(newer(), NOW + 3_500)
        with pytest.raises(InvalidToken):
            families.require_current(password(), NOW + 3_501)

    def test_connection_shows_the_newest_too(self):
        families = refreshed()
        enter(families, newer(), now=NOW + 3_500)
        with pytest.raises(InvalidToken):
            families.require_current(password(), NOW + 3_501)

    def test_expired_ones_are_not(self):
        with pytest.raises(ExpiredToken):
            Families().require_current(password(), END)
        with pytest.raises(ExpiredToken):
            refreshed().require_current(newer(), NOW + 6_600)

    def test_ended_families_have_none(self):
        families = Families()
        families.mark([EndedFamily("tok_a", END, revoked=True)], NOW)
        with pytest.raises(InvalidToken):
            families.require_current(password(), NOW)


class TestWrittenBehind:
    def test_connections_are_written_with_when_they_ended(self):
        families = Families()
        stay = enter(families)
        enter(families, client_id="c2")
        assert families.usage_of("tok_a") == FamilyUsage("tok_a", 0, 0, (("c1", None), ("c2", None)))
        families.left(stay, NOW + 50.5)
        usage = FamilyUsage("tok_a", 0, 0, (("c1", NOW + 50), ("c2", None)))
        assert families.take_usage(10) == [usage]
        assert families.take_usage(10) == []
        families.put_back([usage, dataclasses.replace(usage, token_id="tok_b")])
        assert families.take_usage(10) == [usage]

    def test_newest_that_is_shown_is_written(self):
        families = refreshed()
        families.take_usage(10)
        families.require_current(newer(), NOW + 3_100)
        assert families.take_usage(10)[0].presented == 1
        families.require_current(newer(), NOW + 3_200)
        assert families.take_usage(10) == []
        families.renew(dataclasses.replace(RECORD, gen=2))
        families.note_shown(newer(2))
        assert families.take_usage(10)[0].presented == 2

    def test_servers_connection_is_none_of_a_family(self):
        assert Families().connected(identity(token_id=None), "c1") is None

    def test_as_many_at_a_time_as_asked_for(self):
        families = Families()
        for number in range(5):
            families.connected(identity(f"tok_{number}"), "c")
        assert [one.token_id for one in families.take_usage(2)] == ["tok_0", "tok_1"]
        assert len(families.take_usage(10)) == 3


class TestLoad:
    def known(self, **changes):
        known = KnownFamily(
            token_id="tok_a",
            expires_at=NOW + 6_600,
            ends_at=NOW + 9_000,
            renewable=True,
            revoked=False,
            replaced=False,
            sessions_replaced=False,
            newest=NEWEST,
            superseded_at=NOW + 3_000,
            presented=0,
            connected=0,
            clients=(("c1", None), ("c2", NOW + 10)),
        )
        families = Families(started_at=NOW + 3_100)
        families.load([dataclasses.replace(known, **changes)], NOW + 3_100)
        return families

    def test_whoever_was_connected_left_when_the_process_began(self):
        families = self.known()
        assert shown(families, NOW + 6_500) == NEWEST
        assert shown(families, NOW + 3_610, client_id="c2") == NEWEST
        with pytest.raises(ExpiredToken):
            shown(families, NOW + 3_611, client_id="c2")
        with pytest.raises(InvalidToken):
            shown(families, NOW + 3_200, client_id="c3")

    def test_family_without_a_known_connection_counts_as_having_been_connected(self):
        with pytest.raises(InvalidToken):
            shown(self.known(connected=None, clients=()), NOW + 3_200)

    @pytest.mark.parametrize("how", ["revoked", "sessions_replaced"])
    def test_ended_families_are_ended(self, how):
        with pytest.raises(InvalidToken, match="revoked|replaced"):
            shown(self.known(**{how: True}), NOW + 3_200, newer())


def test_family_that_was_refreshed_is_forgotten_when_its_newest_password_is_over():
    families = Families()
    enter(families)
    families.renew(dataclasses.replace(RECORD, expires_at=END + 9_000))
    families.forget(END + GRACE_SECONDS + 1_200)
    assert len(families) == 1
    families.forget(END + 9_000 + GRACE_SECONDS + 1_200)
    assert len(families) == 0 and families.take_usage(1) == []


def test_family_that_was_refreshed_and_then_revoked_is_remembered_to_its_newest_end():
    families = refreshed(expires_at=END + 9_000)
    families.mark([EndedFamily("tok_a", END + 9_000, revoked=True)], NOW)
    families.forget(END + GRACE_SECONDS + 1_200)
    with pytest.raises(InvalidToken):
        families.check_family("tok_a")
    families.forget(END + 9_000 + GRACE_SECONDS + 1_200)
    assert len(families) == 0
