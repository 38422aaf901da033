"""The bodies and queries of requests, as the contract has them.

The only types that JSON becomes; the OpenAPI document is made of them. A field that may
be left out is UNSET then, never None: `null` and `[]` are refused, because nothing empty
ever means everything. What depends on more than one field, or on what is stored, the
services check.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tokenmq.access.checking import MAX_RULES, Finding
from tokenmq.access.permission import Permission
from tokenmq.limits import MAX_TOPICS, MAX_TTL_SECONDS, MIN_TTL_SECONDS
from tokenmq.services.key_changes import DEFAULT_GRACE_SECONDS, MAX_GRACE_SECONDS
from tokenmq.services.paging import MAX_LIMIT
from tokenmq.tokens.settings import OrganizationSettings

# Longest text of a request that is only a label; a user id is bounded in bytes by the services.
_MAX_LABEL = 255

Label = Annotated[str, Meta(min_length=1, max_length=_MAX_LABEL)]
Labels = Annotated[list[str], Meta(min_length=1)]
Permissions = Annotated[list[Permission], Meta(min_length=1)]
TopicFilters = Annotated[list[str], Meta(min_length=1, max_length=MAX_TOPICS)]
Time = Annotated[datetime, Meta(tz=True, description="RFC 3339, with its offset")]
# What a row of the audit trail names: as long as the longest client id with its kind before it.
Exact = Annotated[str, Meta(min_length=1, max_length=2_048)]
Limit = Annotated[int, Meta(ge=1, le=MAX_LIMIT)]


class Keyed(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What every body may carry: the key, and the organization that an `ik_` key means."""

    secret_key: str | UnsetType = UNSET
    organization_id: str | UnsetType = UNSET


class OrganizationQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The query of calls that belong to an organization."""

    organization_id: str | UnsetType = UNSET


class PageQuery(OrganizationQuery, kw_only=True):
    """The query of lists."""

    limit: Limit | UnsetType = UNSET
    cursor: str | UnsetType = UNSET


class TokenListQuery(PageQuery, kw_only=True):
    """GET /v2/tokens."""

    user_id: Label | UnsetType = UNSET
    status: Literal["active", "expired", "revoked", "replaced"] | UnsetType = UNSET


class SessionListQuery(PageQuery, kw_only=True):
    """GET /v2/sessions."""

    user_id: Label | UnsetType = UNSET


class RetainedQuery(PageQuery, kw_only=True):
    """GET /v2/utilities/retained."""

    topic: Annotated[str, Meta(min_length=1)] = "#"


class PublishBody(Keyed, kw_only=True):
    """POST /v1/publish."""

    topic: Annotated[str, Meta(min_length=1)]
    payload: str | dict[str, Any]
    qos: Literal[0, 1, 2] = 1
    retain: bool = False


class NoQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Calls whose URL says everything."""


class AnyQuery(msgspec.Struct):
    """Calls for everybody: what a cache or a browser adds is ignored."""


class InstancePageQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """GET /v2/organizations."""

    limit: Limit | UnsetType = UNSET
    cursor: str | UnsetType = UNSET


class AuditQuery(PageQuery, kw_only=True):
    """GET /v2/audit."""

    action: Label | UnsetType = UNSET
    actor: Exact | UnsetType = UNSET
    object: Exact | UnsetType = UNSET
    user_id: Label | UnsetType = UNSET
    since: Time | UnsetType = UNSET
    until: Time | UnsetType = UNSET


class AuditCheckQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """GET /v2/audit/verify."""

    cursor: str | UnsetType = UNSET


class ProvidersQuery(msgspec.Struct, kw_only=True):
    """GET /v2/providers."""

    organization_id: str | UnsetType = UNSET


class GrantBody(msgspec.Struct, forbid_unknown_fields=True):
    """One element of `grants`."""

    topics: TopicFilters
    permissions: Permissions


class TokenBody(Keyed, kw_only=True):
    """POST /v2/tokens and its two other paths."""

    user_id: Label | UnsetType = UNSET
    user_email: Label | UnsetType = UNSET
    permissions: Permissions | UnsetType = UNSET
    topics: TopicFilters | UnsetType = UNSET
    grants: Annotated[list[GrantBody], Meta(min_length=1, max_length=MAX_TOPICS)] | UnsetType = UNSET
    ttl: Annotated[int, Meta(ge=MIN_TTL_SECONDS, le=MAX_TTL_SECONDS)] | UnsetType = UNSET
    client_id: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET
    renewable: bool = True
    integration_id: Label | UnsetType = UNSET
    replace_existing: bool | UnsetType = UNSET
    replace_sessions: bool = False
    metadata: dict[str, Any] | UnsetType = UNSET


