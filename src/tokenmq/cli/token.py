"""`tokenmq token`: the short-lived credentials of users."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from cyclopts import App, Parameter

from tokenmq.cli.credentials import TokenFile, token_text
from tokenmq.cli.exits import NOT_AUTHORISED, OK
from tokenmq.cli.files import write_private
from tokenmq.cli.management import (
    LOCAL,
    Org,
    Service,
    broker_of,
    connected,
    connected_to,
    connected_to_anybody,
)
from tokenmq.cli.output import print_fields, print_json, print_lines, print_table
from tokenmq.cli.pasting import command, example_of, filter_for
from tokenmq.client import unverified
from tokenmq.client.answers import Grant, IssuedToken, RevocationRequest, TokenRequest, grants_of
from tokenmq.client.unverified import UnverifiedToken
from tokenmq.clock import now
from tokenmq.errors import InvalidKey, InvalidRequest, ServiceError, Unreachable
from tokenmq.timestamps import rfc3339

app = App(name="token", help="Make, refresh, exchange, inspect, list and revoke the tokens of users.")

Repeated = Parameter(negative="", consume_multiple=False)
Flag = Parameter(negative="")


@Parameter(name="*")
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a token is to be."""

    user: Annotated[str | None, Parameter(help="User's id.")] = None
    email: Annotated[str | None, Parameter(help="User's e-mail; one of the two is needed.")] = None
    topic: Annotated[
        list[str] | None, Repeated, Parameter(help="Topic filter that it is for; may be given several times.")
    ] = None
    permission: Annotated[
        list[Literal["publish", "subscribe", "presence", "history"]] | None,
        Repeated,
        Parameter(help="What it permits; publish and subscribe without it; may be given several times."),
    ] = None
    grant: Annotated[
        list[str] | None,
        Repeated,
        Parameter(help="Instead of the two above, as publish,subscribe=chat/#; may be given several times."),
    ] = None
    ttl: Annotated[
        int | None, Parameter(help="Its life in seconds; the organization's default without it.")
    ] = None
    client_id: Annotated[str | None, Parameter(help="The only client id, or a prefix ending in *.")] = None
    renewable: Annotated[bool, Parameter(help="It may be refreshed.")] = True
    integration_id: Annotated[str | None, Parameter(help="Label of the integration that it is for.")] = None
    replace_existing: Annotated[
        bool, Flag, Parameter(help="End the refreshing of the user's earlier, unconnected tokens.")
    ] = False
    replace_sessions: Annotated[
        bool, Flag, Parameter(help="End all earlier tokens of the user, and close their connections.")
    ] = False

    def request(self) -> TokenRequest:
        """Return the call's body: what was not said is not sent.

        Raises: InvalidRequest for a grant that is not PERMISSIONS=FILTER.
        """
        fields: dict[str, Any] = {
            "user_id": self.user,
            "user_email": self.email,
            "topics": self.topic,
            "permissions": self.permission,
            "grants": [_grant(text) for text in self.grant or ()],
            "ttl": self.ttl,
            "client_id": self.client_id,
            "renewable": None if self.renewable else False,
            "integration_id": self.integration_id,
            "replace_existing": self.replace_existing or None,
            "replace_sessions": self.replace_sessions or None,
        }
        request: Any = {name: value for name, value in fields.items() if value not in (None, [])}
        return msgspec.convert(request, TokenRequest)


ANYTHING: Final = Wanted()


@app.command
def create(
    *,
    wanted: Wanted = ANYTHING,
    out: Path | None = None,
    quiet: Annotated[bool, Flag] = False,
    org: Org = None,
    service: Service = LOCAL,
) -> None:
    """Make a token and show how to use it.

    Args:
        wanted: What it is to be.
        out: File to write the answer to, readable by you alone, for --token-file.
        quiet: Print the token and nothing else.
        org: The organization.
        service: The service and the output.
    """
    _check_output(service, quiet=quiet)
    request = wanted.request()
    with connected_to(service, org) as (client, organization_id):
        if organization_id:
            request["organization_id"] = organization_id
        made = client.create_token(**request)
        _give(made, out, service, client.url, quiet=quiet)


