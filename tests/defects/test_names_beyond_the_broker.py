"""No token is made whose client id or topics the broker would refuse: its settings reach the service."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenmq.access.permission import Permission
from tokenmq.app.assembly import opened
from tokenmq.config import BrokerSettings, DataSettings, Settings
from tokenmq.errors import InvalidRequest
from tokenmq.services import bootstrap
from tokenmq.services.tokens import Replacing
from tokenmq.tokens.minting import MintRequest

NOW = 1_800_000_000
BOTH = (Permission.PUBLISH, Permission.SUBSCRIBE)


async def test_each_is_refused_by_name(tmp_path: Path) -> None:
    broker = BrokerSettings(max_client_id_bytes=30, max_topic_bytes=40, max_topic_levels=5)
    async with opened(Settings(data=DataSettings(tmp_path / "data"), broker=broker)) as services:
        demo = await bootstrap.demo(services, None, now=NOW)
        key = services.keys.authenticate(demo.secret_key, NOW)

        async def make(client_id: str, topic: str) -> None:
            await services.tokens.issue(
                MintRequest(user_id="ann", client_id=client_id, permissions=BOTH, topics=(topic,)),
                key=key,
                organization=demo.organization,
                replacing=Replacing(),
                idempotency=None,
                now=NOW,
            )

        await make("c" * 30, "a/b/c/d/" + "e" * 32)
        for client_id, topic, field in (
            ("c" * 31, "a", "client_id"),
            ("c", "t" * 41, "topics[0]"),
            ("c", "a/b/c/d/e/f", "topics[0]"),
        ):
            with pytest.raises(InvalidRequest) as refused:
                await make(client_id, topic)
            assert [name for name, _ in refused.value.problems] == [field]
