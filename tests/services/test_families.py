"""What is remembered of families that ended, and for how long."""

import pytest

from tokenmq.access.identity import Identity
from tokenmq.errors import ExpiredToken, InvalidToken
from tokenmq.services.families import Families
from tokenmq.stores.base import GRACE_SECONDS, EndedFamily

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
