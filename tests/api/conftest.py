"""One world for each module: an application over real services, and people with keys."""

from __future__ import annotations

import base64
import functools
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tokenmq.api import create_app
from tokenmq.config import BrokerSettings, HttpSettings
from tokenmq.server.hub import Hub
from tokenmq.services.bootstrap import administrator_key
from tokenmq.services.bundle import Services
from tokenmq.services.key_requests import SCOPES
from tokenmq.stores.sql import SqlStore
from tokenmq.tokens.records import KeyKind
from tokenmq.tokens.secret import create

OpenFolder = Callable[[Path], Awaitable[SqlStore]]

START = datetime.fromisoformat("2026-11-24T12:00:00Z").timestamp()


class World:
    """The application, two organizations, and a key of every kind."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.now = START
        self.app = create_app(services, HttpSettings(), now=lambda: self.now)
        transport = httpx2.ASGITransport(app=self.app)
        self.client = httpx2.AsyncClient(transport=transport, base_url="http://testserver")
        self.keys: dict[str, str] = {}
        self.wrong_keys: dict[str, str] = {}
        self.org_id = self.other_org_id = ""
        self._names = itertools.count()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        body: object = None,
        form: dict[str, str] | None = None,
        raw: bytes | None = None,
        headers: Any = (),
        params: dict[str, str] | None = None,
    ) -> httpx2.Response:
        """Send a request; `body` as JSON, `key` as a bearer."""
        pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
        if key is not None:
            pairs.append(("Authorization", f"Bearer {key}"))
        more: dict[str, Any] = {}
        if body is not None:
            more["json"] = body
        elif form is not None:
            more["data"] = form
        elif raw is not None:
            more["content"] = raw
        return await self.client.request(method, path, headers=pairs, params=params, **more)

    async def token(self, *, key: str | None = None, **body: object) -> dict[str, Any]:
        """Make a token."""
        answer = await self.ask("POST", "/v2/tokens", key=key or self.keys["sk"], body=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def key(self, *, key: str | None = None, **body: object) -> dict[str, Any]:
        """Make a key."""
        answer = await self.ask("POST", "/v2/keys", key=key or self.keys["sk"], body=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def restricted_key(self, *, only: str = "", without: str = "", **rights: list[str]) -> str:
        """Make an `rk_` key with one scope, or with all but one."""
        scopes = [only] if only else sorted(SCOPES - {without})
        rights = rights or {"permissions": ["publish", "subscribe"], "topics": ["#", "$spaces/#"]}
        return (await self.key(kind="rk", name=f"rk {next(self._names)}", scopes=scopes, **rights))["key"]

    def set_time(self, text: str) -> None:
        """Set the wall clock of the application."""
        self.now = datetime.fromisoformat(text).timestamp()

    @staticmethod
    def refused(answer: httpx2.Response, status: int, code: str | None = None) -> dict[str, Any]:
        """Check that this is an error in the one shape; return its body."""
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        body = answer.json()
        assert set(body) - {"errors"} == {
            "type",
            "title",
            "status",
            "detail",
            "error",
            "error_description",
            "message",
        }
        assert body["status"] == status
        assert isinstance(body["detail"], str)
        assert body["detail"] == body["error_description"] == body["message"]
        assert ("errors" in body) == (body["error"] == "invalid_request" and status == 400)
        assert code is None or body["error"] == code
        assert (status == 401) == (answer.headers.get("www-authenticate") == "Bearer")
        return body

    @staticmethod
    def header(token: str) -> dict[str, Any]:
        """Read the header of a token, unverified."""
        return _part(token, 0)

    @staticmethod
    def claims(token: str) -> dict[str, Any]:
        """Read the claims of a token, unverified."""
        return _part(token, 1)


def _part(token: str, index: int) -> dict[str, Any]:
    text = token.split(".")[index]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


@asynccontextmanager
async def a_world(open_folder: OpenFolder, folder: Path) -> AsyncIterator[World]:
    """Open a world on an empty folder."""
    store = await open_folder(folder)
    # Signing keys are in force from the beginning of time: tests set the clock as they like.
    services = await Services.assemble(store, issuer="tokenmq", algorithm="ES256", signing_secret=None, now=0)
    try:
        broker = (services.authenticator, services.families, services.organizations, store.kept)
        services.attach(Hub(BrokerSettings(), *broker))
        world = World(services)
        async with world.client:
            await populate(world)
            yield world
    finally:
        await services.close()


async def populate(world: World) -> None:
    """Make what the tests use."""
    world.keys["ik"] = await administrator_key(world.services, None, now=START)
    for name, prefix in (("first", ""), ("second", "other ")):
        made = await world.ask("POST", "/v2/organizations", key=world.keys["ik"], body={"name": name})
        org_id = made.json()["id"]
        for kind in ("sk", "rk", "pk"):
            scopes = {"scopes": ["presence:read"]} if kind == "rk" else {}
            key = await world.key(
                key=world.keys["ik"], kind=kind, name=kind, organization_id=org_id, expires_at=None, **scopes
            )
            world.keys[prefix + kind] = key["key"]
        if prefix:
            world.other_org_id = org_id
        else:
            world.org_id = org_id
    good = world.keys["sk"]
    deleted = await world.key(kind="sk", name="deleted")
    await world.ask("DELETE", f"/v2/keys/{deleted['id']}", key=good)
    world.now = START - 1_000
    expired = await world.key(kind="sk", name="expired", expires_at="2026-11-24T12:00:00Z")
    world.now = START
    world.wrong_keys = {
        "mistyped": good[:-1] + ("a" if good[-1] != "a" else "b"),
        "unknown": create(KeyKind.SECRET, entropy=bytes(40)).text,
        "expired": expired["key"],
        "deleted": deleted["key"],
        "malformed": "sk_x",
        "endless": "sk_" + "A" * 10_000,
    }


@pytest.fixture(scope="session")
def open_world(open_folder: OpenFolder) -> Callable[[Path], AbstractAsyncContextManager[World]]:
    """Return what opens a world on an empty folder."""
    return functools.partial(a_world, open_folder)


@pytest.fixture(scope="module")
async def module_world(
    open_folder: OpenFolder, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    async with a_world(open_folder, tmp_path_factory.mktemp("data")) as world:
        yield world


@pytest.fixture
def world(module_world: World) -> World:
    """Return the module's world, at its first moment."""
    module_world.now = START
    return module_world
