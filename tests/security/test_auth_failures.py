"""Failed authentications are answered more slowly, and nobody else is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tokenmq.access.addresses import CountedAddresses
from tokenmq.api import gate
from tokenmq.api.gate import Gate
from tokenmq.config import AuthSettings, HttpSettings
from tokenmq.errors import ExpiredToken, InvalidKey, NotFound
from tokenmq.server.hub import Hub
from tokenmq.server.peer import Peer
from tokenmq.services.tarpit import Tarpit

SETTINGS = AuthSettings(failure_burst=2)


@pytest.fixture
async def slow(instance: Any) -> Any:
    """An instance whose hub slows failures down."""
    services = instance.services
    instance.hub = Hub(
        instance.settings,
        services.authenticator,
        services.families,
        services.organizations,
        services.store.kept,
        tarpit=Tarpit(SETTINGS, CountedAddresses(())),
    )
    services.attach(instance.hub)
    return instance


async def fail(instance: Any, count: int, version: int = 5) -> list[Any]:
    """Return clients that have shown a wrong token each."""
    token = await instance.issue("mallory")
    clients = [instance.client(version) for _ in range(count)]
    for client in clients:
        client.answer = client.connect(token.username, token.text.encode()[:-4] + b"AAAA")
    return clients


@pytest.mark.parametrize("version", [4, 5])
async def test_ruling12_the_third_failure_waits_for_its_answer(slow: Any, version: int) -> None:
    first, second, third = await fail(slow, 3, version)
    assert [client.answer.reason_code for client in (first, second)] == [0x87, 0x87]
    assert first.closed and second.closed
    assert third.answer is None and not third.closed and not third.transport.reading
    slow.clock.advance(0.2)
    slow.tick()
    assert third.received() == []
    slow.clock.advance(0.1)
    slow.tick()
    (answer,) = third.received()
    assert answer.reason_code == 0x87 and third.closed


async def test_ruling12_a_good_token_is_let_in_at_once_among_failures(slow: Any) -> None:
    await fail(slow, 50)
    client = await slow.joined("ann")
    assert client.subscribe("chat/#") == [0]


async def test_q12_what_comes_after_a_refusal_that_waits_is_not_looked_at(slow: Any) -> None:
    await fail(slow, 2)
    (client,) = await fail(slow, 1)
    good = await slow.issue("ann")
    client.link.received(b"\xc0\x00")
    assert client.connect(good.username, good.text.encode()) is None
    slow.clock.advance(5)
    slow.tick()
    answers = client.received()
    assert [answer.reason_code for answer in answers] == [0x87]


async def test_ruling12_who_leaves_while_its_refusal_waits_is_forgotten(slow: Any) -> None:
    *_, client = await fail(slow, 3)
    client.link.lost()
    slow.clock.advance(5)
    slow.tick()
    assert client.received() == [] and client.link.outbox.owner is None


async def test_ruling12_the_time_to_connect_does_not_end_a_wait(slow: Any) -> None:
    """Nor is the connection answered twice."""
    clients = await fail(slow, 9)
    slow.clock.advance(slow.settings.connect_timeout_seconds + 1)
    slow.tick()
    assert [len(client.received()) for client in clients[2:]] == [1] * 7
    assert all(client.closed for client in clients)


async def test_ruling12_a_key_is_not_guessed_from_many_addresses(slow: Any) -> None:
    """Every guess comes from an address of its own, over a link that nobody can read along."""
    wrong = await slow.make_key()
    shape, username = wrong.text, f"server@{slow.organization.id}"
    await slow.services.keys.delete(
        wrong.record.id, key=slow.key, org_id=slow.organization.id, revoke_tokens=False, now=slow.clock.now
    )
    answers = []
    for number in range(4):
        client = slow.client()
        client.link.peer = Peer(f"198.51.100.{number}", 1, "tcp", None, trusted=True)
        answers.append(client.connect(username, shape.encode()))
    assert [answer and answer.reason_code for answer in answers] == [0x86, 0x86, None, None]
    right = slow.client()
    assert right.connect(username, slow.key_text.encode()).reason_code == 0


async def test_ruling12_a_shutdown_answers_whoever_waits(slow: Any) -> None:
    *_, client = await fail(slow, 3)
    slow.hub.shut_down()
    assert client.closed and len(client.received()) == 1


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the gate would have waited; it lets others have their turn, no more."""
    waited: list[float] = []
    turn = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        await turn(0)
        await turn(0)

    monkeypatch.setattr(gate.asyncio, "sleep", sleep)
    return waited


async def ask(gate: Gate, address: str | None) -> int:
    """Return the status of a request's answer."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    client = None if address is None else (address, 1)
    scope = {"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b""}
    await gate({**scope, "scheme": "http", "headers": [], "client": client}, None, send)  # type: ignore[arg-type]
    return int(sent[0]["status"])


def raising(error: Exception) -> Any:
    async def route(*_: Any) -> None:
        raise error

    return route


async def test_ruling12_failed_requests_of_one_address_wait_for_their_401(waits: list[float]) -> None:
    tarpit = Tarpit(SETTINGS, CountedAddresses(()))
    failing = Gate(raising(InvalidKey("no")), HttpSettings(), tarpit)
    assert [await ask(failing, "192.0.2.1") for _ in range(4)] == [401] * 4
    assert waits == [0.25, 0.5]
    assert [await ask(failing, address) for address in ("192.0.2.2", "127.0.0.1", None)] == [401] * 3
    assert waits == [0.25, 0.5]
    for error, status in ((NotFound("no"), 404), (ExpiredToken("no", 1), 401)):
        elsewhere = Gate(raising(error), HttpSettings(), tarpit)
        assert [await ask(elsewhere, "192.0.2.1") for _ in range(4)] == [status] * 4
    assert waits == [0.25, 0.5]


async def test_ruling12_a_wait_is_not_cut_short_by_the_time_of_the_request(waits: list[float]) -> None:
    """With no time at all for a request the answer is 401 still, not "took too long"."""
    tarpit = Tarpit(AuthSettings(failure_burst=1), CountedAddresses(()))
    failing = Gate(raising(InvalidKey("no")), HttpSettings(request_timeout_seconds=0), tarpit)
    assert [await ask(failing, "192.0.2.1") for _ in range(2)] == [401] * 2
    assert waits == [0.25]
