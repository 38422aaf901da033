import hashlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.errors import InvalidKey
from tokenmq.tokens import secret
from tokenmq.tokens.records import KeyKind

BASE62 = string.digits + string.ascii_letters
ENTROPY = st.binary(min_size=secret.KEY_ENTROPY, max_size=secret.KEY_ENTROPY)
KEY = secret.create(KeyKind.SECRET, entropy=bytes(range(40)))


@given(st.sampled_from(KeyKind), ENTROPY)
def test_key_has_the_published_shape_and_reads_back(kind, entropy):
    new = secret.create(kind, entropy=entropy)
    assert new.text.startswith(f"{kind}_") and len(new.text) == 3 + 8 + 43 + 6
    assert set(new.text[3:]) <= set(BASE62)
    assert new.text[3:11] == new.id and new.text[-4:] == new.hint
    assert new.digest == hashlib.sha256(new.text[11:54].encode()).digest()
    read = secret.parse(new.text)
    assert (read.kind, read.id) == (kind, new.id)
    assert secret.verify(read, new.digest)


def test_no_bit_of_the_entropy_of_the_secret_is_lost():
    ones = secret.create(KeyKind.SECRET, entropy=b"\xff" * 40)
    value = 0
    for character in ones.text[11:54]:
        value = value * 62 + (string.digits + string.ascii_uppercase + string.ascii_lowercase).index(
            character
        )
    assert value == 2**256 - 1


def test_every_change_of_one_letter_is_found_by_the_checksum():
    for position in range(3, len(KEY.text)):
        for letter in BASE62:
            if letter != KEY.text[position]:
                with pytest.raises(InvalidKey):
                    secret.parse(KEY.text[:position] + letter + KEY.text[position + 1 :])


@pytest.mark.parametrize("kind", ["ik", "rk", "pk"])
def test_the_same_letters_as_another_kind_are_refused(kind):
    with pytest.raises(InvalidKey):
        secret.parse(kind + KEY.text[2:])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sk_",
        KEY.text[:-1],
        KEY.text + "0",
        KEY.text + "\n",
        " " + KEY.text,
        KEY.text.upper(),
        "xk" + KEY.text[2:],
        KEY.text[:20] + "é" + KEY.text[21:],
        KEY.text[:20] + "٣" + KEY.text[21:],
        KEY.text[:20] + "\ud800" + KEY.text[21:],
        KEY.text * 1000,
    ],
)
def test_other_shapes_are_refused(text):
    with pytest.raises(InvalidKey):
        secret.parse(text)


@given(st.text())
def test_only_invalid_key_ever_escapes(text):
    with pytest.raises(InvalidKey):
        secret.parse(text)


def test_v109_secrets_that_differ_in_the_last_character_only_have_different_digests():
    other = secret.create(KeyKind.SECRET, entropy=bytes(range(39)) + b"\x28")
    assert KEY.text[:53] == other.text[:53] and KEY.text[53] != other.text[53]
    assert not secret.verify(secret.parse(other.text), KEY.digest)


def test_v110_digests_are_compared_in_constant_time(monkeypatch):
    compared = []
    monkeypatch.setattr(
        secret.hmac, "compare_digest", lambda one, other: compared.append((one, other)) or True
    )
    assert secret.verify(secret.parse(KEY.text), b"stored")
    assert compared == [(KEY.digest, b"stored")]


def test_mask_shows_kind_and_last_four_characters():
    assert secret.mask("x7m4", KeyKind.SECRET) == "sk_...x7m4"
    assert secret.mask(KEY.hint, KeyKind.SECRET) == f"sk_...{KEY.text[-4:]}"


def test_keys_do_not_print_themselves():
    shown = f"{KEY!r} {secret.parse(KEY.text)!r}"
    assert KEY.text not in shown and KEY.text[11:54] not in shown and repr(KEY.digest) not in shown


@pytest.mark.parametrize("kind", KeyKind)
def test_pattern_finds_whole_and_cut_keys_and_passes_masked_ones(kind):
    text = secret.create(kind, entropy=bytes(40)).text
    assert secret.PATTERN.sub("*", f"got {text}, and Bearer {text[:30]}.") == "got *, and Bearer *."
    assert secret.PATTERN.search(secret.mask(text[-4:], kind)) is None


def test_wrong_size_of_entropy_is_a_defect_of_the_caller():
    with pytest.raises(ValueError, match="entropy"):
        secret.create(KeyKind.SECRET, entropy=bytes(39))


@given(st.sampled_from(KeyKind), st.binary(min_size=32, max_size=32))
def test_renewed_key_has_the_id_and_another_secret(kind, entropy):
    new = secret.renew(kind, KEY.id, entropy=entropy)
    read = secret.parse(new.text)
    assert (new.id, read.id, read.kind) == (KEY.id, KEY.id, kind)
    assert secret.verify(read, new.digest) and not secret.verify(read, KEY.digest)
    assert new.hint == new.text[-4:]


def test_renewal_of_too_little_entropy_is_refused():
    with pytest.raises(ValueError, match="31 bytes"):
        secret.renew(KeyKind.SECRET, KEY.id, entropy=bytes(31))
