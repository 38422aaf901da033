"""`tokenmq audit`: who did what to what, when, and whether the trail is whole."""

from __future__ import annotations

import itertools
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from tokenmq.cli.exits import FAILED, OK
from tokenmq.cli.management import LOCAL, Org, Service, connected
from tokenmq.cli.output import print_fields, print_json, print_table
from tokenmq.client.answers import AuditCheck, AuditEntry
from tokenmq.client.http import ServiceClient


def audit(
    *,
    verify: Annotated[bool, Parameter(negative="")] = False,
    action: str | None = None,
    actor: str | None = None,
    object_: Annotated[str | None, Parameter(name="--object")] = None,
    user: str | None = None,
    since: str | None = None,
    until: str | None = None,
    limit: int = 50,
    org: Org = None,
    service: Service = LOCAL,
) -> int:
    """List the audit trail, newest first, or verify it (administrator's key only).

    A trail that is not whole is exit code 1.

    Args:
        verify: Walk along the whole chain instead; what --json prints is worth keeping elsewhere.
        action: Only of this action, as issue, revoke, key_create.
        actor: Only by this one, as key:ID, system.
        object_: Only about this one, as token:ID, key:ID.
        user: Only by or about the user of this id.
        since: Only from this time on, RFC 3339.
        until: Only before this time, RFC 3339.
        limit: At most so many rows; 0 for all.
        org: The organization; an administrator's key without it sees all of them.
        service: The service and the output.
    """
    with connected(service) as client:
        if verify:
            return _verify(client, service)
        rows = client.audit(
            organization_id=org,
            action=action,
            actor=actor,
            about=object_,
            user_id=user,
            since=since,
            until=until,
        )
        found = list(itertools.islice(rows, limit or None))
    if service.json:
        print_json(found)
    else:
        _show(found)
    return OK


def _verify(client: ServiceClient, service: Service) -> int:
    rows = 0
    for part in client.check_audit():
        rows += part["rows"]
    told: AuditCheck = {**part, "rows": rows}
    if service.json:
        print_json({name: value for name, value in told.items() if name != "next"})
    else:
        print_fields(
            [
                ("intact", told["intact"]),
                ("rows", rows),
                ("last whole row", told["number"]),
                ("its hash", told["hash"]),
                ("broken at row", told["broken_at"]),
                ("problem", told["problem"]),
            ]
        )
    return OK if told["intact"] else FAILED


def _show(found: list[AuditEntry]) -> None:
    print_table(
        ("number", "at", "actor", "action", "object", "user", "result", "address", "details"),
        [
            (
                row["number"],
                row["at"],
                row["actor"],
                row["action"],
                row["object"],
                row.get("user_id"),
                row["result"],
                row.get("address"),
                _details(row.get("details")),
            )
            for row in found
        ],
    )


def _details(details: dict[str, Any] | None) -> str | None:
    return ", ".join(f"{name}={_plain(value)}" for name, value in (details or {}).items()) or None


def _plain(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
