"""`tokenmq retained`: the messages that topics keep for those who subscribe later."""

from __future__ import annotations

from cyclopts import App

from tokenmq.cli.management import LOCAL, Org, Service, connected_to
from tokenmq.cli.output import print_fields, print_json, print_table

app = App(name="retained", help="List and remove retained messages.")


@app.command(name="list")
def list_(topic: str = "#", *, org: Org = None, service: Service = LOCAL) -> None:
    """List retained messages, without their payloads.

    Args:
        topic: Only those on topics that this filter matches; # matches none that begins with $.
        org: The organization.
        service: The service and the output.
    """
    with connected_to(service, org) as (client, organization_id):
        found = sorted(
            client.retained(topic, organization_id=organization_id), key=lambda message: message["topic"]
        )
    if service.json:
        print_json(found)
        return
    print_table(
        ("topic", "bytes", "since"),
        [(message["topic"], message["payload_size"], message["timestamp"]) for message in found],
    )


@app.command
def delete(topic: str, *, org: Org = None, service: Service = LOCAL) -> None:
    """Remove the retained message of a topic; subscribers are told nothing.

    Args:
        topic: Its topic, without wildcards.
        org: The organization.
        service: The service and the output.
    """
    with connected_to(service, org) as (client, organization_id):
        client.delete_retained(topic, organization_id=organization_id)
    if service.json:
        print_json({"topic": topic, "deleted": True})
    else:
        print_fields([("removed", topic)])
