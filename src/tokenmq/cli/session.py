"""`tokenmq session`: what the broker holds of clients, connected or not."""

from __future__ import annotations

from cyclopts import App

from tokenmq.cli.management import LOCAL, Org, Service, connected_to
from tokenmq.cli.output import print_fields, print_json, print_table

app = App(name="session", help="List and end the sessions of clients.")


@app.command(name="list")
def list_(*, user: str | None = None, org: Org = None, service: Service = LOCAL) -> None:
    """List sessions, those that wait for their clients too.

    Args:
        user: Only this user's, by id.
        org: The organization.
        service: The service and the output.
    """
    with connected_to(service, org) as (client, organization_id):
        found = list(client.sessions(organization_id=organization_id, user_id=user))
    if service.json:
        print_json(found)
        return
    columns = ("client_id", "user_id", "connected", "address", "protocol", "since", "expires_at", "token_id")
    print_table(
        (*columns, "subscriptions", "queue"),
        [
            (
                *(session.get(column) for column in columns),
                [one["topic"] for one in session.get("subscriptions", [])],
                session.get("queue"),
            )
            for session in found
        ],
    )


@app.command
def delete(client_id: str, *, org: Org = None, service: Service = LOCAL) -> None:
    """End a session for good, with all that waits for it, and close its connection.

    Its client may come back as long as it has a good token: `token revoke --client-id` keeps it out.

    Args:
        client_id: Its client id.
        org: The organization.
        service: The service and the output.
    """
    with connected_to(service, org) as (client, organization_id):
        client.delete_session(client_id, organization_id=organization_id)
    if service.json:
        print_json({"client_id": client_id, "deleted": True})
    else:
        print_fields([("ended", client_id)])