@app.command
def refresh(
    token: Annotated[str | None, Parameter(env_var="TOKENMQ_TOKEN", allow_leading_hyphen=True)] = None,
    *,
    token_file: TokenFile = None,
    quiet: Annotated[bool, Flag] = False,
    service: Service = LOCAL,
) -> None:
    """Get the next token of a family for one that it has; connections go on under it.

    No key is needed. A token file gets the new one.

    Args:
        token: Its text, - reads it from stdin.
        token_file: Its file, which is written anew.
        quiet: Print the token and nothing else.
        service: The service and the output.
    """
    _check_output(service, quiet=quiet)
    text = token_text(token, token_file)
    with connected_to_anybody(service) as client:
        made = client.refresh(_claim(text, "fam"), text)
        _give(made, _kept(token_file), service, client.url, quiet=quiet)


@app.command
def exchange(
    token: Annotated[str | None, Parameter(env_var="TOKENMQ_TOKEN", allow_leading_hyphen=True)] = None,
    *,
    token_file: TokenFile = None,
    out: Path | None = None,
    quiet: Annotated[bool, Flag] = False,
    service: Service = LOCAL,
) -> None:
    """Exchange a token for one of a family of its own, which is refreshed by itself.

    No key is needed. The first goes on; revoking it revokes the other.

    Args:
        token: Its text, - reads it from stdin.
        token_file: Its file.
        out: File to write the answer to, readable by you alone, for --token-file.
        quiet: Print the token and nothing else.
        service: The service and the output.
    """
    _check_output(service, quiet=quiet)
    text = token_text(token, token_file)
    with connected_to_anybody(service) as client:
        made = client.exchange(text, organization_id=_claim(text, "org"))
        _give(made, out, service, client.url, quiet=quiet)


@app.command
def inspect(
    token: Annotated[str | None, Parameter(env_var="TOKENMQ_TOKEN", allow_leading_hyphen=True)] = None,
    *,
    token_file: TokenFile = None,
    service: Service = LOCAL,
) -> int:
    """Show what a token says, and what the service says about it.

    What it says is decoded here and proves nothing; with a key, the service is asked
    whether it is good now. Exit code 3 when it is not.

    Args:
        token: Its text, - reads it from stdin.
        token_file: Its file.
        service: The service and the output.
    """
    text = token_text(token, token_file)
    read = unverified.read(text)
    told, reason = _introspected(text, read, service)
    if service.json:
        print_json(
            {
                "verified": told is not None and told["active"],
                "username": read.username,
                "header": read.header,
                "claims": read.claims,
                "introspection": told,
                "not_checked": reason,
            }
        )
    else:
        _show_claims(read, told, reason)
    return NOT_AUTHORISED if told is not None and not told["active"] else OK


@app.command(name="list")
def list_(
    *,
    user: str | None = None,
    status: Literal["active", "expired", "revoked", "replaced"] | None = None,
    org: Org = None,
    service: Service = LOCAL,
) -> None:
    """List tokens, never their text.

    Args:
        user: Only this user's.
        status: Only those in this status.
        org: The organization.
        service: The service and the output.
    """
    with connected_to(service, org) as (client, organization_id):
        found = list(client.tokens(organization_id=organization_id, user_id=user, status=status))
    if service.json:
        print_json(found)
        return
    columns = ("token_id", "user_id", "status", "expires_at")
    print_table(
        (*columns, "grants"),
        [(*(token.get(column) for column in columns), _written(grants_of(token))) for token in found],
    )


@app.command
def revoke(
    token_id: str | None = None,
    *,
    user: str | None = None,
    client_id: str | None = None,
    made_by: str | None = None,
    everything: Annotated[bool, Parameter(name="--all", negative="")] = False,
    issued_before: str | None = None,
    reason: str | None = None,
    org: Org = None,
    service: Service = LOCAL,
) -> None:
    """Revoke tokens, and close their connections at once.

    Args:
        token_id: One token's id.
        user: Or all of a user.
        client_id: Or those bound to a client id, and the one that opened its session.
        made_by: Or those that a key made, by the key's id.
        everything: Or every token of the organization.
        issued_before: Only what was first issued before, RFC 3339.
        reason: Why; it is kept.
        org: The organization.
        service: The service and the output.
    """
    fields = {
        "token_id": token_id,
        "user_id": user,
        "client_id": client_id,
        "key_id": made_by,
        "all": everything,
    }
    chosen = {name: value for name, value in fields.items() if value}
    if len(chosen) != 1:
        raise InvalidRequest(("", "name one of: a token's id, --user, --client-id, --made-by, --all"))
    narrowed = {"issued_before": issued_before, "reason": reason}
    said: Any = chosen | {name: value for name, value in narrowed.items() if value}
    request = msgspec.convert(said, RevocationRequest)
    with connected_to(service, org) as (client, organization_id):
        if organization_id:
            request["organization_id"] = organization_id
        done = client.revoke(**request)
    if service.json:
        print_json(done)
    else:
        print_fields([("tokens revoked", done["revoked"]), ("connections closed", done["sessions_closed"])])


