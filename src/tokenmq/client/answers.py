"""What the token service is asked, and what it answers, as JSON carries them.

An answer names what every service sends; a service may send more, and what it
sends is kept. Times are RFC 3339 UTC.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class Grant(TypedDict):
    """Permissions that hold for topics."""

    topics: list[str]
    permissions: list[str]


class KeyRequest(TypedDict, total=False):
    """A key to be made; `expires_at` None is a key without end."""

    organization_id: str
    kind: str
    name: str
    scopes: list[str]
    permissions: list[str]
    topics: list[str]
    expires_at: str | None


class KeyRotation(TypedDict, total=False):
    """How a key is to be rotated; `expires_at` None is a key without end."""

    organization_id: str
    grace_seconds: int
    expires_at: str | None


class TokenRequest(TypedDict, total=False):
    """A token to be made."""

    organization_id: str
    user_id: str
    user_email: str
    permissions: list[str]
    topics: list[str]
    grants: list[Grant]
    ttl: int
    client_id: str
    renewable: bool
    integration_id: str
    replace_existing: bool
    replace_sessions: bool
    metadata: dict[str, Any]


class MappingRule(TypedDict):
    """Grants for those whose identity provider says this of them."""

    claim: str
    equals: str | int | bool
    grants: list[Grant]


class ProviderRequest(TypedDict, total=False):
    """An identity provider to be set up or changed; None puts a default back."""

    organization_id: str
    provider: str
    name: str
    enabled: bool
    accept_open_policy: bool
    jwt_secret: str | None
    project_url: str | None
    project_id: str | None
    domain: str | None
    domains: list[str] | None
    issuer: str | None
    audience: str | list[str] | None
    jwks_url: str | None
    authorized_parties: list[str] | None
    allow_anonymous: bool | None
    user_prefix: str | None
    user_id_claim: str | None
    email_claim: str | None
    required_claims: list[str] | None
    attrs: list[str] | None
    mapping: list[MappingRule] | None


class RevocationRequest(TypedDict, total=False):
    """What is to be revoked: one of the first five, for the rest it is narrowed."""

    token_id: str
    user_id: str
    client_id: str
    key_id: str
    all: bool
    organization_id: str
    issued_before: str
    reason: str
    keep_retained: bool


class Organization(TypedDict):
    """A tenant."""

    id: str
    name: str
    created_at: NotRequired[str]
    settings: NotRequired[dict[str, Any]]


class Key(TypedDict):
    """A server's credential; `key` is its text, once, when it is made."""

    id: str
    kind: str
    key: NotRequired[str]
    masked: NotRequired[str]
    name: NotRequired[str | None]
    scopes: NotRequired[list[str]]
    permissions: NotRequired[list[str]]
    topics: NotRequired[list[str]]
    created_at: NotRequired[str]
    expires_at: NotRequired[str | None]
    expires_soon: NotRequired[bool]
    last_used_at: NotRequired[str | None]
    rotated_at: NotRequired[str | None]
    earlier_until: NotRequired[str | None]


class SigningKey(TypedDict):
    """A key that signs tokens; its private part stays with the service."""

    kid: str
    algorithm: str
    status: str
    created_at: NotRequired[str]
    current_from: NotRequired[str | None]
    retired_at: NotRequired[str | None]


class AuditEntry(TypedDict):
    """One row of the audit trail."""

    number: int
    at: str
    actor: str
    action: str
    object: str
    result: str
    organization_id: NotRequired[str | None]
    user_id: NotRequired[str | None]
    address: NotRequired[str | None]
    request_id: NotRequired[str | None]
    details: NotRequired[dict[str, Any]]
    previous_hash: NotRequired[str]
    hash: NotRequired[str]


class AuditCheck(TypedDict):
    """What was found of the audit trail; `number` and `hash` are of the last row that is whole."""

    intact: bool
    rows: int
    number: int
    hash: str
    broken_at: int | None
    problem: str | None
    next: str | None


class Finding(TypedDict):
    """Something about one place of a policy; `severity` is error or warning."""

    path: str
    severity: str
    message: str


class Policy(TypedDict):
    """An organization's policy, and what is known about it."""

    version: str
    default: str
    rules: list[dict[str, Any]]
    revision: NotRequired[str]
    untouched: NotRequired[bool]
    findings: NotRequired[list[Finding]]


