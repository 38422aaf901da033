"""How records become the bodies of good answers."""

from __future__ import annotations

import base64
import functools
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from tokenmq import timestamps
from tokenmq.access.grants import Grant
from tokenmq.access.permission import Permission
from tokenmq.api.schemas.answers import (
    AuditCheck,
    AuditInfo,
    ExchangeAnswer,
    IntrospectionAnswer,
    KeyInfo,
    MqttCredentials,
    NewKeyAnswer,
    OrganizationInfo,
    ProviderInfo,
    RetainedInfo,
    RevokedAnswer,
    SessionInfo,
    SigningKeyInfo,
    SubscriptionInfo,
    TokenAnswer,
    TokenInfo,
)
from tokenmq.api.schemas.history import HistoryMessage
from tokenmq.broker.records import HistoryRecord
from tokenmq.services.audit import Told, Verified
from tokenmq.services.broker_views import RetainedView, SessionView
from tokenmq.services.keys import CreatedKey, Revoked, expires_soon
from tokenmq.services.signing_keys import SigningKeyView
from tokenmq.services.tokens import Introspection, IssuedToken, TokenView
from tokenmq.tokens.foreign import kinds
from tokenmq.tokens.foreign.configuration import ProviderRecord
from tokenmq.tokens.records import KeyRecord, OrganizationRecord
from tokenmq.tokens.secret import mask

# Tokens made in one second have the same times; writing one costs a tenth of an answer.
rfc3339 = functools.lru_cache(maxsize=256)(timestamps.rfc3339)
_decode_details = msgspec.json.Decoder(dict[str, Any]).decode


def issued(token: IssuedToken, *, now: float) -> TokenAnswer:
    """Show a new token, every member of the contract."""
    family = token.family
    permissions, topics, grants = rights(family.grants)
    return TokenAnswer(
        token=token.text,
        access_token=token.text,
        token_type="Bearer",
        expires_in=max(0, family.expires_at - int(now)),
        expires_at=rfc3339(family.expires_at),
        refresh_recommended_at=rfc3339(token.refresh_recommended_at),
        token_id=family.token_id,
        organization_id=family.org_id,
        org_short_id=family.org_id,
        user_id=family.user_id,
        user_email=family.user_email,
        provider="cloudsignal",
        permissions=permissions,
        topics=topics,
        grants=grants,
        mqtt_credentials=MqttCredentials(token.username, token.text),
        mqtt_username=token.username,
        mqtt_password=token.text,
        token_password=token.text,
    )


def exchanged(token: IssuedToken, *, now: float, issued_type: str | None) -> ExchangeAnswer:
    """Show a new token that another one was exchanged for.

    Args:
        token: the new one.
        now: unix seconds.
        issued_type: its type, for who sent a form of RFC 8693; None for the others.
    """
    members = msgspec.structs.asdict(issued(token, now=now))
    return ExchangeAnswer(**members, issued_token_type=UNSET if issued_type is None else issued_type)


def rights(
    grants: tuple[Grant, ...],
) -> tuple[tuple[Permission, ...], tuple[str, ...], tuple[Grant, ...]]:
    """Show grants as `permissions`, `topics` and `grants`.

    One grant stands in the first two. Several stand in the third alone: two lists beside
    each other would say that every permission holds on every topic.
    """
    if not grants:
        return (), (), ()
    if len(grants) == 1:
        return grants[0].permissions, grants[0].topics, ()
    return (), (), grants


def token_info(view: TokenView) -> TokenInfo:
    """Show a family."""
    family = view.family
    permissions, topics, grants = rights(family.grants)
    return TokenInfo(
        token_id=family.token_id,
        organization_id=family.org_id,
        user_id=family.user_id,
        user_email=family.user_email,
        status=view.status.value,
        permissions=permissions,
        topics=topics,
        grants=grants,
        client_id=family.client_id,
        integration_id=family.integration_id,
        key_id=family.key_id or None,
        provider_id=family.provider_id,
        renewable=family.renewable,
        generation=family.gen,
        ttl=family.ttl_seconds,
        first_issued_at=rfc3339(family.first_issued_at),
        issued_at=rfc3339(family.issued_at),
        expires_at=rfc3339(family.expires_at),
        ends_at=rfc3339(family.ends_at),
        revoked_at=_time(family.revoked_at),
        revoked_reason=family.revoked_reason,
        metadata=family.metadata,
    )


def introspection(found: Introspection | None) -> IntrospectionAnswer:
    """Show what a token is good for."""
    if found is None:
        return IntrospectionAnswer(active=False)
    claims = found.claims
    permissions, topics, grants = rights(claims.grants)
    return IntrospectionAnswer(
        active=True,
        token_type="Bearer",
        username=found.username,
        iss=claims.iss,
        aud=claims.aud,
        sub=claims.sub,
        iat=claims.iat,
        nbf=claims.nbf,
        exp=claims.exp,
        jti=claims.jti,
        client_id=claims.client_id,
        token_id=claims.fam,
        organization_id=claims.org,
        user_id=claims.sub,
        generation=claims.gen,
        permissions=permissions,
        topics=topics,
        grants=grants,
    )


