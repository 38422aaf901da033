"""`tokenmq key`: the credentials of servers."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Parameter

from tokenmq.cli.management import LOCAL, Org, Service, connected_to
from tokenmq.cli.output import print_fields, print_json, print_table
from tokenmq.client.answers import Key, KeyRequest, KeyRotation

app = App(name="key", help="Make, list, rotate and revoke the keys of servers.")

Repeated = Parameter(negative="", consume_multiple=False)


@app.command
def create(
    name: str,
    *,
    kind: Literal["sk", "rk", "pk"] = "sk",
    scope: Annotated[list[str] | None, Repeated] = None,
    permission: Annotated[list[str] | None, Repeated] = None,
    topic: Annotated[list[str] | None, Repeated] = None,
    expires_at: str | None = None,
    org: Org = None,
    service: Service = LOCAL,
) -> None:
    """Make a key and show it, this once.

    Args:
        name: What it is for.
        kind: Secret (everything in its organization), restricted (its scopes only), publishable.
        scope: Of a restricted key, as tokens:create; may be given several times.
        permission: Most that its tokens may do; may be given several times.
        topic: Topic filter that its tokens are within; may be given several times.
        expires_at: RFC 3339, or never; 90 days ahead without it.
        org: The organization.
        service: The service and the output.
    """
    request = KeyRequest(kind=kind, name=name)
    if scope:
        request["scopes"] = scope
    if permission:
        request["permissions"] = permission
    if topic:
        request["topics"] = topic
    if expires_at:
        request["expires_at"] = None if expires_at == "never" else expires_at
    with connected_to(service, org) as (client, organization_id):
        if organization_id:
            request["organization_id"] = organization_id
        made = client.create_key(**request)
    _show(made, service)


@app.command(name="list")
def list_(*, org: Org = None, service: Service = LOCAL) -> None:
    """List the keys of an organization, masked.

    Args:
        org: The organization.
        service: The service and the output.
    """
    with connected_to(service, org) as (client, organization_id):
        found = list(client.keys(organization_id=organization_id))
    if service.json:
        print_json(found)
        return
    print_table(
        ("id", "kind", "name", "key", "scopes", "expires", "last used"),
        [
            (
                key["id"],
                key["kind"],
                key.get("name"),
                key.get("masked"),
                key.get("scopes"),
                _end_of(key),
                key.get("last_used_at"),
            )
            for key in found
        ],
    )


@app.command
def rotate(
    key_id: str,
    *,
    grace_seconds: int | None = None,
    expires_at: str | None = None,
    org: Org = None,
    service: Service = LOCAL,
) -> None:
    """Give a key another secret and show it, this once; the earlier one works for a while yet.

    Args:
        key_id: Its id, as `key list` shows it.
        grace_seconds: How long that is, 3 days without it; 0 ends every earlier secret at once.
        expires_at: RFC 3339, or never; as long a life as it had without it.
        org: The organization.
        service: The service and the output.
    """
    request = KeyRotation()
    if grace_seconds is not None:
        request["grace_seconds"] = grace_seconds
    if expires_at:
        request["expires_at"] = None if expires_at == "never" else expires_at
    with connected_to(service, org) as (client, organization_id):
        if organization_id:
            request["organization_id"] = organization_id
        made = client.rotate_key(key_id, **request)
    _show(made, service)


@app.command
def revoke(
    key_id: str,
    *,
    revoke_tokens: Annotated[bool, Parameter(negative="")] = False,
    org: Org = None,
    service: Service = LOCAL,
) -> None:
    """End a key: its calls are refused and its server connections closed.

    Args:
        key_id: Its id, as `key list` shows it.
        revoke_tokens: Revoke every token that it made, too.
        org: The organization.
        service: The service and the output.
    """
    with connected_to(service, org) as (client, organization_id):
        client.delete_key(key_id, organization_id=organization_id, revoke_tokens=revoke_tokens)
    if service.json:
        print_json({"id": key_id, "revoked": True})
    else:
        print_fields([("revoked", key_id)])


def _show(made: Key, service: Service) -> None:
    if service.json:
        print_json(made)
        return
    print_fields(
        [
            ("key", made.get("key")),
            ("id", made["id"]),
            ("expires", made.get("expires_at") or "never"),
            ("earlier secret until", made.get("earlier_until")),
            ("", "Keep it now: it is not shown again."),
        ]
    )


def _end_of(key: Key) -> str | None:
    end = key.get("expires_at")
    return f"{end} (soon)" if end and key.get("expires_soon") else end
