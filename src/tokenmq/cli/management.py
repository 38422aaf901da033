"""How management commands find the service and the key."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from cyclopts import Group, Parameter

from tokenmq.cli.files import AdminFile, admin_path, read
from tokenmq.client.http import ServiceClient
from tokenmq.config import Settings, load
from tokenmq.errors import InvalidKey, InvalidRequest, InvalidSettings, ServiceError

SHARED: Final = Group("Connection and output", sort_key=10)

ConfigPath = Annotated[
    Path | None, Parameter(name="--config", group=SHARED, help="Settings file, instead of ./tokenmq.toml.")
]
Json = Annotated[
    bool, Parameter(name="--json", negative="", group=SHARED, help="Print JSON on stdout, and nothing else.")
]


@Parameter(name="*")
@dataclasses.dataclass(frozen=True, slots=True)
class Service:
    """The service that a command speaks to, and how it answers."""

    url: Annotated[
        str | None,
        Parameter(
            env_var="TOKENMQ_URL",
            group=SHARED,
            help="Address of the token service; from admin.json without it.",
        ),
    ] = None
    key: Annotated[
        str | None,
        Parameter(
            env_var="TOKENMQ_KEY",
            group=SHARED,
            allow_leading_hyphen=True,
            help="Key to use, - reads it from stdin; from admin.json without it. Others see what stands on a "
            "command line, so prefer the variable.",
        ),
    ] = None
    config: ConfigPath = None
    json: Json = False


Org = Annotated[
    str | None,
    Parameter(
        name="--org",
        env_var="TOKENMQ_ORG",
        group=SHARED,
        help="Organization's id; not needed if the key is one organization's, or there is only one.",
    ),
]

LOCAL: Final = Service()


@contextlib.contextmanager
def connected(service: Service) -> Iterator[ServiceClient]:
    """Give a client of the service, with the key that belongs to it.

    Raises: InvalidKey when there is no key; the local administrator's is never sent elsewhere.
    """
    url, key = service.url, read_dash(service.key)
    if url is None or key is None:
        settings = load(service.config)
        admin = read(admin_path(settings.data.folder), AdminFile)
        if key is None:
            key = _local_key(admin, url)
        url = url or (admin.url if admin else address(settings))
    with contextlib.closing(ServiceClient(url, key)) as client:
        yield client


@contextlib.contextmanager
def connected_to_anybody(service: Service) -> Iterator[ServiceClient]:
    """Give a client of the service that shows no key, for calls about a token that is shown."""
    url = service.url
    if url is None:
        settings = load(service.config)
        admin = read(admin_path(settings.data.folder), AdminFile)
        url = admin.url if admin else address(settings)
    with contextlib.closing(ServiceClient(url)) as client:
        yield client


@contextlib.contextmanager
def connected_to(service: Service, org: str | None) -> Iterator[tuple[ServiceClient, str | None]]:
    """Give a client and the organization to name, None where the key implies it."""
    with connected(service) as client:
        yield client, org or _only_organization(client)


def read_dash(text: str | None) -> str | None:
    """Return the text, or the first line of stdin where it is a dash."""
    return sys.stdin.readline().strip() if text == "-" else text


def address(settings: Settings) -> str:
    """Return where the service of these settings can be reached from this machine."""
    if settings.http.enabled:
        return f"http://{reachable(settings.http.host)}:{settings.http.port}"
    return f"https://{reachable(settings.https.host)}:{settings.https.port}"


def broker_address(settings: Settings) -> str:
    """Return where the broker of these settings can be reached from this machine."""
    if settings.mqtt.enabled or settings.tls.certificate is None:
        return f"mqtt://{reachable(settings.mqtt.host)}:{settings.mqtt.port}"
    return f"mqtts://{reachable(settings.mqtts.host)}:{settings.mqtts.port}"


def broker_of(service: Service, url: str) -> str | None:
    """Return the address of the broker beside a service; None where `sub` and `pub` find it by themselves."""
    host = urlsplit(url).hostname or ""
    elsewhere = f"mqtt://[{host}]" if ":" in host else f"mqtt://{host}"
    try:
        settings, here = load(service.config), load()
        admin = read(admin_path(settings.data.folder), AdminFile)
    except InvalidSettings:
        return elsewhere
    if admin is not None and admin.url == url and admin.mqtt_url is not None:
        found = admin.mqtt_url
    elif host in ("127.0.0.1", "localhost", "::1"):
        found = broker_address(settings)
    else:
        return elsewhere
    return None if found == broker_address(here) else found


def reachable(host: str) -> str:
    """Return the host to connect to for a host that is listened on, as a URL writes it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def _local_key(admin: AdminFile | None, url: str | None) -> str:
    if admin is None:
        raise InvalidKey("no key: set TOKENMQ_KEY, or run `tokenmq init` where the service keeps its data")
    if url is not None and url.rstrip("/") != admin.url:
        raise InvalidKey(f"no key for {url}: admin.json is of {admin.url}; set TOKENMQ_KEY")
    return admin.key


def _only_organization(client: ServiceClient) -> str | None:
    """Return the one organization that an administrator's key can mean; None for other keys."""
    if not client.is_administrator:
        return None
    found = list(itertools.islice(client.organizations(), 2))
    if not found:
        raise ServiceError(
            404, "organization_not_found", "there is no organization; make one: tokenmq org create NAME"
        )
    if len(found) > 1:
        raise InvalidRequest(("--org", "there are several organizations; name one"))
    return found[0]["id"]
