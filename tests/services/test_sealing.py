"""Secrets at rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.errors import UnusableKey
from tokenmq.services.sealing import Seal

PLAIN = b"the secret"


def test_sealed_secret_opens_with_its_passphrase_for_its_record_alone():
    seal = Seal("passphrase")
    kept = seal.close(PLAIN, "idp_a")
    assert PLAIN not in kept and Seal.is_sealed(kept) and seal.is_closing
    assert seal.close(PLAIN, "idp_a") != kept
    assert Seal("passphrase").open(kept, "idp_a") == PLAIN
    for other, owner in ((Seal("other"), "idp_a"), (Seal(None), "idp_a"), (seal, "idp_b")):
        with pytest.raises(UnusableKey):
            other.open(kept, owner)


def test_without_a_passphrase_it_is_kept_as_it_is_and_opens_with_any():
    kept = Seal(None).close(PLAIN, "idp_a")
    assert not Seal.is_sealed(kept) and not Seal(None).is_closing
    assert Seal("later").open(kept, "idp_a") == Seal(None).open(kept, "idp_a") == PLAIN


_SEAL = Seal("passphrase")
_KEPT = _SEAL.close(PLAIN, "idp_a")


@given(place=st.integers(1, len(_KEPT) - 1), change=st.integers(1, 255))
def test_sealed_secret_that_was_changed_does_not_open(place, change):
    changed = _KEPT[:place] + bytes([_KEPT[place] ^ change]) + _KEPT[place + 1 :]
    with pytest.raises(UnusableKey):
        _SEAL.open(changed, "idp_a")


@pytest.mark.parametrize("kept", [b"", b"\x01", b"\x02abc", _KEPT[:13], _KEPT[:-1]])
def test_damaged_secret_does_not_open(kept):
    with pytest.raises(UnusableKey):
        _SEAL.open(kept, "idp_a")
