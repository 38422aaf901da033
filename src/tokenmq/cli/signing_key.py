"""`tokenmq signing-key`: the keys that sign tokens, changed while the service runs."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Parameter

from tokenmq.cli.management import LOCAL, Service, connected
from tokenmq.cli.output import print_fields, print_json, print_lines, print_table
from tokenmq.cli.pasting import command
from tokenmq.client.answers import SigningKey

app = App(
    name="signing-key",
    help="List, add, use and retire the keys that sign tokens (administrator's key only).",
)

# A thumbprint may begin with a hyphen.
Kid = Annotated[str, Parameter(allow_leading_hyphen=True)]


@app.command(name="list")
def list_(*, service: Service = LOCAL) -> None:
    """List the signing keys: current, waiting, former and retired ones.

    Args:
        service: The service and the output.
    """
    with connected(service) as client:
        found = list(client.signing_keys())
    if service.json:
        print_json(found)
        return
    print_table(
        ("kid", "algorithm", "status", "created", "signs since", "retired"),
        [
            (
                key["kid"],
                key["algorithm"],
                key["status"],
                key.get("created_at"),
                key.get("current_from"),
                key.get("retired_at"),
            )
            for key in found
        ],
    )


@app.command
def add(
    *,
    algorithm: Literal["ES256", "EdDSA", "RS256"] | None = None,
    use: Annotated[bool, Parameter(negative="")] = False,
    service: Service = LOCAL,
) -> None:
    """Make a signing key and publish it; the current one goes on signing.

    Args:
        algorithm: The configured one without it.
        use: Sign with it at once, though others may keep the old public keys for 5 minutes.
        service: The service and the output.
    """
    with connected(service) as client:
        made = client.add_signing_key(algorithm, current=use)
    _show(made, service)
    if not use and not service.json:
        print_lines("", "In 5 minutes all who verify tokens know it. Then:")
        print_lines(command("signing-key", "use", made["kid"]))


@app.command(name="use")
def use_(kid: Kid, *, service: Service = LOCAL) -> None:
    """Sign with a key from now on; what the others signed is good until its end.

    Args:
        kid: Its id, as `signing-key list` shows it.
        service: The service and the output.
    """
    with connected(service) as client:
        _show(client.use_signing_key(kid), service)


@app.command
def retire(kid: Kid, *, service: Service = LOCAL) -> None:
    """Take a key out of use: what it signed is refused from now on.

    No token lives longer than a day: a day after another key took over, nobody misses it.
    Connections that are open stay so until their tokens end; `token revoke --all` ends them.

    Args:
        kid: Its id, as `signing-key list` shows it.
        service: The service and the output.
    """
    with connected(service) as client:
        _show(client.retire_signing_key(kid), service)


def _show(key: SigningKey, service: Service) -> None:
    if service.json:
        print_json(key)
    else:
        print_fields([("kid", key["kid"]), ("algorithm", key["algorithm"]), ("status", key["status"])])
