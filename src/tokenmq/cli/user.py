"""`tokenmq user`: what can be done to all that a user has."""

from __future__ import annotations

from cyclopts import App

from tokenmq.cli.management import LOCAL, Org, Service, connected_to
from tokenmq.cli.output import print_fields, print_json

app = App(name="user", help="End the sessions of users.")


@app.command
def terminate(user: str, *, org: Org = None, service: Service = LOCAL) -> None:
    """End all sessions of a user for good, and close their connections.

    The user may come back as long as there is a good token: `token revoke --user` keeps the user out.

    Args:
        user: The user's id, or the MQTT username.
        org: The organization.
        service: The service and the output.
    """
    with connected_to(service, org) as (client, organization_id):
        done = client.terminate_user(user, organization_id=organization_id)
    if service.json:
        print_json(done)
    else:
        print_fields([("username", done["username"]), ("sessions ended", done["sessions_terminated"])])
