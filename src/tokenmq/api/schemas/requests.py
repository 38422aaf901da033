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

from tokenmq.access.permission import Permission
from tokenmq.limits import MAX_TOPICS, MAX_TTL_SECONDS, MIN_TTL_SECONDS
from tokenmq.services.paging import MAX_LIMIT
from tokenmq.tokens.settings import OrganizationSettings

# Longest text of a request that is only a label; a user id is bounded in bytes by the services.
_MAX_LABEL = 255

Label = Annotated[str, Meta(min_length=1, max_length=_MAX_LABEL)]
Permissions = Annotated[list[Permission], Meta(min_length=1)]
TopicFilters = Annotated[list[str], Meta(min_length=1, max_length=MAX_TOPICS)]
Time = Annotated[datetime, Meta(tz=True, description="RFC 3339, with its offset")]
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


class NoQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Calls whose URL says everything."""


class AnyQuery(msgspec.Struct):
    """Calls for everybody: what a cache or a browser adds is ignored."""


class InstancePageQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """GET /v2/organizations."""

    limit: Limit | UnsetType = UNSET
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


class KeyDeleteQuery(OrganizationQuery, kw_only=True):
    """DELETE /v2/keys/{id}."""

    revoke_tokens: bool | UnsetType = UNSET


class KeyDeleteBody(Keyed, kw_only=True):
    """DELETE /v2/keys/{id}, for those who send a body."""

    revoke_tokens: bool | UnsetType = UNSET


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
