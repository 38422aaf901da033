"""The endpoints of the administrator's listener; none of them is on the others but for health."""

from __future__ import annotations

from collections.abc import Callable

from tokenmq.api.answer import Answer
from tokenmq.api.call import Access, Call, Endpoint
from tokenmq.api.routes import operations
from tokenmq.api.schemas import answers, requests

# The text format of Prometheus, as every scraper reads it.
METRICS = b"text/plain; version=0.0.4; charset=utf-8"


HEALTH_ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET",
        "/healthz",
        "healthz",
        "Tell that the process answers",
        operations.healthz,
        Access.EVERYBODY,
        answers.Health,
        requests.AnyQuery,
    ),
    Endpoint(
        "GET",
        "/readyz",
        "readyz",
        "Tell that a token could be made now",
        operations.readyz,
        Access.EVERYBODY,
        answers.Health,
        requests.AnyQuery,
    ),
)


def admin_endpoints(metrics: Callable[[], bytes]) -> tuple[Endpoint, ...]:
    """Return the endpoints; `metrics` writes all metrics."""

    async def show(_call: Call[None, requests.AnyQuery]) -> Answer:
        return Answer(metrics(), media_type=METRICS)

    return (
        Endpoint(
            "GET",
            "/metrics",
            "metrics",
            "Metrics for Prometheus",
            show,
            Access.EVERYBODY,
            str,
            requests.AnyQuery,
            media_type=METRICS,
        ),
        *HEALTH_ENDPOINTS,
    )
