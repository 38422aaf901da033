"""The HTTP surface put together: gate, router, endpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from tokenmq import clock
from tokenmq.access.addresses import CountedAddresses
from tokenmq.api import openapi
from tokenmq.api.admin_table import admin_endpoints
from tokenmq.api.call import Endpoint
from tokenmq.api.dispatch import NoPath, Path
from tokenmq.api.gate import Gate
from tokenmq.api.keyless import KeylessFailures
from tokenmq.api.table import ENDPOINTS
from tokenmq.api.tally import Tally
from tokenmq.config import HttpSettings
from tokenmq.services.bundle import Services
from tokenmq.services.tarpit import Tarpit

# Parts of paths that clients, users and topics are named by; a slash may stand there as it is, or as %2F.
_SLASHED = ("client_id", "username", "topic")


def create_app(
    services: Services,
    settings: HttpSettings,
    *,
    tarpit: Tarpit | None = None,
    tally: Tally | None = None,
    addresses: CountedAddresses | None = None,
    now: Callable[[], float] = clock.now,
) -> ASGIApp:
    """Make the ASGI application.

    Args:
        services: the use cases, loaded; whoever made them closes them.
        settings: limits of a request.
        tarpit: counts failed authentications; None: their answers do not wait.
        tally: counts answers; None: they are not counted.
        addresses: who is counted as one; None: no proxy is trusted.
        now: wall time in unix seconds.
    """
    document = msgspec.json.encode(openapi.document(ENDPOINTS))
    failures = KeylessFailures(addresses or CountedAddresses(()))
    paths = _by_path(ENDPOINTS, services, document, failures, now)
    return Gate(_Paths(paths), settings, tarpit, services.refused_keys, tally)


def create_admin_app(services: Services, settings: HttpSettings, metrics: Callable[[], bytes]) -> ASGIApp:
    """Make the application of the administrator's listener: metrics and health, for whoever reaches it.

    Args:
        services: the use cases.
        settings: limits of a request.
        metrics: writes all metrics, as Prometheus reads them.
    """
    failures = KeylessFailures(CountedAddresses(()))
    paths = _by_path(admin_endpoints(metrics), services, b"", failures, clock.now)
    return Gate(_Paths(paths), settings)


def _by_path(
    endpoints: Iterable[Endpoint],
    services: Services,
    document: bytes,
    failures: KeylessFailures,
    now: Callable[[], float],
) -> dict[str, Path]:
    by_path: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, []).append(endpoint)
    return {path: Path(methods, services, document, failures, now) for path, methods in by_path.items()}


def _with_slashes(path: str) -> str:
    """Let those parts of a path have slashes that name what may have some."""
    for name in _SLASHED:
        path = path.replace(f"{{{name}}}", f"{{{name}:path}}")
    return path


class _Paths:
    """Finds the path: a plain one by look-up, one with variable parts by Starlette's router."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._plain: dict[str, ASGIApp] = {path: app for path, app in paths.items() if "{" not in path}
        routes = [Route(_with_slashes(path), app, name=path) for path, app in paths.items() if "{" in path]
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
