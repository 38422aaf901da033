"""The application of the administrator's listener, and what is counted at the gate."""

from __future__ import annotations

from typing import Any

import httpx2

from tokenmq.api.application import create_admin_app, create_app
from tokenmq.api.table import ENDPOINTS
from tokenmq.api.tally import Tally
from tokenmq.config import HttpSettings


def client_of(app: Any) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://testserver")


async def test_metrics_are_written_when_they_are_asked_for(world: Any) -> None:
    written = iter((b"one 1\n", b"two 2\n"))
    app = create_admin_app(world.services, HttpSettings(), lambda: next(written))
    async with client_of(app) as client:
        assert [(await client.get("/metrics?x=1")).text for _ in range(2)] == ["one 1\n", "two 2\n"]
        world.refused(await client.post("/metrics"), 405, "method_not_allowed")
        world.refused(await client.get("/v2/tokens"), 404, "not_found")
        assert (
            (await client.get("/healthz")).json() == (await client.get("/readyz")).json() == {"status": "ok"}
        )


async def test_metrics_that_fail_are_a_500_that_says_nothing(world: Any) -> None:
    app = create_admin_app(world.services, HttpSettings(), lambda: 1 // 0)  # type: ignore[arg-type, return-value]
    async with client_of(app) as client:
        body = world.refused(await client.get("/metrics"), 500, "internal_error")
        assert "zero" not in body["detail"]


async def test_answers_are_counted_by_operation_and_status_whatever_they_are(world: Any) -> None:
    tally = Tally()
    app = create_app(world.services, HttpSettings(), tally=tally, now=lambda: world.now)
    key = {"X-API-Key": world.keys["sk"]}
    async with client_of(app) as client:
        for _ in range(2):
            await client.post("/v2/tokens", headers=key, json={"user_id": "ann", "topics": ["a"]})
        await client.post("/v2/tokens", headers=key, json={})
        await client.post("/v2/tokens", json={"user_id": "ann"})
        await client.get("/v2/tokens/tok_x", headers=key)
        await client.get("/canary")
        await client.put("/v2/tokens")
        await client.options("/v2/tokens")
        await client.get("/healthz", params={"x": "y" * 5_000})
    assert tally.counts == {
        ("createToken", 200): 2,
        ("createToken", 400): 1,
        ("createToken", 401): 1,
        ("showToken", 404): 1,
        ("", 404): 1,
        ("", 405): 1,
        ("", 204): 1,
        ("", 414): 1,
    }
    assert {operation for operation, _ in tally.counts} <= {"", *(one.operation for one in ENDPOINTS)}