def revoked(done: Revoked) -> RevokedAnswer:
    """Show what a revocation did."""
    return RevokedAnswer(done.revoked, done.sessions_closed)


def key_info(record: KeyRecord, *, now: float) -> KeyInfo:
    """Show a key, masked."""
    return KeyInfo(**_key_members(record, now))


def new_key(created: CreatedKey, *, now: float) -> NewKeyAnswer:
    """Show a key that was just made, or has a new secret."""
    return NewKeyAnswer(key=created.text, **_key_members(created.record, now))


def session_info(view: SessionView) -> SessionInfo:
    """Show a session."""
    return SessionInfo(
        client_id=view.client_id,
        user_id=view.user_id,
        username=view.username,
        token_id=view.token_id,
        key_id=view.key_id,
        connected=view.connected,
        address=view.address,
        transport=view.transport,
        protocol=view.protocol,
        since=rfc3339(int(view.since)),
        expires_at=_moment(view.expires_at),
        session_expiry_seconds=view.expiry_seconds,
        ends_at=_moment(view.ends_at),
        subscriptions=[SubscriptionInfo(one.topic_filter, one.qos) for one in view.subscriptions],
        queue=view.queue,
    )


def history_message(record: HistoryRecord) -> HistoryMessage:
    """Show a recorded message."""
    text: str | UnsetType = UNSET
    encoded: str | UnsetType = UNSET
    try:
        text = record.payload.decode("utf-8")
    except UnicodeDecodeError:
        encoded = base64.b64encode(record.payload).decode("ascii")
    return HistoryMessage(
        id=record.id,
        topic=record.topic,
        payload=text,
        payload_base64=encoded,
        qos=record.qos,
        retain=record.retain,
        user_id=record.user_id,
        at=timestamps.rfc3339(record.at),
    )


def retained_info(view: RetainedView) -> RetainedInfo:
    """Show a retained message."""
    return RetainedInfo(view.topic, view.payload_size, rfc3339(int(view.stored_at)))


def organization_info(record: OrganizationRecord) -> OrganizationInfo:
    """Show an organization."""
    return OrganizationInfo(record.id, record.name, record.settings, rfc3339(record.created_at))


def provider_info(record: ProviderRecord, *, whole: bool) -> ProviderInfo:
    """Show an identity provider: to everybody, or `whole` to who may change it."""
    return ProviderInfo(
        id=record.id,
        provider=record.kind.value,
        name=record.name,
        issuer=kinds.issuer_of(record.kind, record.configuration),
        enabled=record.enabled,
        configuration=record.configuration if whole else UNSET,
        has_secret=record.secret is not None if whole else UNSET,
    )


def signing_key_info(view: SigningKeyView) -> SigningKeyInfo:
    """Show a signing key."""
    return SigningKeyInfo(
        kid=view.kid,
        algorithm=view.algorithm,
        status=view.status.value,
        created_at=rfc3339(view.created_at),
        current_from=_time(view.current_from),
        retired_at=_time(view.retired_at),
    )


def audit_row(told: Told) -> AuditInfo:
    """Show a row of the audit trail."""
    row = told.row
    return AuditInfo(
        number=row.number,
        at=rfc3339(row.at),
        organization_id=row.org_id,
        actor=row.actor,
        action=row.action,
        object=row.object,
        user_id=told.user_id,
        result=row.result,
        address=row.address,
        request_id=row.request_id,
        details=_details(row.details),
        previous_hash=row.previous.hex(),
        hash=row.hash.hex(),
    )


def audit_check(verified: Verified) -> AuditCheck:
    """Show what a look along the chain has found."""
    found = verified.found
    broken = found.broken
    return AuditCheck(
        intact=broken is None,
        rows=found.rows,
        number=found.link.number,
        hash=found.link.hash.hex(),
        broken_at=None if broken is None else broken.number,
        problem=None if broken is None else broken.problem,
        next=verified.next,
    )


def _key_members(record: KeyRecord, now: float) -> dict[str, Any]:
    # A key is made with one list of permissions and one of topics.
    permissions, topics, _ = rights(record.grants)
    return {
        "id": record.id,
        "masked": mask(record.hint, record.kind),
        "kind": record.kind.value,
        "name": record.name,
        "organization_id": record.org_id,
        "scopes": record.scopes,
        "permissions": permissions,
        "topics": topics,
        "created_at": rfc3339(record.created_at),
        "expires_at": _time(record.expires_at),
        "expires_soon": expires_soon(record, now),
        "last_used_at": _time(record.last_used_at),
        "rotated_at": _time(record.rotated_at),
        "earlier_until": _time(max((one.until for one in record.earlier if one.until > now), default=None)),
    }


def _time(seconds: int | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)


def _details(text: str) -> Mapping[str, Any]:
    """Read what a row says; one that somebody has changed must not keep the others from being seen."""
    try:
        return _decode_details(text)
    except msgspec.DecodeError:
        return {"unreadable": text}


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else rfc3339(int(seconds))
