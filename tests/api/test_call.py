"""A call that was described wrongly refuses; it does not go on without a key."""

from __future__ import annotations

from typing import Any

import pytest

from tokenmq.api.application import create_app
from tokenmq.api.call import Call
from tokenmq.config import HttpSettings
from tokenmq.errors import InvalidKey


@pytest.fixture
def call() -> Call[None, None]:
    return Call(
        services=None,  # type: ignore[arg-type]
        document=b"",
        path="/",
        params={},
        body=None,
        tree={},
        query=None,
        key=None,
        organization=None,
        idempotency_key=None,
        origin=None,
        now=0.0,
    )


def test_no_caller_is_a_refusal(call: Call[None, None]) -> None:
    with pytest.raises(InvalidKey):
        call.caller()


def test_no_organization_is_a_refusal(call: Call[None, None]) -> None:
    with pytest.raises(InvalidKey):
        call.about()


async def test_websockets_are_closed(world: Any) -> None:
    sent = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, str]) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/mqtt", "headers": []}
    await create_app(world.services, HttpSettings())(scope, receive, send)
    assert sent == [{"type": "websocket.close"}]