def _grant(text: str) -> Grant:
    permissions, equals, topic_filter = text.partition("=")
    if not equals or not permissions or not topic_filter:
        raise InvalidRequest(("--grant", f"{text!r} is not like publish,subscribe=chat/#"))
    return Grant(topics=[topic_filter], permissions=[name.strip() for name in permissions.split(",")])


def _written(grants: list[Grant]) -> str | None:
    """Write grants in a line, much as --grant takes them."""
    return (
        "; ".join(f"{','.join(grant['permissions'])}={','.join(grant['topics'])}" for grant in grants) or None
    )


def _check_output(service: Service, *, quiet: bool) -> None:
    if quiet and service.json:
        raise InvalidRequest(("--quiet, --json", "exclude each other"))


def _claim(token: str, name: str) -> str:
    """Return what a token says, which proves nothing; the service will look at it.

    Raises: InvalidToken, InvalidRequest where it says nothing.
    """
    told = unverified.read(token).claims.get(name)
    if not isinstance(told, str):
        raise InvalidRequest(("token", f"is none of a token service: it has no {name}"))
    return told


def _kept(file: Path | None) -> Path | None:
    """Return a token file that can be written anew."""
    return None if file is None or str(file) == "-" else file


def _give(made: IssuedToken, out: Path | None, service: Service, url: str, *, quiet: bool) -> None:
    """Show a token that was made, or write it down."""
    if out is not None:
        write_private(out, msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n")
    if service.json:
        print_json(made)
    elif quiet:
        print_lines(made["token"])
    else:
        _show(made, out, broker_of(service, url))


def _show(made: IssuedToken, out: Path | None, broker: str | None) -> None:
    print_fields(
        [
            ("token", made["token"]),
            ("expires", made["expires_at"]),
            ("username", made["mqtt_username"]),
            ("token_id", made["token_id"]),
            ("saved in", out),
        ]
    )
    told = [] if out is not None else [f"export TOKENMQ_TOKEN={made['token']}"]
    held = ["--token-file", str(out)] if out is not None else []
    if broker is not None:
        held += ["--url", broker]
    if listened := filter_for("subscribe", made):
        told.append(command("sub", listened, *held))
    if published := filter_for("publish", made):
        told.append(command("pub", example_of(published), "hello", *held))
    print_lines("", "Use it:", *told)


def _introspected(
    text: str, read: UnverifiedToken, service: Service
) -> tuple[dict[str, Any] | None, str | None]:
    """Ask the service; what it answered, or why it could not be asked."""
    org = read.claims.get("org")
    try:
        with connected(service) as client:
            named = str(org) if client.is_administrator and org else None
            return dict(client.introspect(text, organization_id=named)), None
    except (InvalidKey, ServiceError, Unreachable) as error:
        return None, str(error)


def _show_claims(read: UnverifiedToken, told: dict[str, Any] | None, reason: str | None) -> None:
    if told is None:
        print_lines("NOT VERIFIED: what the token says about itself")
    elif told["active"]:
        print_lines("verified by the token service: active")
    else:
        print_lines("refused by the token service: NOT ACTIVE; what it says about itself:")
    exp = read.expires_at
    over = " (over)" if exp is not None and exp <= now() else ""
    print_fields(
        [
            ("username", read.username),
            ("expires", f"{rfc3339(exp)}{over}" if exp is not None and 0 <= exp < 2**34 else None),
            ("algorithm", read.header.get("alg")),
            *((name, _plain(value)) for name, value in read.claims.items()),
            ("not checked", reason),
        ]
    )


def _plain(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
