"""A token out of what a service, or a backend, hands over."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.client.tokens import Token
from tokenmq.errors import TokenError

ANSWER = {
    "token": "a.b.c",
    "access_token": "a.b.c",
    "expires_in": 60,
    "expires_at": "2026-11-24T13:01:00Z",
    "refresh_recommended_at": "2026-11-24T13:00:54Z",
    "token_id": "tok_1",
    "organization_id": "org_x",
    "user_id": "alice",
    "user_email": "alice",
    "provider": "cloudsignal",
    "permissions": ["publish"],
    "topics": ["chat/#"],
    "grants": [],
    "mqtt_credentials": {"username": "alice@org_x", "password": "a.b.c"},
    "mqtt_username": "alice@org_x",
}
EXPIRES = 1_795_525_260.0


def jwt(**claims: object) -> str:
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b'=').decode()}.c2ln"


def test_an_answer_of_the_service_is_read_whole() -> None:
    token = Token.from_answer(ANSWER)
    assert token == Token(
        token_id="tok_1",
        access_token="a.b.c",
        username="alice@org_x",
        issued_at=EXPIRES - 60,
        expires_at=EXPIRES,
        refresh_recommended_at=EXPIRES - 6,
        expires_in=60,
        organization_id="org_x",
        user_id="alice",
        user_email="alice",
        provider="cloudsignal",
        permissions=("publish",),
        topics=("chat/#",),
    )
    assert token.mqtt_credentials == ("alice@org_x", "a.b.c")
    assert token.life_seconds == 60
    assert token.is_refreshable


def test_a_token_never_prints_its_password() -> None:
    assert "a.b.c" not in repr(Token.from_answer(ANSWER))


def test_a_refresh_that_is_recommended_at_the_end_would_extend_nothing() -> None:
    assert not Token.from_answer({**ANSWER, "refresh_recommended_at": ANSWER["expires_at"]}).is_refreshable
    assert not Token.from_answer({**ANSWER, "token_id": None}).is_refreshable


def test_a_tokens_text_tells_enough() -> None:
    text = jwt(sub="a@b", org="org_x", iat=1000, exp=2000, fam="tok_9")
    token = Token.from_text(f" {text}\n")
    assert token == Token(
        token_id="tok_9",
        access_token=text,
        username="a%40b@org_x",
        issued_at=1000,
        expires_at=2000,
        refresh_recommended_at=1900,
        organization_id="org_x",
    )


@pytest.mark.parametrize("recommended", [None, "soon", 5, "0001-01-01T00:00:00Z", "9999-99-99T00:00:00Z"])
def test_without_a_recommendation_it_is_nine_tenths_of_the_life(recommended: Any) -> None:
    token = Token.from_answer({**ANSWER, "refresh_recommended_at": recommended})
    assert token.refresh_recommended_at == EXPIRES - 6


@pytest.mark.parametrize(
    ("answer", "missing"),
    [
        (None, "JSON object"),
        ([], "JSON object"),
        ({**ANSWER, "access_token": None, "token": ""}, "access_token"),
        ({**ANSWER, "expires_at": None}, "expires_at"),
        ({**ANSWER, "expires_at": "tomorrow"}, "expires_at"),
        ({**ANSWER, "mqtt_username": None, "mqtt_credentials": {}}, "username"),
    ],
)
def test_what_is_no_answer_is_refused_and_not_for_good(answer: Any, missing: str) -> None:
    with pytest.raises(TokenError, match=missing) as caught:
        Token.from_answer(answer)
    assert caught.value.kind == caught.value.code == "invalid_response"
    assert not caught.value.is_final


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(list(ANSWER)) | st.text(), inner),
        max_leaves=20,
    )
)
def test_any_json_is_a_token_or_a_token_error(answer: Any) -> None:
    try:
        token = Token.from_answer(answer)
    except TokenError:
        return
    assert token.access_token


@given(st.dictionaries(st.sampled_from(list(ANSWER)), st.none() | st.integers() | st.floats() | st.text()))
def test_any_change_of_an_answer_is_a_token_or_a_token_error(change: dict[str, Any]) -> None:
    try:
        token = Token.from_answer({**ANSWER, **change})
    except TokenError:
        return
    assert token.life_seconds >= 0
