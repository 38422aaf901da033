"""Every error that tokenmq raises, in one tree.

    TokenmqError
    ├── InvalidTopic             a Topic Name or Topic Filter breaks MQTT 5 §4.7
    │   ├── InvalidTopicName
    │   └── InvalidTopicFilter
    ├── ProtocolError            bytes or packets that break MQTT; carries the reason code
    ├── InvalidToken             not ours, not verifiable, not for here
    │   └── ExpiredToken         ours and genuine, too late
    ├── ClaimMissing             a provider's genuine token that lacks what we need of it
    ├── FamilyLapsed             a password of a family that may yet be refreshed: try again
    ├── InvalidKey               no such key, wrong secret, expired, deleted
    ├── UnusableKey              a signing key that is malformed, weak, or stays closed
    ├── BadCredentials           a CONNECT whose username is wrong or whose key is unknown
    ├── ClientIdNotPermitted     a client id that the token does not admit, or another user's
    ├── UnknownMethod            an Authentication Method that is none of ours
    ├── GrantTooWide             asks for more than the key or the policy gives
    ├── InvalidRequest           a request that says something wrong; names each field
    ├── Forbidden                a real key that lacks the scope
    ├── NotFound                 no such object in the caller's organization
    ├── Conflict                 contradicts what is stored
    ├── RateLimited              too often; says when to come back
    ├── Unavailable              the store or an upstream fails
    ├── ServiceError             an answer of a token service that is not success, to its client
    ├── Unreachable              no token service or broker answers, to its client
    ├── TokenError               no token can be got or renewed, to a client; says of which kind
    ├── ConnectError             a broker that is not there, refuses a client, or has ended it
    ├── Denied                   an action that the broker refuses, to its client
    ├── NotDelivered             a message that its client has given up
    ├── InvalidSettings          configuration that cannot be used
    ├── DataFolderInUse          another process serves this data folder
    └── DatabaseInUse            another process serves this database, or has served it meanwhile

`code` is stable and part of the API. Messages are one sentence in lower case: what was
got, what was wanted; never a secret, never a whole payload. The edges translate:
`api/errors.py` to HTTP, `broker/reasons.py` to MQTT reason codes. Anything else that
is raised is a defect of ours.
"""

from __future__ import annotations


class TokenmqError(Exception):
    """Something that tokenmq refuses, with a stable `code`."""

    code: str = "error"


class InvalidTopic(TokenmqError):
    """A Topic Name or Topic Filter that breaks MQTT 5 §4.7.

    Attributes:
        value: what was given, as it was given.
        reason: what is wrong with it.
    """

    code = "invalid_topic"
    noun = "topic"

    def __init__(self, value: str, reason: str) -> None:
        self.value = value
        self.reason = reason
        shown = value if len(value) <= 80 else value[:77] + "..."
        super().__init__(f"{self.noun} {shown!r}: {reason}")


class InvalidTopicName(InvalidTopic):
    """A Topic Name that breaks MQTT 5 §4.7."""

    noun = "topic name"


class InvalidTopicFilter(InvalidTopic):
    """A Topic Filter that breaks MQTT 5 §4.7 or §4.8.2."""

    noun = "topic filter"


class ProtocolError(TokenmqError):
    """Bytes or packets that break MQTT, the only exception of the `mqtt` package.

    Attributes:
        reason_code: the MQTT 5 reason code that the standard gives for it
            (`mqtt.codes`); 3.1.1 just closes.
    """

    code = "protocol_error"

    def __init__(self, reason_code: int, message: str) -> None:
        self.reason_code = reason_code
        super().__init__(message)


class InvalidToken(TokenmqError):
    """A token that is not ours, not verifiable, or not for this place."""

    code = "unauthorized"


class ExpiredToken(InvalidToken):
    """A genuine token whose life is over.

    Attributes:
        expired_at: its `exp`, unix seconds.
    """

    code = "token_expired"

    def __init__(self, message: str, expired_at: int) -> None:
        self.expired_at = expired_at
        super().__init__(message)


class ClaimMissing(TokenmqError):
    """A genuine token of an identity provider that lacks a claim that we need."""

    code = "invalid_token"


class FamilyLapsed(TokenmqError):
    """A genuine password of a family that has lapsed, and whose refresh may be on its way."""

    code = "family_lapsed"


class InvalidKey(TokenmqError):
    """A key that does not exist, is wrong, expired or deleted; which is not told.

    Attributes:
        key_id: the id that its text names, whether there is such a key or not; None if the
            text has not the shape of a key.
    """

    code = "unauthorized"

    def __init__(self, message: str, *, key_id: str | None = None) -> None:
        self.key_id = key_id
        super().__init__(message)


class UnusableKey(TokenmqError):
    """A signing key that is malformed, weak, of the wrong type, or cannot be opened."""

    code = "unusable_key"


class BadCredentials(TokenmqError):
    """A CONNECT whose username is wrong or whose key is unknown.

    Attributes:
        key_id: the id that its key names, as in `InvalidKey`; None without a key.
    """

    code = "bad_credentials"

    def __init__(self, message: str, *, key_id: str | None = None) -> None:
        self.key_id = key_id
        super().__init__(message)


