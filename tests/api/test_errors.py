"""The table from errors to statuses, complete and without secrets."""

from __future__ import annotations

import json

import pytest

from tokenmq import errors
from tokenmq.api.errors import problem, redact

JWS = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ1c2VyIn0.c2lnbmF0dXJlc2lnbmF0dXJl"
KEY = "sk_" + "a1B2" * 14 + "x"


def made(cls: type[errors.TokenmqError]) -> errors.TokenmqError:
    given = {
        errors.InvalidTopic: ("a#", "why"),
        errors.InvalidTopicName: ("a#", "why"),
        errors.InvalidTopicFilter: ("a#", "why"),
        errors.ExpiredToken: ("why", 5),
        errors.InvalidRequest: (("field", "why"),),
    }
    named = {
        errors.GrantTooWide: {"topic_filter": "a", "permission": "publish"},
        errors.RateLimited: {"retry_after_seconds": 3},
    }
    if cls not in STATUS:  # raised at other edges: here it is a defect, whatever it carries
        return Exception.__new__(cls, "why")
    return cls(*given.get(cls, ("why",)), **named.get(cls, {}))


def every_error() -> list[type[errors.TokenmqError]]:
    found = [errors.TokenmqError]
    for cls in found:
        found += cls.__subclasses__()
    return [cls for cls in found if cls.__module__ == "tokenmq.errors"]


STATUS = {
    errors.InvalidRequest: (400, "invalid_request"),
    errors.InvalidTopic: (400, "invalid_request"),
    errors.InvalidTopicName: (400, "invalid_request"),
    errors.InvalidTopicFilter: (400, "invalid_request"),
    errors.InvalidKey: (401, "unauthorized"),
    errors.InvalidToken: (401, "unauthorized"),
    errors.ExpiredToken: (401, "token_expired"),
    errors.Forbidden: (403, "forbidden"),
    errors.GrantTooWide: (403, "forbidden"),
    errors.NotFound: (404, "not_found"),
    errors.Conflict: (409, "conflict"),
    errors.ClaimMissing: (422, "invalid_token"),
    errors.RateLimited: (429, "rate_limited"),
    errors.Unavailable: (503, "unavailable"),
    errors.NotKept: (503, "unavailable"),
    errors.UnusableKey: (503, "unavailable"),
}


@pytest.mark.parametrize("cls", every_error(), ids=lambda cls: cls.__name__)
def test_every_error_has_its_status(cls: type[errors.TokenmqError]) -> None:
    answer = problem(made(cls), request_id="req_1")
    body = json.loads(answer.body)
    assert answer.status == body["status"]
    expected = STATUS.get(cls, (500, "internal_error"))
    assert (body["status"], body["error"]) == expected
    assert body["detail"] == body["error_description"] == body["message"]
    assert (body["status"] == 500) == ("req_1" in body["detail"])


def test_organization_not_found_keeps_its_code() -> None:
    body = json.loads(problem(errors.NotFound("x", code="organization_not_found"), request_id="r").body)
    assert (body["status"], body["error"], body["title"]) == (404, "organization_not_found", "Not Found")


def test_invalid_request_lists_every_problem() -> None:
    error = errors.InvalidRequest(("a", "is wrong"), ("", "all is wrong"))
    body = json.loads(problem(error, request_id="r").body)
    assert body["detail"] == "a: is wrong; all is wrong"
    assert body["errors"] == [{"field": "a", "message": "is wrong"}, {"field": "", "message": "all is wrong"}]


def test_only_invalid_requests_have_errors() -> None:
    assert "errors" not in json.loads(problem(errors.Conflict("x"), request_id="r").body)


@pytest.mark.parametrize("secret", [JWS, KEY, KEY[:20], "eyJhbGciOiJFUzI1NiJ9", f"x{JWS}y", f"chat/{KEY}/#"])
def test_v46_keys_and_tokens_are_masked_wherever_they_stand(secret: str) -> None:
    error = errors.InvalidRequest((secret, f"unknown field {secret!r}"))
    answer = problem(error, request_id="r")
    for part in (JWS, KEY[3:20], "eyJhbGciOiJFUzI1NiJ9"):
        assert part not in answer.body.decode()


def test_masking_leaves_other_text_alone() -> None:
    text = "topic filter 'chat/#/x': # must be last; user eyJ, sk_short"
    assert redact(text) == text


def test_what_the_store_said_is_not_told() -> None:
    answer = problem(errors.Unavailable("(OperationalError) [SQL: INSERT INTO keys]"), request_id="r")
    assert b"SQL" not in answer.body
    assert dict(answer.headers)[b"retry-after"] == b"1"
