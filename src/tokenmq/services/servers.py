"""Who a server is to the broker: the identity that goes with its key."""

from __future__ import annotations

from tokenmq.access.grants import Grant
from tokenmq.access.identity import Identity
from tokenmq.access.permission import Permission
from tokenmq.tokens.records import KeyKind, KeyRecord, OrganizationSettings
from tokenmq.tokens.subjects import SERVER, username


def server_identity(key: KeyRecord, org_id: str, settings: OrganizationSettings) -> Identity:
    """Return the identity of a key in an organization; what the key opens is the caller's to ask.

    An `rk_` key has the rights that it was given, an `sk_` or `ik_` key has all of them on
    every topic that the organization has. No policy cuts them.
    """
    grants = key.grants
    if key.kind in (KeyKind.SECRET, KeyKind.INSTANCE):
        trees = tuple(f"{tree}/#" for tree in settings.dollar_trees)
        grants = (Grant(tuple(Permission), ("#", *trees)),)
    return Identity(
        org_id=org_id,
        user_id=SERVER,
        username=username(SERVER, org_id),
        grants=grants,
        expires_at=key.expires_at,
        token_id=None,
        jti=None,
        gen=0,
        key_id=key.id,
        client_id=None,
        issued_at=key.created_at,
    )