class ClientIdNotPermitted(TokenmqError):
    """A client id that the token does not admit, or that belongs to another user."""

    code = "client_id_not_permitted"


class UnknownMethod(TokenmqError):
    """An Authentication Method that is none of ours."""

    code = "unknown_method"


class GrantTooWide(TokenmqError):
    """A request for more than the key or the policy gives.

    Attributes:
        topic_filter: the filter that is too wide.
        permission: the permission it was asked for.
    """

    code = "forbidden"

    def __init__(self, message: str, *, topic_filter: str, permission: str) -> None:
        self.topic_filter = topic_filter
        self.permission = permission
        super().__init__(message)


class InvalidRequest(TokenmqError):
    """A request that says something wrong.

    Attributes:
        problems: pairs of field path and what is wrong with it; never empty.
    """

    code = "invalid_request"

    def __init__(self, *problems: tuple[str, str]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{field}: {text}" if field else text for field, text in problems))


class Forbidden(TokenmqError):
    """A real key or origin that may not do this."""

    code = "forbidden"


class NotFound(TokenmqError):
    """No such object in the caller's organization.

    Attributes:
        code: `not_found`, `organization_not_found` or `provider_not_found`.
    """

    def __init__(self, message: str, *, code: str = "not_found") -> None:
        self.code = code
        super().__init__(message)


class Conflict(TokenmqError):
    """A request that contradicts what is stored."""

    code = "conflict"


class RateLimited(TokenmqError):
    """Too many requests.

    Attributes:
        retry_after_seconds: whole seconds to wait, at least 1.
        quota: requests that are allowed in the window.
        window_seconds: length of that window.
        policy: name of the limit, a plain word.
    """

    code = "rate_limited"

    def __init__(
        self,
        message: str,
        *,
        retry_after_seconds: int,
        quota: int = 1,
        window_seconds: int | None = None,
        policy: str = "requests",
    ) -> None:
        self.retry_after_seconds = retry_after_seconds
        self.quota = quota
        self.window_seconds = retry_after_seconds if window_seconds is None else window_seconds
        self.policy = policy
        super().__init__(message)


class Unavailable(TokenmqError):
    """The store or an upstream that is needed fails; nothing was changed."""

    code = "unavailable"


class NotKept(Unavailable):
    """Something was done, but the store failed to take it in; it is tried again by itself."""


class ServiceError(TokenmqError):
    """An answer of a token service that is not success, as its client sees it.

    Attributes:
        status: the HTTP status.
        code: the stable code of the answer's `error`.
        detail: the sentence that the service gave.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        super().__init__(detail)


class Unreachable(TokenmqError):
    """No token service or broker answers, as its client sees it."""

    code = "unreachable"


class TokenError(TokenmqError):
    """A token that a client cannot get or renew.

    Attributes:
        kind: `network`, `auth_failed`, `token_expired`, `rate_limited`, `provider_not_found`,
            `organization_not_found`, `invalid_response` or `refresh_failed`; equal to `code`.
        status: the HTTP status, if there was an answer.
        is_final: asking again would bring the same.
        retry_after_seconds: how long the service wants to be left alone, if it said so.
    """

    code = "token_error"

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        status: int | None = None,
        is_final: bool = True,
        retry_after_seconds: float | None = None,
    ) -> None:
        self.kind = kind
        self.code = kind
        self.status = status
        self.is_final = is_final
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class ConnectError(TokenmqError):
    """A broker that is not there, refuses a client, or has ended its connection.

    Attributes:
        reason_code: as MQTT 5 §2.4 numbers them; None where no broker has answered.
    """

    code = "connect_error"

    def __init__(self, message: str, *, reason_code: int | None = None) -> None:
        self.reason_code = reason_code
        super().__init__(message)


class Denied(TokenmqError):
    """An action that the broker refuses, as its client sees it.

    Attributes:
        action: `publish`, `subscribe` or `history`.
        topic: the topic or filter.
        reason: in the broker's words.
        reason_code: as MQTT 5 §2.4 numbers them; 0x80 where 3.1.1 tells nothing.
    """

    code = "denied"

    def __init__(self, action: str, topic: str, reason: str, *, reason_code: int = 0x87) -> None:
        self.action = action
        self.topic = topic
        self.reason = reason
        self.reason_code = reason_code
        what = {"publish": "message to", "history": "history of"}.get(action, "subscription to")
        super().__init__(f"the broker refused the {what} {topic}: {reason} (0x{reason_code:02X})")


class NotDelivered(TokenmqError):
    """A message that its client has given up, before the broker had it or said so.

    Attributes:
        topic: where it was to go.
    """

    code = "not_delivered"

    def __init__(self, topic: str, why: str) -> None:
        self.topic = topic
        super().__init__(f"the message to {topic} was not delivered: {why}")


class InvalidSettings(TokenmqError):
    """Configuration that cannot be used; names the setting."""

    code = "invalid_settings"


class DataFolderInUse(TokenmqError):
    """Another process serves this data folder."""

    code = "data_folder_in_use"


class DatabaseInUse(TokenmqError):
    """Another process serves this database, or has served it meanwhile."""

    code = "database_in_use"
