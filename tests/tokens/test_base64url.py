import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.tokens import base64url


@given(st.binary(max_size=80))
def test_encode_is_urlsafe_without_padding_and_decode_is_its_inverse(data):
    text = base64url.encode(data)
    assert text == base64.urlsafe_b64encode(data).rstrip(b"=")
    assert base64url.decode(text) == data


@given(st.binary(max_size=12) | st.text("AQgwBCDxyz-_+/= .", max_size=12).map(str.encode))
def test_decode_accepts_only_what_encode_writes(text):
    data = base64url.decode(text)
    assert data is None or base64url.encode(data) == text


@pytest.mark.parametrize(
    "text", [b"A", b"AB", b"AAB", b"AA==", b"AA\n", b"A+", b"A/", b" AA", "AÄ".encode(), b"AAAAA"]
)
def test_second_spellings_and_foreign_characters_are_refused(text):
    assert base64url.decode(text) is None
