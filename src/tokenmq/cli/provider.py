"""`tokenmq provider`: identity providers whose tokens are exchanged for tokens of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec
from cyclopts import App, Parameter

from tokenmq.cli.management import LOCAL, Org, Service, connected_to, read_dash
from tokenmq.cli.output import print_fields, print_json, print_lines, print_table
from tokenmq.client.answers import Provider, ProviderRequest
from tokenmq.errors import InvalidRequest, ServiceError

app = App(name="provider", help="Set up, list and delete the identity providers of an organization.")

Repeated = Parameter(negative="", consume_multiple=False)
Flag = Parameter(negative="")


@app.command
def add(
    kind: Literal["supabase", "firebase", "auth0", "clerk", "oidc"],
    name: str,
    *,
    project_url: str | None = None,
    jwt_secret: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    project_id: str | None = None,
    domain: Annotated[list[str] | None, Repeated] = None,
    issuer: str | None = None,
    audience: Annotated[list[str] | None, Repeated] = None,
    jwks_url: str | None = None,
    authorized_party: Annotated[list[str] | None, Repeated] = None,
    allow_anonymous: Annotated[bool, Flag] = False,
    user_prefix: str | None = None,
    user_id_claim: str | None = None,
    email_claim: str | None = None,
    require: Annotated[list[str] | None, Repeated] = None,
    attr: Annotated[list[str] | None, Repeated] = None,
    mapping: Path | None = None,
    disabled: Annotated[bool, Flag] = False,
    accept_open_policy: Annotated[bool, Flag] = False,
    org: Org = None,
    service: Service = LOCAL,
) -> None:
    """Set an identity provider up; it is enabled at once.

    Args:
        kind: What kind it is.
        name: What people call it.
        project_url: Of Supabase, as https://abc.supabase.co.
        jwt_secret: Of Supabase, if it signs with a shared secret; - reads it from stdin.
        project_id: Of Firebase.
        domain: Of Auth0, or of Clerk, there several times.
        issuer: Of another one: its claim iss, exactly.
        audience: Of Auth0, another one, or Clerk's templates: what aud must name; may be given several times.
        jwks_url: Where its keys are, if not where this kind has them.
        authorized_party: What azp may be; may be given several times.
        allow_anonymous: Take users of Firebase and Supabase that have not signed in.
        user_prefix: Stands before every user id; with several providers each needs one.
        user_id_claim: Claim that becomes the user id; sub without it.
        email_claim: Claim that becomes the e-mail; email without it.
        require: Claim that a token must have; may be given several times.
        attr: Claim that travels with the token, for the policy; may be given several times.
        mapping: File with a JSON list of claim, equals and grants.
        disabled: Set it up without enabling it.
        accept_open_policy: Enable it although the policy still lets everybody do everything.
        org: The organization.
        service: The service and the output.
    """
    domains = {"domains": domain} if kind == "clerk" else {"domain": _only(domain)}
    asked = {
        "provider": kind,
        "name": name,
        "project_url": project_url,
        "jwt_secret": read_dash(jwt_secret),
        "project_id": project_id,
        **domains,
        "issuer": issuer,
        "audience": audience,
        "jwks_url": jwks_url,
        "authorized_parties": authorized_party,
        "allow_anonymous": allow_anonymous,
        "user_prefix": user_prefix,
        "user_id_claim": user_id_claim,
        "email_claim": email_claim,
        "required_claims": require,
        "attrs": attr,
        "mapping": None if mapping is None else _mapping_in(mapping),
        "accept_open_policy": accept_open_policy,
    }
    request = cast("ProviderRequest", {field: value for field, value in asked.items() if value})
    if disabled:
        request["enabled"] = False
    with connected_to(service, org) as (client, organization_id):
        if organization_id:
            request["organization_id"] = organization_id
        _show(client.create_provider(**request), service)


@app.command(name="list")
def list_(*, org: Org = None, service: Service = LOCAL) -> None:
    """List the identity providers of an organization.

    Args:
        org: The organization.
        service: The service and the output.
    """
    with connected_to(service, org) as (client, organization_id):
        found = client.providers(organization_id=organization_id)
    if service.json:
        print_json(found)
        return
    print_table(
        ("id", "kind", "name", "issuer", "enabled"),
        [(one["id"], one["provider"], one["name"], one["issuer"], one["enabled"]) for one in found],
    )


@app.command
def show(provider_id: str, *, org: Org = None, service: Service = LOCAL) -> None:
    """Show an identity provider, and how it is set up if the key may change it.

    Args:
        provider_id: Its id, as `provider list` shows it.
        org: The organization.
        service: The service and the output.
    """
    with connected_to(service, org) as (client, organization_id):
        found = [one for one in client.providers(organization_id=organization_id) if one["id"] == provider_id]
    if not found:
        raise ServiceError(404, "provider_not_found", "there is no such identity provider")
    _show(found[0], service)


@app.command
def enable(
    provider_id: str,
    *,
    accept_open_policy: Annotated[bool, Flag] = False,
    org: Org = None,
    service: Service = LOCAL,
) -> None:
    """Accept the tokens of an identity provider from now on.

    Args:
        provider_id: Its id, as `provider list` shows it.
        accept_open_policy: Do it although the policy still lets everybody do everything.
        org: The organization.
        service: The service and the output.
    """
    request: ProviderRequest = {"enabled": True}
    if accept_open_policy:
        request["accept_open_policy"] = True
    _change(provider_id, request, org, service)


@app.command
def disable(provider_id: str, *, org: Org = None, service: Service = LOCAL) -> None:
    """Refuse its tokens, and the refreshing of those they became; connections live until their tokens end.

    Args:
        provider_id: Its id, as `provider list` shows it.
        org: The organization.
        service: The service and the output.
    """
    _change(provider_id, {"enabled": False}, org, service)


@app.command
def delete(provider_id: str, *, org: Org = None, service: Service = LOCAL) -> None:
    """Delete an identity provider.

    Args:
        provider_id: Its id, as `provider list` shows it.
        org: The organization.
        service: The service and the output.
    """
    with connected_to(service, org) as (client, organization_id):
        client.delete_provider(provider_id, organization_id=organization_id)
    if service.json:
        print_json({"id": provider_id, "deleted": True})
    else:
        print_fields([("deleted", provider_id)])


def _change(provider_id: str, request: ProviderRequest, org: str | None, service: Service) -> None:
    with connected_to(service, org) as (client, organization_id):
        if organization_id:
            request["organization_id"] = organization_id
        _show(client.change_provider(provider_id, **request), service)


def _only(domains: list[str] | None) -> str | None:
    if domains is not None and len(domains) > 1:
        raise InvalidRequest(("--domain", "only clerk has several"))
    return domains[0] if domains else None


def _mapping_in(file: Path) -> Any:
    try:
        return msgspec.json.decode(file.read_bytes())
    except OSError as error:
        raise InvalidRequest(("--mapping", f"{file} cannot be read: {error.strerror}")) from error
    except msgspec.DecodeError as error:
        raise InvalidRequest(("--mapping", f"{file} is not JSON: {error}")) from error


def _show(found: Provider, service: Service) -> None:
    if service.json:
        print_json(found)
        return
    print_fields(
        [
            ("id", found["id"]),
            ("kind", found["provider"]),
            ("name", found["name"]),
            ("issuer", found["issuer"]),
            ("enabled", found["enabled"]),
            ("shared secret", found.get("has_secret")),
        ]
    )
    if configuration := found.get("configuration"):
        print_lines("", msgspec.json.format(msgspec.json.encode(configuration)).decode())
