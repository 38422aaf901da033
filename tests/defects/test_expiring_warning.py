"""`expiring` comes a minute or a tenth of the token's life before its end, however late it connected."""

from __future__ import annotations

import types
from typing import Any

import msgspec
import pytest

from tokenmq import clock
from tokenmq.access.identity import Identity
from tokenmq.access.policy import STARTING_POLICY
from tokenmq.access.recording import HistoryRules
from tokenmq.config import BrokerSettings
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Connect, Pingreq, Publish, Subscribe
from tokenmq.mqtt.packets.subscribe import Subscription
from tokenmq.server.hub import Hub
from tokenmq.server.peer import Peer
from tokenmq.tokens.records import OrganizationSettings

NOW = 1_800_000_000


class Transport:
    """Remembers what was written."""

    def __init__(self) -> None:
        self.written = bytearray()

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None: ...


def identity(life: int, remaining: int) -> Identity:
    return Identity(
        org_id="org_aaaaaaaaaaaa",
        user_id="ann",
        username="ann@org_aaaaaaaaaaaa",
        grants=(),
        expires_at=NOW + remaining,
        token_id="tok_1",
        jti="jti",
        gen=0,
        key_id=None,
        client_id=None,
        issued_at=NOW + remaining - life,
    )


@pytest.mark.parametrize(
    ("life", "remaining", "warned_before_the_end"),
    [(3_600, 3_600, 60), (3_600, 100, 60), (3_600, 40, 20), (100, 100, 10), (100, 50, 10), (100, 10, 5)],
)
def test_it_goes_by_the_life_of_the_token(
    monkeypatch: pytest.MonkeyPatch, life: int, remaining: int, warned_before_the_end: int
) -> None:
    times = types.SimpleNamespace(now=float(NOW), mono=1_000.0)
    monkeypatch.setattr(clock, "now", lambda: times.now)
    monkeypatch.setattr(clock, "mono", lambda: times.mono)
    doors: Any = types.SimpleNamespace(
        connect=lambda credentials, now: identity(life, remaining),
        check=lambda who, now: None,
        connected=lambda who, client_id: None,
        settings_of=lambda org_id: OrganizationSettings(),
        policy_of=lambda org_id: STARTING_POLICY,
        history_rules_of=lambda org_id: HistoryRules(),
    )
    hub = Hub(BrokerSettings(), doors, doors, doors, doors)
    link, transport = hub.make_link(Peer("127.0.0.1", 50_000, "tcp", None, trusted=True)), Transport()
    link.opened(transport)  # type: ignore[arg-type]
    for packet in (
        Connect(protocol_version=4, client_id="c", keep_alive=60),
        Subscribe(packet_id=1, subscriptions=(Subscription("$auth/events", qos=0),)),
    ):
        link.received(codec.encode(packet, 4))
    for second in range(1, remaining):
        transport.written.clear()
        times.now, times.mono = NOW + second, 1_000 + second
        hub.tick(times.now, times.mono)
        if transport.written:
            first, start, stop = codec.frame(bytes(transport.written), 0, 1 << 20)  # type: ignore[misc]
            event = codec.decode(first, bytes(transport.written), start, stop, 4, from_client=False)
            assert isinstance(event, Publish)
            told = msgspec.json.decode(event.payload)
            assert (told["event"], told["seconds_left"]) == ("expiring", remaining - second)
            assert remaining - second == warned_before_the_end
            return
        link.received(codec.encode(Pingreq(), 4))
    pytest.fail("no warning came")
