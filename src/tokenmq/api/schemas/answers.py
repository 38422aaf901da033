"""The bodies of good answers. `tokenmq.api.views` makes them of records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from tokenmq.access.checking import Finding
from tokenmq.access.grants import Grant
from tokenmq.access.permission import Permission
from tokenmq.access.rules import Rule
from tokenmq.tokens.foreign.configuration import Configuration
from tokenmq.tokens.settings import OrganizationSettings

UtcTime = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class MqttCredentials(msgspec.Struct, frozen=True):
    """What an MQTT client connects with."""

    username: str
    password: str


class TokenAnswer(msgspec.Struct, frozen=True):
    """A new token: the union of the published shapes, so several members say the same."""

    token: str
    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    expires_at: UtcTime
    refresh_recommended_at: UtcTime
    token_id: str
    organization_id: str
    org_short_id: str
    user_id: str
    user_email: str
    provider: str
    permissions: tuple[Permission, ...]
    topics: tuple[str, ...]
    grants: tuple[Grant, ...]
    mqtt_credentials: MqttCredentials
    mqtt_username: str
    mqtt_password: str
    token_password: str


class ExchangeAnswer(TokenAnswer, frozen=True, kw_only=True):
    """A new token for another one; `issued_token_type` answers an RFC 8693 form."""

    issued_token_type: str | UnsetType = UNSET


class TokenInfo(msgspec.Struct, frozen=True):
    """A family as lists show it; no password is in it."""

    token_id: str
    organization_id: str
    user_id: str
    user_email: str
    status: str
    permissions: tuple[Permission, ...]
    topics: tuple[str, ...]
    grants: tuple[Grant, ...]
    client_id: str | None
    integration_id: str | None
    key_id: str | None
    provider_id: str | None
    renewable: bool
    generation: int
    ttl: int
    first_issued_at: UtcTime
    issued_at: UtcTime
    expires_at: UtcTime
    ends_at: UtcTime
    revoked_at: UtcTime | None
    revoked_reason: str | None
    metadata: Mapping[str, Any]


class TokenList(msgspec.Struct, frozen=True):
    """One page of families."""

    tokens: list[TokenInfo]
    next: str | None


class IntrospectionAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 7662; for a token that is not good now `{"active": false}` alone."""

    active: bool
    token_type: str | None = None
    username: str | None = None
    iss: str | None = None
    aud: str | None = None
    sub: str | None = None
    iat: int | None = None
    nbf: int | None = None
    exp: int | None = None
    jti: str | None = None
    client_id: str | None = None
    token_id: str | None = None
    organization_id: str | None = None
    user_id: str | None = None
    generation: int | None = None
    permissions: tuple[Permission, ...] | None = None
    topics: tuple[str, ...] | None = None
    grants: tuple[Grant, ...] | None = None


class RevokedAnswer(msgspec.Struct, frozen=True):
    """What a revocation did."""

    revoked: int
    sessions_closed: int


class KeyInfo(msgspec.Struct, frozen=True):
    """A key, masked."""

    id: str
    masked: str
    kind: str
    name: str
    organization_id: str | None
    scopes: tuple[str, ...]
    permissions: tuple[Permission, ...]
    topics: tuple[str, ...]
    created_at: UtcTime
    expires_at: UtcTime | None
    expires_soon: bool
    last_used_at: UtcTime | None
    rotated_at: UtcTime | None
    earlier_until: UtcTime | None


class NewKeyAnswer(msgspec.Struct, frozen=True):
    """A key that was just made, the only time that `key` is shown."""

    id: str
    key: str
    masked: str
    kind: str
    name: str
    organization_id: str | None
    scopes: tuple[str, ...]
    permissions: tuple[Permission, ...]
    topics: tuple[str, ...]
    created_at: UtcTime
    expires_at: UtcTime | None
    expires_soon: bool
    last_used_at: UtcTime | None
    rotated_at: UtcTime | None
    earlier_until: UtcTime | None


class KeyList(msgspec.Struct, frozen=True):
    """One page of keys."""

    keys: list[KeyInfo]
    next: str | None


class KeyDeleted(msgspec.Struct, frozen=True):
    """What deleting a key did."""

    id: str
    deleted: bool
    revoked: int
    sessions_closed: int


class SubscriptionInfo(msgspec.Struct, frozen=True):
    """A subscription of a session."""

    topic: str
    qos: int


