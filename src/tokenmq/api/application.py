"""The HTTP surface put together: gate, router, endpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from tokenmq import clock
from tokenmq.access.addresses import CountedAddresses
from tokenmq.api import openapi
from tokenmq.api.call import Endpoint
from tokenmq.api.dispatch import NoPath, Path
from tokenmq.api.gate import Gate
from tokenmq.api.keyless import KeylessFailures
from tokenmq.api.table import ENDPOINTS
from tokenmq.config import HttpSettings
from tokenmq.services.bundle import Services
from tokenmq.services.tarpit import Tarpit


def create_app(
    services: Services,
    settings: HttpSettings,
    *,
    tarpit: Tarpit | None = None,
    addresses: CountedAddresses | None = None,
    now: Callable[[], float] = clock.now,
) -> ASGIApp:
    """Make the ASGI application.

    Args:
        services: the use cases, loaded; whoever made them closes them.
        settings: limits of a request.
        tarpit: counts failed authentications; None: their answers do not wait.
        addresses: who is counted as one; None: no proxy is trusted.
        now: wall time in unix seconds.
    """
    document = msgspec.json.encode(openapi.document(ENDPOINTS))
    by_path: dict[str, list[Endpoint]] = {}
    for endpoint in ENDPOINTS:
        by_path.setdefault(endpoint.path, []).append(endpoint)
    failures = KeylessFailures(addresses or CountedAddresses(()))
    paths = {path: Path(endpoints, services, document, failures, now) for path, endpoints in by_path.items()}
    return Gate(_Paths(paths), settings, tarpit)


class _Paths:
    """Finds the path: a plain one by look-up, one with variable parts by Starlette's router."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._plain: dict[str, ASGIApp] = {path: app for path, app in paths.items() if "{" not in path}
        routes = [Route(path, app, name=path) for path, app in paths.items() if "{" in path]
        # A redirect would lose the body of a POST.
        self._router = Router(routes, redirect_slashes=False, default=NoPath("there is no such path"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        plain = self._plain.get(scope["path"]) if scope["type"] == "http" else None
        if plain is None:
            await self._router(scope, receive, send)
        else:
            scope["path_params"] = {}
            await plain(scope, receive, send)