class RefreshBody(msgspec.Struct, kw_only=True):
    """POST /v2/tokens/refresh."""

    token_id: str
    current_token_password: str


class ExchangeBody(msgspec.Struct, kw_only=True):
    """POST /v2/tokens/exchange."""

    token: str
    organization_id: str | UnsetType = UNSET
    secret_key: str | UnsetType = UNSET
    provider: Label | UnsetType = UNSET
    integration_id: Label | UnsetType = UNSET
    ttl: Annotated[int, Meta(ge=MIN_TTL_SECONDS, le=MAX_TTL_SECONDS)] | UnsetType = UNSET


class ExchangeForm(msgspec.Struct, kw_only=True):
    """POST /v2/tokens/exchange as RFC 8693 §2.1 has it; the last four are ours."""

    grant_type: str
    subject_token: str
    subject_token_type: str
    requested_token_type: str | UnsetType = UNSET
    audience: str | UnsetType = UNSET
    resource: str | UnsetType = UNSET
    scope: str | UnsetType = UNSET
    actor_token: str | UnsetType = UNSET
    actor_token_type: str | UnsetType = UNSET
    organization_id: str | UnsetType = UNSET
    secret_key: str | UnsetType = UNSET
    provider: Label | UnsetType = UNSET
    integration_id: Label | UnsetType = UNSET
    ttl: Annotated[int, Meta(ge=MIN_TTL_SECONDS, le=MAX_TTL_SECONDS)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        # The audience of a token of ours names the organization.
        if self.organization_id is UNSET and self.audience is not UNSET:
            self.organization_id = self.audience.removeprefix("mqtt:")


class IntrospectBody(Keyed, kw_only=True, forbid_unknown_fields=False):
    """POST /v2/tokens/introspect; what RFC 7662 §2.1 has beside `token` changes nothing."""

    token: str


class RevokeBody(Keyed, kw_only=True):
    """POST /v2/tokens/revoke: exactly one of the first five."""

    token_id: Label | UnsetType = UNSET
    user_id: Label | UnsetType = UNSET
    client_id: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET
    key_id: Label | UnsetType = UNSET
    all: bool | UnsetType = UNSET
    issued_before: Time | UnsetType = UNSET
    reason: Label | UnsetType = UNSET
    keep_retained: bool = False


class KeyBody(Keyed, kw_only=True):
    """POST /v2/keys."""

    kind: Literal["sk", "rk", "pk"]
    name: Label
    scopes: Annotated[list[str], Meta(min_length=1)] | UnsetType = UNSET
    permissions: Permissions | UnsetType = UNSET
    topics: TopicFilters | UnsetType = UNSET
    expires_at: Time | UnsetType | None = UNSET


class KeyRotateBody(Keyed, kw_only=True):
    """POST /v2/keys/{id}/rotate."""

    grace_seconds: Annotated[int, Meta(ge=0, le=MAX_GRACE_SECONDS)] = DEFAULT_GRACE_SECONDS
    expires_at: Time | UnsetType | None = UNSET


class KeyDeleteQuery(OrganizationQuery, kw_only=True):
    """DELETE /v2/keys/{id}."""

    revoke_tokens: bool | UnsetType = UNSET


class KeyDeleteBody(Keyed, kw_only=True):
    """DELETE /v2/keys/{id}, for those who send a body."""

    revoke_tokens: bool | UnsetType = UNSET


_RULES = Meta(
    min_length=0,
    max_length=MAX_RULES,
    extra_json_schema={"items": {"$ref": "#/components/schemas/Rule"}},
    description="The first rule that matches decides.",
)


class PolicyBody(Keyed, kw_only=True):
    """PUT /v2/acl: a policy; what GET answers beside it may stand in it and says nothing."""

    version: Literal["1"]
    rules: Annotated[list[Any], _RULES]
    default: Literal["deny"] = "deny"
    revision: Annotated[str, Meta(description="Of the policy to be replaced; another: 409")] | UnsetType = (
        UNSET
    )
    untouched: bool | UnsetType = UNSET
    findings: list[Finding] | UnsetType = UNSET


class PolicyDraft(Keyed, kw_only=True, forbid_unknown_fields=False):
    """POST /v2/acl/validate: whatever there is, to be judged."""


class SimulationBody(Keyed, kw_only=True):
    """POST /v2/acl/simulate: exactly one of the first two."""

    user_id: Label | UnsetType = UNSET
    token: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET
    action: Permission
    topic: Annotated[str, Meta(min_length=1)]
    client_id: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET
    claims: dict[str, Any] | UnsetType = UNSET


class MappingBody(msgspec.Struct, forbid_unknown_fields=True):
    """One element of `mapping`: grants for those who have a claim with this value."""

    claim: Label
    equals: str | int | bool
    grants: Annotated[list[GrantBody], Meta(min_length=1, max_length=MAX_TOPICS)]


MappingBodies = Annotated[list[MappingBody], Meta(min_length=1)]


class ProviderBody(Keyed, kw_only=True):
    """POST /v2/providers."""

    provider: Literal["supabase", "firebase", "auth0", "clerk", "oidc"]
    name: Label
    enabled: bool = True
    accept_open_policy: bool = False
    jwt_secret: str | UnsetType = UNSET
    project_url: str | UnsetType = UNSET
    project_id: str | UnsetType = UNSET
    domain: str | UnsetType = UNSET
    domains: Labels | UnsetType = UNSET
    issuer: str | UnsetType = UNSET
    audience: str | Labels | UnsetType = UNSET
    jwks_url: str | UnsetType = UNSET
    authorized_parties: Labels | UnsetType = UNSET
    allow_anonymous: bool | UnsetType = UNSET
    user_prefix: str | UnsetType = UNSET
    user_id_claim: str | UnsetType = UNSET
    email_claim: str | UnsetType = UNSET
    required_claims: Labels | UnsetType = UNSET
    attrs: Labels | UnsetType = UNSET
    mapping: MappingBodies | UnsetType = UNSET


class ProviderPatch(Keyed, kw_only=True):
    """PATCH /v2/providers/{id}: what is not named stays, null puts the default back."""

    name: Label | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    accept_open_policy: bool = False
    jwt_secret: str | UnsetType | None = UNSET
    project_url: str | UnsetType | None = UNSET
    project_id: str | UnsetType | None = UNSET
    domain: str | UnsetType | None = UNSET
    domains: Labels | UnsetType | None = UNSET
    issuer: str | UnsetType | None = UNSET
    audience: str | Labels | UnsetType | None = UNSET
    jwks_url: str | UnsetType | None = UNSET
    authorized_parties: Labels | UnsetType | None = UNSET
    allow_anonymous: bool | UnsetType | None = UNSET
    user_prefix: str | UnsetType | None = UNSET
    user_id_claim: str | UnsetType | None = UNSET
    email_claim: str | UnsetType | None = UNSET
    required_claims: Labels | UnsetType | None = UNSET
    attrs: Labels | UnsetType | None = UNSET
    mapping: MappingBodies | UnsetType | None = UNSET


def _settings_schema() -> dict[str, Any]:
    (_, components) = msgspec.json.schema_components([OrganizationSettings])
    described = components["OrganizationSettings"]
    return {"properties": described["properties"], "additionalProperties": False}


SettingsBody = Annotated[dict[str, Any], Meta(extra_json_schema=_settings_schema())]


class OrganizationBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """POST /v2/organizations."""

    name: Label
    settings: SettingsBody | UnsetType = UNSET
    secret_key: str | UnsetType = UNSET


class OrganizationPatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """PATCH /v2/organizations/{id}: what is not named stays."""

    name: Label | UnsetType = UNSET
    settings: SettingsBody | UnsetType = UNSET
    secret_key: str | UnsetType = UNSET


class SigningKeyBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """POST /v2/signing-keys."""

    algorithm: Literal["ES256", "EdDSA", "RS256"] | UnsetType = UNSET
    current: bool = False
    secret_key: str | UnsetType = UNSET


class KeyOnlyBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A body that says nothing beyond the key."""

    secret_key: str | UnsetType = UNSET
