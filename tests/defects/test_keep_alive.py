"""A keep alive that ends before the deadline of CONNECT would have ended is held to its own end."""

from __future__ import annotations

import types
from typing import Any

import pytest

from tokenmq import clock
from tokenmq.access.identity import Identity
from tokenmq.access.policy import STARTING_POLICY
from tokenmq.config import BrokerSettings
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Connect
from tokenmq.server.hub import Hub
from tokenmq.server.peer import Peer
from tokenmq.tokens.records import OrganizationSettings

IDENTITY = Identity(
    org_id="org_aaaaaaaaaaaa",
    user_id="ann",
    username="ann@org_aaaaaaaaaaaa",
    grants=(),
    expires_at=None,
    token_id="tok_1",
    jti="jti",
    gen=0,
    key_id=None,
    client_id=None,
)


class Transport:
    """Remembers whether it was closed."""

    closed = False

    def write(self, data: bytes) -> None: ...

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("keep_alive", "after_opening", "ends_within"), [(5, 0.0, 9.0), (6, 0.5, 11.0), (60, 0.0, 91.5)]
)
def test_it_ends_at_one_and_a_half_times_from_the_last_packet(
    monkeypatch: pytest.MonkeyPatch, keep_alive: int, after_opening: float, ends_within: float
) -> None:
    times = types.SimpleNamespace(now=1_800_000_000.0, mono=1_000.0)
    monkeypatch.setattr(clock, "now", lambda: times.now)
    monkeypatch.setattr(clock, "mono", lambda: times.mono)
    doors: Any = types.SimpleNamespace(
        connect=lambda credentials, now: IDENTITY,
        check=lambda identity, now: None,
        connected=lambda identity, client_id: None,
        settings_of=lambda org_id: OrganizationSettings(),
        policy_of=lambda org_id: STARTING_POLICY,
    )
    hub = Hub(BrokerSettings(), doors, doors, doors, doors)
    link = hub.make_link(Peer("127.0.0.1", 50_000, "tcp", None, trusted=True))
    transport = Transport()
    link.opened(transport)  # type: ignore[arg-type]
    times.mono += after_opening
    link.received(codec.encode(Connect(protocol_version=4, client_id="c", keep_alive=keep_alive), 4))
    begun = times.mono
    while not transport.closed:
        times.mono += 0.25
        hub.tick(times.now, times.mono)
        assert transport.closed <= (times.mono - begun >= 1.5 * keep_alive)
        assert times.mono - begun <= ends_within
