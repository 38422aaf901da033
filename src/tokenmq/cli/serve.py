"""`tokenmq serve`: run the token service and the broker."""

from __future__ import annotations

import dataclasses
import json as json_module
import shlex
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from cyclopts import Parameter

from tokenmq.cli import setup
from tokenmq.cli.files import AdminFile, DemoFile, admin_path, read, write
from tokenmq.cli.management import ConfigPath, Json, reachable
from tokenmq.cli.output import print_json, print_lines, warn
from tokenmq.cli.pasting import command, program
from tokenmq.config import Settings, load

if TYPE_CHECKING:
    from tokenmq.app import Ready


# What is listened on, and how a person calls it, in the order of telling.
_LISTENERS = {
    "http": "Token service",
    "https": "Token service",
    "mqtt": "MQTT",
    "mqtts": "MQTT",
    "websocket": "MQTT, browsers",
    "wss": "MQTT, browsers",
    "admin": "Metrics, health",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything can be reached from this machine.

    Attributes:
        urls: by the name of the listener.
    """

    urls: dict[str, str]

    @classmethod
    def of(cls, ready: Ready) -> Addresses:
        """Put an address that can be connected to where all addresses are listened on."""
        return cls({name: _connectable(url) for name, url in ready.urls.items()})

    @property
    def http(self) -> str:
        """The token service, in the open where that is listened on."""
        return self.urls.get("http") or self.urls["https"]

    @property
    def mqtt(self) -> str | None:
        """The broker, over TCP if it listens there."""
        return next(
            (self.urls[name] for name in ("mqtt", "mqtts", "websocket", "wss") if name in self.urls), None
        )


def serve(
    *, demo: Annotated[bool, Parameter(negative="")] = False, config: ConfigPath = None, json: Json = False
) -> int:
    """Run the token service and the broker until Ctrl-C.

    Args:
        demo: Make an organization to play with on the first start, and print what to try.
        config: The settings file.
        json: The output; one line, when everything listens.
    """
    settings = load(config)
    shown = setup.prepare(settings, demo=True).demo if demo else None
    # Read before anything listens: it may be refused.
    admin = read(admin_path(settings.data.folder), AdminFile)

    def on_ready(ready: Ready) -> None:
        here = Addresses.of(ready)
        _remember(settings, admin, here)
        if json:
            print_json(_machine(here, shown))
        else:
            print_lines(*_lines(here, shown, settings))

    return setup.serve(settings, on_ready)


def _connectable(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{reachable(parts.hostname or '')}:{parts.port}").geturl()


def _remember(settings: Settings, admin: AdminFile | None, here: Addresses) -> None:
    """Keep the addresses in admin.json true, wherever this start listens."""
    path = admin_path(settings.data.folder)
    if admin is None:
        warn(f"management commands have no key, for {path} is missing: end this and run `{program()} init`")
        return
    told = AdminFile(url=here.http, key=admin.key, mqtt_url=here.mqtt)
    if told != admin:
        write(path, told)


def _machine(here: Addresses, demo: DemoFile | None) -> dict[str, object]:
    told: dict[str, object] = {f"{name}_url": here.urls[name] for name in _LISTENERS if name in here.urls}
    if demo:
        told |= {"organization_id": demo.organization_id, "secret_key": demo.secret_key}
    return told


def _lines(here: Addresses, demo: DemoFile | None, settings: Settings) -> list[str]:
    lines = [
        "",
        *(f"{label:<16}{here.urls[name]}" for name, label in _LISTENERS.items() if name in here.urls),
    ]
    if demo is None:
        return lines
    return [
        *lines,
        f"Organization    {demo.organization_id}  ({demo.organization_name})",
        f"Secret key      {demo.secret_key}",
        "",
        *_tour(here, demo, settings),
        "",
        "Ctrl-C ends this. A second start keeps everything.",
        "",
    ]


def _tour(here: Addresses, demo: DemoFile, settings: Settings) -> list[str]:
    """Return the commands of the first five minutes; each is one line and runs as it stands.

    The token goes through a file in the data folder, so that each terminal finds it.
    """
    saved = str(settings.data.folder / "alice.json")
    asked = json_module.dumps(
        {
            "organization_id": demo.organization_id,
            "user_id": "alice",
            "permissions": ["publish", "subscribe"],
            "topics": ["chat/#"],
        }
    )
    curl = shlex.join(
        [
            *("curl", "-s", f"{here.http}/v2/tokens"),
            *("-H", f"Authorization: Bearer {demo.secret_key}"),
            *("-H", "Content-Type: application/json", "-d", asked),
        ]
    )
    create = command(
        *("token", "create", "--url", here.http, "--org", demo.organization_id, "--user", "alice"),
        *("--permission", "publish", "--permission", "subscribe", "--topic", "chat/#", "--out", saved),
    )
    held = (*(("--url", here.mqtt) if here.mqtt else ()), "--token-file", saved)
    return [
        "In a second terminal, in this folder, make a token for alice, good for an hour. Either",
        "",
        f"{curl} | tee {shlex.quote(saved)}",
        "",
        "or the same without curl:",
        "",
        f"TOKENMQ_KEY={demo.secret_key} {create}",
        "",
        "Listen with it:",
        "",
        command("sub", "chat/#", *held),
        "",
        "And in a third terminal, publish with it:",
        "",
        command("pub", "chat/room1", "hello", *held),
    ]
