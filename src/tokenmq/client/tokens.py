"""A token as a client holds it: what it was issued with, and what to connect with."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any, Self

from tokenmq.client import unverified
from tokenmq.client.answers import Grant
from tokenmq.errors import InvalidToken, TokenError

# The clients in the field refresh in a loop when the date is further away than a timer counts; ours only
# has to know nonsense from a date.
_LATEST = 253_402_300_799.0


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
    """A token, with its times by the server's clock.

    Attributes:
        token_id: names its family, for life; None where nobody told it.
        access_token: the MQTT password.
        username: the MQTT username, `user@org_…`.
        issued_at, expires_at, refresh_recommended_at: unix seconds.
        expires_in: seconds that were left when it was answered, if that was told.
        provider: whose word was taken for the user; `cloudsignal` is the service itself.
    """

    token_id: str | None
    access_token: str = dataclasses.field(repr=False)
    username: str
    issued_at: float
    expires_at: float
    refresh_recommended_at: float
    expires_in: float | None = None
    organization_id: str | None = None
    user_id: str | None = None
    user_email: str | None = None
    provider: str | None = None
    permissions: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()

    @property
    def life_seconds(self) -> float:
        """How long it lives in all."""
        return max(self.expires_at - self.issued_at, 0.0)

    @property
    def is_refreshable(self) -> bool:
        """A refresh could extend it: the service says so by recommending one before the end."""
        return self.token_id is not None and self.refresh_recommended_at < self.expires_at

    @property
    def mqtt_credentials(self) -> tuple[str, str]:
        """Username and password, for CONNECT."""
        return self.username, self.access_token

    @classmethod
    def from_answer(cls, answer: Any) -> Self:
        """Read an answer of the token service, or what a backend passes on of it.

        Raises: TokenError (`invalid_response`), naming what is missing, never showing the token.
        """
        if not isinstance(answer, dict):
            raise _useless("it is not a JSON object")
        text = answer.get("access_token") or answer.get("token") or answer.get("token_password")
        if not isinstance(text, str) or not text:
            raise _useless("it has no access_token")
        claims = _Claims(text)
        expires_at = _time(answer.get("expires_at")) or claims.expires_at
        if expires_at is None:
            raise _useless("its expires_at is no time")
        username = _username(answer) or claims.username
        if username is None:
            raise _useless("it has no username")
        left = _number(answer.get("expires_in"))
        issued_at = claims.issued_at
        if issued_at is None:
            issued_at = expires_at - left if left is not None else expires_at
        life = max(expires_at - issued_at, 0.0)
        recommended = _time(answer.get("refresh_recommended_at"))
        return cls(
            token_id=_text(answer.get("token_id")) or claims.token_id,
            access_token=text,
            username=username,
            issued_at=issued_at,
            expires_at=expires_at,
            refresh_recommended_at=issued_at + 0.9 * life if recommended is None else recommended,
            expires_in=left,
            organization_id=_text(answer.get("organization_id")) or claims.organization_id,
            user_id=_text(answer.get("user_id")),
            user_email=_text(answer.get("user_email")),
            provider=_text(answer.get("provider")),
            permissions=_texts(answer.get("permissions")),
            topics=_texts(answer.get("topics")),
            grants=_grants(answer.get("grants")),
        )

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Take a token's text alone: what it says about itself is believed.

        Raises: TokenError (`invalid_response`) where it does not name user, organization and expiry.
        """
        return cls.from_answer({"access_token": text.strip()})


class _Claims:
    """What a token says about itself, nothing where it is of another kind."""

    def __init__(self, text: str) -> None:
        try:
            token = unverified.read(text)
        except InvalidToken:
            token = unverified.UnverifiedToken({}, {})
        self.issued_at = _number(token.claims.get("iat"))
        self.expires_at = None if token.expires_at is None else float(token.expires_at)
        self.username = token.username
        self.token_id = _text(token.claims.get("fam"))
        self.organization_id = _text(token.claims.get("org"))


def _useless(why: str) -> TokenError:
    return TokenError("invalid_response", f"that is no answer of a token service: {why}", is_final=False)


def _username(answer: dict[str, Any]) -> str | None:
    credentials = answer.get("mqtt_credentials")
    told = credentials.get("username") if isinstance(credentials, dict) else None
    return _text(told) or _text(answer.get("mqtt_username"))


def _time(value: Any) -> float | None:
    """Read an RFC 3339 time; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        return None
    seconds = (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    return seconds if 0 < seconds < _LATEST else None


def _number(value: Any) -> float | None:
    """Return a number above 0, None for anything else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value < _LATEST else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def _grants(value: Any) -> tuple[Grant, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(
        Grant(topics=list(_texts(one.get("topics"))), permissions=list(_texts(one.get("permissions"))))
        for one in value
        if isinstance(one, dict)
    )
