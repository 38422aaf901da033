"""Records to rows and back."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import RowMapping

from tokenmq.access.grants import Grant
from tokenmq.access.identity import Renewal
from tokenmq.access.recording import HistoryRule
from tokenmq.access.rules import PolicyDocument
from tokenmq.errors import Unavailable
from tokenmq.stores.base import IdempotencyRecord, IdempotencyScope
from tokenmq.stores.family_life import KnownFamily
from tokenmq.tokens.foreign.configuration import Configuration, ProviderKind, ProviderRecord
from tokenmq.tokens.records import (
    EarlierSecret,
    FamilyRecord,
    KeyKind,
    KeyRecord,
    OrganizationRecord,
    OrganizationSettings,
    SigningKeyRecord,
)

_ENCODER = msgspec.json.Encoder()
_GRANTS = msgspec.json.Decoder(tuple[Grant, ...])
_NAMES = msgspec.json.Decoder(tuple[str, ...])
_EARLIER = msgspec.json.Decoder(tuple[EarlierSecret, ...])
_METADATA = msgspec.json.Decoder(dict[str, Any])
_CLIENTS = msgspec.json.Decoder(tuple[tuple[str, int | None], ...])
# Of most families: nobody was ever connected, as far as is stored.
_NO_CLIENTS = "[]"
_JWK = msgspec.json.Decoder(dict[str, str])
_SETTINGS = msgspec.json.Decoder(OrganizationSettings)
_POLICY = msgspec.json.Decoder(PolicyDocument)
_HISTORY = msgspec.json.Decoder(tuple[HistoryRule, ...])
_CONFIGURATION = msgspec.json.Decoder(Configuration)


def organization_row(record: OrganizationRecord) -> dict[str, Any]:
    """Write an organization."""
    return {
        "id": record.id,
        "name": record.name,
        "settings": _json(record.settings),
        "created_at": record.created_at,
        "policy": None if record.policy is None else _json(record.policy),
        "history": _json(record.history) if record.history else None,
    }


def organization_record(row: RowMapping) -> OrganizationRecord:
    """Read an organization."""
    return OrganizationRecord(
        id=row["id"],
        name=row["name"],
        settings=_SETTINGS.decode(row["settings"]),
        created_at=row["created_at"],
        policy=None if row["policy"] is None else _policy(row["id"], row["policy"]),
        history=() if row["history"] is None else _HISTORY.decode(row["history"]),
    )


def _policy(org_id: str, text: str) -> PolicyDocument:
    """Read a policy; without it, nobody knows who may do what.

    Raises: Unavailable.
    """
    try:
        return _POLICY.decode(text)
    except msgspec.DecodeError as error:
        raise Unavailable(f"the stored policy of {org_id} is damaged: {error}") from error


def key_row(record: KeyRecord) -> dict[str, Any]:
    """Write a key."""
    return {
        "id": record.id,
        "org_id": record.org_id,
        "kind": record.kind.value,
        "name": record.name,
        "digest": record.digest,
        "hint": record.hint,
        "scopes": _json(record.scopes),
        "grants": _json(record.grants),
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "last_used_at": record.last_used_at,
        "deleted_at": record.deleted_at,
        "rotated_at": record.rotated_at,
        "earlier": _json(record.earlier),
    }


def key_record(row: RowMapping) -> KeyRecord:
    """Read a key."""
    return KeyRecord(
        id=row["id"],
        org_id=row["org_id"],
        kind=KeyKind(row["kind"]),
        name=row["name"],
        digest=row["digest"],
        hint=row["hint"],
        scopes=_NAMES.decode(row["scopes"]),
        grants=_GRANTS.decode(row["grants"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
        deleted_at=row["deleted_at"],
        rotated_at=row["rotated_at"],
        earlier=_EARLIER.decode(row["earlier"]),
    )


def family_row(record: FamilyRecord) -> dict[str, Any]:
    """Write a family."""
    return {
        "token_id": record.token_id,
        "org_id": record.org_id,
        "user_id": record.user_id,
        "user_email": record.user_email,
        "key_id": record.key_id,
        "integration_id": record.integration_id,
        "client_id": record.client_id,
        "renewable": record.renewable,
        "grants": _json(record.grants),
        "metadata": _json(record.metadata),
        "first_issued_at": record.first_issued_at,
        "ttl_seconds": record.ttl_seconds,
        "gen": record.gen,
        "jti": record.jti,
        "kid": record.kid,
        "issued_at": record.issued_at,
        "expires_at": record.expires_at,
        "ends_at": record.ends_at,
        "revoked_at": record.revoked_at,
        "revoked_reason": record.revoked_reason,
        "replaced_at": record.replaced_at,
        "sessions_replaced": record.sessions_replaced,
        "retained_kept": record.retained_kept,
        "parent_id": record.parent_id,
        "provider_id": record.provider_id,
        "attrs": None if record.attrs is None else _json(record.attrs),
        "superseded_at": record.superseded_at,
        "presented": record.presented,
        "connected": record.connected,
        "clients": clients_text(record.clients),
    }


def family_record(row: RowMapping) -> FamilyRecord:
    """Read a family."""
    values = dict(row)
    values["grants"] = _GRANTS.decode(row["grants"])
    values["metadata"] = _METADATA.decode(row["metadata"])
    values["attrs"] = _attrs(row)
    values["clients"] = _clients(row)
    return FamilyRecord(**values)


def known_family(row: RowMapping) -> KnownFamily:
    """Read a family as it is taken in at start."""
    newest = None
    if row["gen"] and row["revoked_at"] is None and not row["sessions_replaced"]:
        newest = Renewal(
            jti=row["jti"],
            gen=row["gen"],
            grants=_GRANTS.decode(row["grants"]),
            issued_at=row["issued_at"],
            expires_at=row["expires_at"],
            attrs=_attrs(row),
        )
    return KnownFamily(
        token_id=row["token_id"],
        expires_at=row["expires_at"],
        ends_at=row["ends_at"],
        renewable=row["renewable"],
        revoked=row["revoked_at"] is not None,
        replaced=row["replaced_at"] is not None,
        sessions_replaced=row["sessions_replaced"],
        newest=newest,
        superseded_at=row["superseded_at"],
        presented=row["presented"],
        connected=row["connected"],
        clients=_clients(row),
    )


def clients_text(clients: tuple[tuple[str, int | None], ...]) -> str:
    """Write the client ids that a family was connected with."""
    return _json(clients) if clients else _NO_CLIENTS


def _clients(row: RowMapping) -> tuple[tuple[str, int | None], ...]:
    return () if row["clients"] == _NO_CLIENTS else _CLIENTS.decode(row["clients"])


def _attrs(row: RowMapping) -> dict[str, Any] | None:
    return None if row["attrs"] is None else _METADATA.decode(row["attrs"])


def idempotency_row(record: IdempotencyRecord) -> dict[str, Any]:
    """Write what a request with an idempotency key made."""
    return {
        "key_id": record.scope.key_id,
        "path": record.scope.path,
        "value": record.scope.value,
        "digest": record.digest,
        "token_id": record.token_id,
        "forget_at": record.forget_at,
    }


def idempotency_record(row: RowMapping) -> IdempotencyRecord:
    """Read what a request with an idempotency key made."""
    return IdempotencyRecord(
        scope=IdempotencyScope(key_id=row["key_id"], path=row["path"], value=row["value"]),
        digest=row["digest"],
        token_id=row["token_id"],
        forget_at=row["forget_at"],
    )


def signing_key_row(record: SigningKeyRecord) -> dict[str, Any]:
    """Write a signing key."""
    return {
        "kid": record.kid,
        "algorithm": record.algorithm,
        "private_pem": record.private_pem,
        "public_jwk": _json(record.public_jwk),
        "created_at": record.created_at,
        "current_from": record.current_from,
        "retired_at": record.retired_at,
    }


def signing_key_record(row: RowMapping) -> SigningKeyRecord:
    """Read a signing key."""
    return SigningKeyRecord(
        kid=row["kid"],
        algorithm=row["algorithm"],
        private_pem=row["private_pem"],
        public_jwk=_JWK.decode(row["public_jwk"]),
        created_at=row["created_at"],
        current_from=row["current_from"],
        retired_at=row["retired_at"],
    )


def provider_row(record: ProviderRecord) -> dict[str, Any]:
    """Write an identity provider."""
    return {
        "id": record.id,
        "org_id": record.org_id,
        "kind": record.kind.value,
        "name": record.name,
        "configuration": _json(record.configuration),
        "secret": record.secret,
        "enabled": record.enabled,
        "created_at": record.created_at,
    }


def provider_record(row: RowMapping) -> ProviderRecord:
    """Read an identity provider."""
    return ProviderRecord(
        id=row["id"],
        org_id=row["org_id"],
        kind=ProviderKind(row["kind"]),
        name=row["name"],
        configuration=_CONFIGURATION.decode(row["configuration"]),
        secret=row["secret"],
        enabled=row["enabled"],
        created_at=row["created_at"],
    )


def _json(value: object) -> str:
    return _ENCODER.encode(value).decode("utf-8")
