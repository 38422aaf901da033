"""`tokenmq history`: what is recorded, read and erased."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter

from tokenmq.cli.management import LOCAL, Org, Service, connected_to
from tokenmq.cli.output import print_fields, print_json, print_table
from tokenmq.client.answers import HistoryMessage, HistoryRules
from tokenmq.errors import InvalidRequest

app = App(name="history", help="Say what is recorded; read and erase what was.")

# Characters of a payload in a table; --json has all of it.
_SHOWN = 60


@app.command
def rules(
    file: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    *,
    topic: str | None = None,
    max_age: int | None = None,
    max_messages: int | None = None,
    durable: Annotated[bool, Parameter(negative="")] = False,
    remove: str | None = None,
    org: Org = None,
    service: Service = LOCAL,
) -> None:
    """Show what is recorded, or change it: the first rule that matches a topic holds.

    Without arguments the rules are shown, with --json as a document that FILE may hold.
    What no rule holds of any more is dropped.

    Args:
        file: Put the rules of this file in place of those that there are; - is stdin.
        topic: Put the rule of this topic filter, in its place or as the last one.
        max_age: Of that rule: seconds for which a message can be read.
        max_messages: Of that rule: how many messages of each topic, at most.
        durable: Of that rule: acknowledge a message when it is recorded.
        remove: Take the rule of this topic filter out.
        org: The organization.
        service: The service and the output.
    """
    if sum(given is not None for given in (file, topic, remove)) > 1:
        raise InvalidRequest(("FILE, --topic, --remove", "only one of them can be given"))
    if (topic is None) is not (max_age is None) or (topic is None) is not (max_messages is None):
        raise InvalidRequest(("--topic, --max-age, --max-messages", "all of them or none"))
    wanted = None if file is None else _read(file)
    with connected_to(service, org) as (client, organization_id):
        found = client.history_rules(organization_id=organization_id) if wanted is None else None
        if topic is not None:
            rule = {"topic": topic, "max_age": max_age, "max_messages": max_messages, "durable": durable}
            wanted = _with(_rules(found), rule)
        elif remove is not None:
            wanted = _without(_rules(found), remove)
        if wanted is not None:
            found = client.put_history_rules(wanted, organization_id=organization_id)
    if service.json:
        print_json(found)
        return
    print_table(
        ("topic", "max age", "max messages", "durable"),
        [(one["topic"], one["max_age"], one["max_messages"], one.get("durable")) for one in _rules(found)],
    )


@app.command(name="list")
def list_(
    topic: str,
    *,
    since: str | None = None,
    until: str | None = None,
    after: int | None = None,
    oldest_first: Annotated[bool, Parameter(negative="")] = False,
    limit: int = 50,
    org: Org = None,
    service: Service = LOCAL,
) -> None:
    """List recorded messages, the newest first.

    Args:
        topic: Only those on topics that this filter matches; # matches none that begins with $.
        since: Only from this time on, RFC 3339 or unix seconds.
        until: Only up to this time, RFC 3339 or unix seconds.
        after: Only those with ids greater than this.
        oldest_first: List the oldest first.
        limit: At most so many messages; 0 for all.
        org: The organization.
        service: The service and the output.
    """
    order = "asc" if oldest_first else None
    with connected_to(service, org) as (client, organization_id):
        messages = client.history(
            topic, since=since, until=until, after=after, order=order, organization_id=organization_id
        )
        found = list(itertools.islice(messages, limit or None))
    if service.json:
        print_json(found)
        return
    print_table(
        ("id", "at", "topic", "user", "payload"),
        [(one["id"], one["at"], one["topic"], one["user_id"], _payload(one)) for one in found],
    )


@app.command
def erase(
    topic: str | None = None, *, user: str | None = None, org: Org = None, service: Service = LOCAL
) -> None:
    """Erase what was recorded of topics, or of a user; it is gone for good.

    Args:
        topic: What is on topics that this filter matches.
        user: What the user of this id has published, whatever the topic.
        org: The organization.
        service: The service and the output.
    """
    if (topic is None) is (user is None):
        raise InvalidRequest(("TOPIC, --user", "exactly one of them is needed"))
    with connected_to(service, org) as (client, organization_id):
        erased = client.erase_history(topic_filter=topic, user_id=user, organization_id=organization_id)
    if service.json:
        print_json(erased)
    else:
        print_fields([("erased", f"{erased['erased']} messages")])


def _read(file: Path) -> list[dict[str, Any]]:
    content = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8", errors="replace")
    try:
        document = msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        raise InvalidRequest((str(file), f"is not JSON: {error}")) from error
    found = document.get("rules") if isinstance(document, dict) else document
    if not isinstance(found, list) or not all(isinstance(rule, dict) for rule in found):
        raise InvalidRequest((str(file), 'holds no rules: wanted {"rules": [{"topic": …}, …]}'))
    return found


def _rules(found: HistoryRules | None) -> list[dict[str, Any]]:
    return [dict(rule) for rule in found["rules"]] if found else []


def _with(there: Iterable[dict[str, Any]], rule: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return rules with one in place of that of its topic filter, or at the end."""
    changed = [dict(rule) if one["topic"] == rule["topic"] else one for one in there]
    return changed if dict(rule) in changed else [*changed, dict(rule)]


def _without(there: Iterable[dict[str, Any]], topic: str) -> list[dict[str, Any]]:
    left = list(there)
    changed = [one for one in left if one["topic"] != topic]
    if len(changed) == len(left):
        raise InvalidRequest(("--remove", f"there is no rule of {topic}"))
    return changed


def _payload(message: HistoryMessage) -> str:
    text = message.get("payload")
    if text is None:
        return f"base64 {message.get('payload_base64', '')}"[:_SHOWN]
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
