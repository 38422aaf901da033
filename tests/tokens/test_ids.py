import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.tokens import ids


@given(st.binary(min_size=16, max_size=16))
def test_ids_have_their_shape(entropy):
    assert ids.is_org_id(ids.new_org_id(entropy[:8]))
    assert ids.is_token_id(ids.new_token_id(entropy))
    assert ids.is_jti(ids.new_jti(entropy))


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_j18_different_entropy_gives_different_ids(one, other):
    assert (ids.new_jti(one) == ids.new_jti(other)) is (one == other)
    assert (ids.new_token_id(one) == ids.new_token_id(other)) is (one == other)


@pytest.mark.parametrize("make", [ids.new_org_id, ids.new_token_id, ids.new_jti, ids.new_message_id])
@pytest.mark.parametrize("size", [0, 4, 15, 17])
def test_too_little_or_too_much_entropy_is_a_defect_of_the_caller(make, size):
    with pytest.raises(ValueError, match="entropy"):
        make(bytes(size))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "org_",
        "org_k7xm4pqr2n5",
        "org_k7xm4pqr2n5tt",
        "org_K7XM4PQR2N5T",
        "org_k7xm4pqr2n51",
        "org_k7xm4pqr2n5t\n",
        "tok_k7xm4pqr2n5t",
    ],
)
def test_other_shapes_are_no_org_ids(text):
    assert not ids.is_org_id(text)


def test_known_values():
    assert ids.new_org_id(bytes(range(8))) == "org_aaaqeayeauda"
    assert ids.new_token_id(bytes(range(16))) == "tok_aaaqeayeaudaocajbifqydiob4"
    assert ids.new_message_id(bytes(range(16))) == "msg_aaaqeayeaudaocajbifqydiob4"
    assert ids.new_jti(bytes(range(16))) == "AAECAwQFBgcICQoLDA0ODw"
