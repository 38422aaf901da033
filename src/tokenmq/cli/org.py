"""`tokenmq org`: the tenants of an instance, for its administrator."""

from __future__ import annotations

from cyclopts import App

from tokenmq.cli.management import LOCAL, Service, connected
from tokenmq.cli.output import print_fields, print_json, print_table

app = App(name="org", help="Make and list organizations (administrator's key only).")


@app.command
def create(name: str, *, service: Service = LOCAL) -> None:
    """Make an organization.

    Args:
        name: What people call it; no two have the same.
        service: The service and the output.
    """
    with connected(service) as client:
        made = client.create_organization(name)
    if service.json:
        print_json(made)
    else:
        print_fields([("id", made["id"]), ("name", made["name"])])


@app.command(name="list")
def list_(*, service: Service = LOCAL) -> None:
    """List every organization.

    Args:
        service: The service and the output.
    """
    with connected(service) as client:
        found = list(client.organizations())
    if service.json:
        print_json(found)
    else:
        print_table(
            ("id", "name", "created"), [(org["id"], org["name"], org.get("created_at")) for org in found]
        )