class SessionInfo(msgspec.Struct, frozen=True):
    """A session, with a connection or without."""

    client_id: str
    user_id: str
    username: str
    token_id: str | None
    key_id: str | None
    connected: bool
    address: str | None
    transport: Literal["tcp", "websocket"] | None
    protocol: Literal["3.1.1", "5.0"] | None
    since: UtcTime
    expires_at: UtcTime | None
    session_expiry_seconds: int
    ends_at: UtcTime | None
    subscriptions: list[SubscriptionInfo]
    queue: int


class SessionList(msgspec.Struct, frozen=True):
    """One page of sessions."""

    sessions: list[SessionInfo]
    next: str | None


class SessionDeleted(msgspec.Struct, frozen=True):
    """A session that has ended."""

    client_id: str
    deleted: bool


class UserTerminated(msgspec.Struct, frozen=True):
    """What ending a user's sessions did."""

    username: str
    sessions_terminated: int


class RetainedInfo(msgspec.Struct, frozen=True):
    """A retained message, without its payload."""

    topic: str
    payload_size: int
    timestamp: UtcTime


class RetainedList(msgspec.Struct, frozen=True):
    """One page of retained messages."""

    messages: list[RetainedInfo]
    count: int
    next: str | None


class RetainedDeleted(msgspec.Struct, frozen=True):
    """A topic whose retained message is gone."""

    deleted: bool
    topic: str


class Published(msgspec.Struct, frozen=True):
    """A message that was taken."""

    success: bool
    message_id: str


class OrganizationInfo(msgspec.Struct, frozen=True):
    """An organization."""

    id: str
    name: str
    settings: OrganizationSettings
    created_at: UtcTime


class OrganizationList(msgspec.Struct, frozen=True):
    """One page of organizations."""

    organizations: list[OrganizationInfo]
    next: str | None


class OrganizationDeleted(msgspec.Struct, frozen=True):
    """What deleting an organization did."""

    id: str
    deleted: bool
    sessions_closed: int


class PolicyAnswer(msgspec.Struct, frozen=True):
    """An organization's policy, and what of it is probably not meant so."""

    version: Literal["1"]
    default: Literal["deny"]
    rules: tuple[Rule, ...]
    revision: str
    untouched: bool
    findings: tuple[Finding, ...]


class ValidationAnswer(msgspec.Struct, frozen=True):
    """What is wrong with a policy; `valid` if there is no error."""

    valid: bool
    findings: tuple[Finding, ...]


class SimulationAnswer(msgspec.Struct, frozen=True):
    """Whether somebody may do something, and why."""

    allowed: bool
    decided_by: str
    explanation: str


class SigningKeyInfo(msgspec.Struct, frozen=True):
    """A key that signs tokens; its private part never leaves the service."""

    kid: str
    algorithm: str
    status: Literal["current", "waiting", "former", "retired"]
    created_at: UtcTime
    current_from: UtcTime | None
    retired_at: UtcTime | None


class SigningKeyList(msgspec.Struct, frozen=True):
    """One page of signing keys."""

    signing_keys: list[SigningKeyInfo]
    next: str | None


class AuditInfo(msgspec.Struct, frozen=True):
    """One row of the audit trail; hashes in hexadecimal digits."""

    number: int
    at: UtcTime
    organization_id: str | None
    actor: str
    action: str
    object: str
    user_id: str | None
    result: str
    address: str | None
    request_id: str | None
    details: Mapping[str, Any]
    previous_hash: str
    hash: str


class AuditList(msgspec.Struct, frozen=True):
    """One page of the audit trail."""

    entries: list[AuditInfo]
    next: str | None


class AuditCheck(msgspec.Struct, frozen=True):
    """What was found of a part of the chain; `number` and `hash` are of the last row that is whole."""

    intact: bool
    rows: int
    number: int
    hash: str
    broken_at: int | None
    problem: str | None
    next: str | None


class ProviderInfo(msgspec.Struct, frozen=True):
    """An identity provider; `configuration` and `has_secret` only for a key with the scope `providers`."""

    id: str
    provider: str
    name: str
    issuer: str
    enabled: bool
    configuration: Configuration | UnsetType = UNSET
    has_secret: bool | UnsetType = UNSET


class ProviderDeleted(msgspec.Struct, frozen=True):
    """A provider that is no more."""

    id: str
    deleted: bool


class ProviderList(msgspec.Struct, frozen=True):
    """The identity providers whose tokens an organization accepts."""

    providers: list[ProviderInfo]


class Jwks(msgspec.Struct, frozen=True):
    """RFC 7517 §5."""

    keys: list[dict[str, str]]


class Health(msgspec.Struct, frozen=True):
    """The process answers, or is ready."""

    status: Literal["ok"]
