"""`tokenmq acl`: the policy of an organization, who may do what."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from cyclopts import App, Parameter

from tokenmq.access.checking import Severity, check
from tokenmq.access.importing import import_policy
from tokenmq.cli.credentials import token_text
from tokenmq.cli.exits import FAILED, OK
from tokenmq.cli.management import LOCAL, Json, Org, Service, connected_to
from tokenmq.cli.output import print_fields, print_json, print_lines, printable, warn
from tokenmq.client.answers import SimulationRequest
from tokenmq.errors import InvalidRequest
from tokenmq.tokens.settings import OrganizationSettings

app = App(name="acl", help="Show, check and change the policy: who may do what, whatever tokens say.")

PRESETS: Final = files("tokenmq.access") / "presets"
_DOCUMENT: Final = ("version", "default", "rules")
_NAMES: Final = {
    "open": "everybody may use every topic: what an organization starts with",
    "notifications": "servers publish, each user listens to its own and to those for all",
    "chat": "rooms with presence and history, direct messages, announcements by moderators",
    "agents": "agents take work and give results, an orchestrator sees all of it",
    "blank": "nobody may do anything",
}
Document = Annotated[Path, Parameter(allow_leading_hyphen=True)]
Preset = Literal["open", "notifications", "chat", "agents", "blank"]
Action = Literal["publish", "subscribe", "presence", "history"]


@app.command
def get(*, org: Org = None, service: Service = LOCAL) -> None:
    """Show the policy in force, as a document that `acl put` takes.

    Args:
        org: The organization.
        service: The service and the output; --json has revision and warnings too.
    """
    with connected_to(service, org) as (client, organization_id):
        policy = client.policy(organization_id=organization_id)
    if service.json:
        print_json(policy)
        return
    _print_document(policy)
    _warn_of(policy.get("findings", []))


@app.command
def validate(
    file: Document,
    *,
    local: Annotated[bool, Parameter(negative="")] = False,
    org: Org = None,
    service: Service = LOCAL,
) -> int:
    """Say what is wrong with a policy; exit code 1 if it is none.

    Args:
        file: The document; - is stdin.
        local: Ask no service; the organization's `$` trees are taken for the ones by default.
        org: The organization.
        service: The service and the output.
    """
    document = _read(file)
    if local:
        found = check(document, dollar_trees=OrganizationSettings().dollar_trees).findings
        findings: list[Any] = [msgspec.to_builtins(finding) for finding in found]
    else:
        with connected_to(service, org) as (client, organization_id):
            findings = list(client.validate_policy(document, organization_id=organization_id)["findings"])
    valid = not any(finding["severity"] == Severity.ERROR for finding in findings)
    if service.json:
        print_json({"valid": valid, "findings": findings})
    else:
        print_lines(*map(_line, findings), "the policy is good" if valid else "this is no policy")
    return OK if valid else FAILED


@app.command
def put(file: Document, *, revision: str | None = None, org: Org = None, service: Service = LOCAL) -> None:
    """Put a policy in force, for connections that are open, too.

    Args:
        file: The document; - is stdin.
        revision: Replace only the policy of this revision, as `acl get --json` shows it.
        org: The organization.
        service: The service and the output.
    """
    document = _read(file)
    with connected_to(service, org) as (client, organization_id):
        policy = client.put_policy(document, revision=revision, organization_id=organization_id)
    if service.json:
        print_json(policy)
        return
    print_fields([("in force", f"{len(policy['rules'])} rules"), ("revision", policy.get("revision"))])
    _warn_of(policy.get("findings", []))


@app.command
def simulate(
    action: Action,
    topic: str,
    *,
    user: str | None = None,
    token: Annotated[str | None, Parameter(allow_leading_hyphen=True, env_var="TOKENMQ_TOKEN")] = None,
    token_file: Path | None = None,
    client_id: str | None = None,
    claim: Annotated[list[str] | None, Parameter(negative="", consume_multiple=False)] = None,
    org: Org = None,
    service: Service = LOCAL,
) -> int:
    """Ask whether a user or a token may do something, and why; exit code 1 if not.

    Args:
        action: What would be done.
        topic: The topic; to subscribe, watch or read back also a topic filter.
        user: The user's id: the policy alone is asked.
        token: A token, - reads it from stdin: its grants are asked, too.
        token_file: A file with a token.
        client_id: The client id of the connection.
        claim: Of the user, as role=admin, a value that is JSON as such; may be given several times.
        org: The organization.
        service: The service and the output.
    """
    request = SimulationRequest(action=action, topic=topic)
    if user is not None:
        request["user_id"] = user
    elif token is not None or token_file is not None:
        request["token"] = token_text(token, token_file)
    else:
        raise InvalidRequest(("--user, --token", "one of them is needed"))
    if client_id is not None:
        request["client_id"] = client_id
    if claim:
        request["claims"] = dict(map(_claim, claim))
    with connected_to(service, org) as (client, organization_id):
        if organization_id:
            request["organization_id"] = organization_id
        told = client.simulate(**request)
    if service.json:
        print_json(told)
    else:
        word = "allowed" if told["allowed"] else "denied"
        print_fields([(word, told["explanation"]), ("decided by", told["decided_by"])])
    return OK if told["allowed"] else FAILED


@app.command
def presets(name: Preset | None = None, *, json: Json = False) -> None:
    """List the ready-made documents, or show one of them.

    Args:
        name: One of them, as a document that `acl put` takes.
        json: The output.
    """
    if name is not None:
        text = (PRESETS / f"{name}.json").read_text(encoding="utf-8")
        if json:
            print_json(msgspec.json.decode(text))
        else:
            print_lines(text.rstrip())
    elif json:
        print_json(_NAMES)
    else:
        print_fields(_NAMES.items())


@app.command(name="import")
def import_(
    file: Document, *, sql_patterns: Annotated[bool, Parameter(negative="")] = False, json: Json = False
) -> None:
    """Make a policy of a CloudSignal document, and report what could not be carried over.

    Nothing is put in force: `tokenmq acl import old.json | tokenmq acl put -` does that.

    Args:
        file: The document, in either published form; - is stdin.
        sql_patterns: There % in a user is any characters, and %u in a topic the user.
        json: The output: document and report in one.
    """
    imported = import_policy(_read(file), sql_patterns=sql_patterns)
    document: dict[str, Any] = msgspec.to_builtins(imported.document)
    if json:
        print_json({"policy": document, "report": imported.report})
        return
    _print_document(document)
    _warn_of(msgspec.to_builtins(imported.report))


def _read(file: Path) -> dict[str, Any]:
    content = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8", errors="replace")
    try:
        document = msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        raise InvalidRequest((str(file), f"is not JSON: {error}")) from error
    if not isinstance(document, dict):
        raise InvalidRequest((str(file), "holds no JSON object"))
    return document


def _claim(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InvalidRequest(("--claim", f"wanted name=value, got {text!r}"))
    try:
        return name, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return name, value


def _print_document(policy: Mapping[str, Any]) -> None:
    document = {name: policy[name] for name in _DOCUMENT}
    print_lines(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def _warn_of(findings: Iterable[Any]) -> None:
    for finding in findings:
        warn(_line(finding))


def _line(finding: Mapping[str, Any]) -> str:
    place = f" {finding['path']}" if finding["path"] else ""
    return printable(f"{finding['severity']}{place}: {finding['message']}")
