"""The forms of OAuth 2.0 on our paths: RFC 8693, and the errors of RFC 6749 §5.2.

A request that comes as a form where an endpoint takes one of these is answered as those
RFCs say, its errors too; the same request as JSON is answered as everything else is.
"""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from tokenmq.api.answer import JSON, Answer
from tokenmq.api.errors import problem
from tokenmq.api.schemas.requests import ExchangeForm
from tokenmq.errors import (
    ClaimMissing,
    Forbidden,
    GrantTooWide,
    InvalidKey,
    InvalidRequest,
    InvalidToken,
    NotFound,
    TokenmqError,
)

# A key of the ASGI scope: the request is such a form.
MARK = "tokenmq.oauth"

TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_TYPE = "urn:ietf:params:oauth:token-type:"
ACCESS_TOKEN = f"{_TYPE}access_token"
JWT = f"{_TYPE}jwt"
# RFC 8693 §3: what may be exchanged, and what comes of it.
_SUBJECTS = frozenset({ACCESS_TOKEN, JWT, f"{_TYPE}id_token"})
_ISSUED = frozenset({ACCESS_TOKEN, JWT})

# The nearest class in the order of inheritance decides. RFC 8693 §2.2.2: a subject token
# that is invalid, or not acceptable by policy, is an invalid request.
_CODES: dict[type[TokenmqError], str] = {
    InvalidRequest: "invalid_request",
    InvalidToken: "invalid_request",
    ClaimMissing: "invalid_request",
    GrantTooWide: "invalid_request",
    Forbidden: "unauthorized_client",
    NotFound: "invalid_request",
}


class OAuthProblem(msgspec.Struct, frozen=True):
    """The body of an error answer to an OAuth form (RFC 6749 §5.2)."""

    error: str
    error_description: str


class OAuthRefused(InvalidRequest):
    """A form that OAuth itself has a code for.

    Attributes:
        oauth_code: that code.
    """

    def __init__(self, oauth_code: str, field: str, text: str) -> None:
        self.oauth_code = oauth_code
        super().__init__((field, text))


def check_exchange(form: ExchangeForm) -> None:
    """Refuse a form that asks for what is not done here (RFC 8693 §2.1).

    Raises: OAuthRefused.
    """
    if form.grant_type != TOKEN_EXCHANGE:
        raise OAuthRefused("unsupported_grant_type", "grant_type", f"wanted {TOKEN_EXCHANGE}")
    if form.subject_token_type not in _SUBJECTS:
        raise OAuthRefused(
            "invalid_request", "subject_token_type", f"wanted one of {', '.join(sorted(_SUBJECTS))}"
        )
    if form.requested_token_type and form.requested_token_type not in _ISSUED:
        raise OAuthRefused(
            "invalid_request", "requested_token_type", f"wanted one of {', '.join(sorted(_ISSUED))}"
        )
    # Ignored, each of them would give another token than was asked for.
    if form.actor_token or form.actor_token_type:
        raise OAuthRefused("invalid_request", "actor_token", "nobody acts for another here")
    if form.resource:
        raise OAuthRefused("invalid_target", "resource", "name the organization as audience")
    if form.scope:
        raise OAuthRefused("invalid_scope", "scope", "rights follow from the policy and the mapping")


def check_audience(form: ExchangeForm, org_id: str) -> None:
    """Refuse an audience that is not the organization which the token will be of.

    Raises: OAuthRefused.
    """
    if form.audience and form.audience not in (org_id, f"mqtt:{org_id}"):
        raise OAuthRefused("invalid_target", "audience", f"wanted mqtt:{org_id}")


def issued_type(form: ExchangeForm) -> str:
    """Name what a form gets: the type that it asked for."""
    return form.requested_token_type or ACCESS_TOKEN


def refusal(error: TokenmqError, *, request_id: str) -> Answer:
    """Translate an error of ours for who sent a form of OAuth."""
    plain = problem(error, request_id=request_id)
    told = msgspec.json.decode(plain.body, type=OAuthProblem)
    code = _code(error)
    if code is not None:
        body = OAuthProblem(code, told.error_description)
        return Answer(msgspec.json.encode(body), status=HTTPStatus.BAD_REQUEST, media_type=JSON)
    # RFC 6749 §5.2: a client that could not be authenticated. The rest is HTTP's own.
    code = "invalid_client" if isinstance(error, InvalidKey) else told.error
    body = OAuthProblem(code, told.error_description)
    return Answer(msgspec.json.encode(body), status=plain.status, media_type=JSON, headers=plain.headers)


def _code(error: TokenmqError) -> str | None:
    """Return the code of what is answered with 400; None for the rest."""
    if isinstance(error, OAuthRefused):
        return error.oauth_code
    if isinstance(error, NotFound) and error.code == "organization_not_found":
        return "invalid_target"
    return next((_CODES[cls] for cls in type(error).__mro__ if cls in _CODES), None)