class PolicyFindings(TypedDict):
    """What is wrong with a policy."""

    valid: bool
    findings: list[Finding]


class SimulationRequest(TypedDict, total=False):
    """What is asked about a user, or about a token."""

    organization_id: str
    user_id: str
    token: str
    action: str
    topic: str
    client_id: str
    claims: dict[str, Any]


class Simulation(TypedDict):
    """Whether somebody may do something, and why."""

    allowed: bool
    decided_by: str
    explanation: str


class IssuedToken(TypedDict):
    """A token just made, with its text."""

    token: str
    token_id: str
    expires_at: str
    organization_id: str
    user_id: str
    mqtt_username: str
    permissions: NotRequired[list[str]]
    topics: NotRequired[list[str]]
    grants: NotRequired[list[Grant]]


class TokenInfo(TypedDict):
    """A token's family, without any text of it."""

    token_id: str
    user_id: NotRequired[str]
    status: NotRequired[str]
    expires_at: NotRequired[str]
    permissions: NotRequired[list[str]]
    topics: NotRequired[list[str]]
    grants: NotRequired[list[Grant]]


class Introspection(TypedDict):
    """What RFC 7662 tells of a token; nothing but `active` when it is false."""

    active: bool


class Revocation(TypedDict):
    """How much a revocation ended."""

    revoked: int
    sessions_closed: int


class Subscription(TypedDict):
    """A subscription of a session."""

    topic: str
    qos: int


class Session(TypedDict):
    """What the broker holds of a client, connected or not."""

    client_id: str
    user_id: str
    token_id: NotRequired[str | None]
    key_id: NotRequired[str | None]
    connected: NotRequired[bool]
    address: NotRequired[str | None]
    protocol: NotRequired[str | None]
    since: NotRequired[str]
    expires_at: NotRequired[str | None]
    ends_at: NotRequired[str | None]
    subscriptions: NotRequired[list[Subscription]]
    queue: NotRequired[int]


class Termination(TypedDict):
    """How many sessions of a user have ended."""

    username: str
    sessions_terminated: int


class Retained(TypedDict):
    """A retained message, without its payload."""

    topic: str
    payload_size: int
    timestamp: str


class Published(TypedDict):
    """A message that was taken."""

    success: bool
    message_id: str


class PresentUser(TypedDict):
    """One session that is present; a token is told no client id and no address."""

    username: str
    display_name: NotRequired[str | None]
    client_id: NotRequired[str]
    peer_host: NotRequired[str | None]
    connected_since: NotRequired[str]
    subscribed_topics: NotRequired[list[str]]


class Presence(TypedDict):
    """Who is present: so many users, by so many sessions."""

    online_count: int
    count: int
    users: list[PresentUser]


class HistoryMessage(TypedDict):
    """A recorded message: `payload` where it is text, else `payload_base64`."""

    id: int
    topic: str
    payload: NotRequired[str]
    payload_base64: NotRequired[str]
    qos: int
    retain: bool
    user_id: str
    at: str


class HistoryPage(TypedDict):
    """Some recorded messages, where the next ones begin, and whether any topic asked for is recorded."""

    recorded: bool
    messages: list[HistoryMessage]
    next: str | None


class HistoryRule(TypedDict):
    """What is recorded: topics, for how many seconds, how many messages of each.

    A `durable` one is acknowledged to its publisher when it is recorded.
    """

    topic: str
    max_age: int
    max_messages: int
    durable: NotRequired[bool]


class HistoryRules(TypedDict):
    """The rules of an organization; on a topic the first that matches holds."""

    rules: list[HistoryRule]


class Erased(TypedDict):
    """How many recorded messages were erased."""

    erased: int


def grants_of(token: IssuedToken | TokenInfo) -> list[Grant]:
    """Return a token's grants, whichever of the two ways the answer writes them."""
    grants = list(token.get("grants", []))
    if topics := token.get("topics"):
        grants.insert(0, Grant(topics=topics, permissions=token.get("permissions", [])))
    return grants


class Provider(TypedDict):
    """An identity provider; how it is set up is told only to a key that may change it."""

    id: str
    provider: str
    name: str
    issuer: str
    enabled: bool
    configuration: NotRequired[dict[str, Any]]
    has_secret: NotRequired[bool]
