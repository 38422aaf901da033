"""Families on live connections: refreshed without a packet, come back with the first password, stolen."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from structlog.testing import capture_logs

from tokenmq.errors import InvalidToken
from tokenmq.mqtt.packets import Connect, Disconnect, Pingreq

BOTH_VERSIONS = pytest.mark.parametrize("version", [4, 5])
# By version, as it is read: 5 of 3.1.1 reads as 0x87, its 3 as 0x88.
STOP = {4: 0x87, 5: 0x87}
TRY_AGAIN = {4: 0x88, 5: 0x89}


async def refresh(instance: Any, token: Any) -> Any:
    return await instance.services.renewals.refresh(
        token.family.token_id, token.text, origin=None, now=instance.clock.now
    )


async def exchange(instance: Any, token: Any) -> Any:
    return await instance.services.exchange.exchange(
        token.text, key=None, organization=instance.organization, origin=None, now=instance.clock.now
    )


def cut(client: Any) -> None:
    """End a network connection without a word."""
    client.link.lost()


def code_of(instance: Any, token: Any, client_id: str = "c1", version: int = 5) -> int:
    client, connack = instance.enter(token, client_id, version)
    if connack.reason_code == 0:
        cut(client)
    return int(connack.reason_code)


def pinging(instance: Any, client: Any, seconds: float) -> None:
    """Let time pass for a client that keeps its connection alive."""
    while seconds > 0:
        step = min(seconds, 30)
        instance.clock.advance(step)
        client.send(Pingreq())
        instance.tick()
        seconds -= step


@BOTH_VERSIONS
async def test_connection_outlives_its_first_token_with_no_packet_from_its_client(
    instance: Any, version: int
) -> None:
    first = await instance.issue(ttl_seconds=60)
    client, _ = instance.enter(first, version=version)
    client.subscribe("chat/#")
    instance.clock.advance(54)
    second = await refresh(instance, first)
    sender = await instance.joined("bob")
    for _ in range(2):
        pinging(instance, client, 25)
        sender.publish("chat/a")
        assert client.topics() == ["chat/a"]
    assert instance.clock.now > first.family.expires_at
    instance.clock.advance(second.family.expires_at - instance.clock.now)
    instance.tick()
    assert client.closed
    assert [one.reason_code for one in client.received() if isinstance(one, Disconnect)] == (
        [0xA0] if version == 5 else []
    )


@BOTH_VERSIONS
async def test_official_client_lives_through_five_lives_on_its_first_password(
    instance: Any, version: int
) -> None:
    """It refreshes over HTTP at the recommended moment, and reconnects with its first password for ever."""
    newest = first = await instance.issue(ttl_seconds=600)
    client, connack = instance.enter(first, "cs_12345678", version, clean_start=False)
    for _ in range(5):
        assert connack.reason_code == 0
        pinging(instance, client, newest.refresh_recommended_at - instance.clock.now)
        newest = await refresh(instance, newest)
        pinging(instance, client, 100)
        assert not client.closed
        cut(client)
        instance.clock.advance(5)
        client, connack = instance.enter(first, "cs_12345678", version, clean_start=False)
    assert connack.reason_code == 0
    assert client.session.identity.expires_at == newest.family.expires_at
    assert newest.family.gen == 5 and instance.clock.now > first.family.expires_at + 4 * 500


@BOTH_VERSIONS
async def test_stolen_old_password_with_another_client_id_is_refused(instance: Any, version: int) -> None:
    first = await instance.issue(ttl_seconds=600)
    client, _ = instance.enter(first, "its-own", version)
    await refresh(instance, first)
    assert code_of(instance, first, "thief", version) == STOP[version]
    instance.clock.advance(600)
    assert code_of(instance, first, "thief", version) == STOP[version]
    assert not client.closed


async def test_stolen_old_password_does_not_come_after_its_owner_has_shown_the_new_one(instance: Any) -> None:
    first = await instance.issue()
    cut(instance.enter(first, "c1")[0])
    second = await refresh(instance, first)
    assert code_of(instance, second, "c2") == 0
    assert code_of(instance, first, "c1") == 0x87


async def test_use_of_a_superseded_password_is_told(instance: Any) -> None:
    first = await instance.issue()
    cut(instance.enter(first, "c1")[0])
    second = await refresh(instance, first)
    with capture_logs() as lines:
        assert code_of(instance, second, "c9") == 0
        assert code_of(instance, first, "c9") == 0x87
    assert [line for line in lines if line["event"] == "superseded_password"] == []
    third = await instance.issue()
    cut(instance.enter(third, "c1")[0])
    await refresh(instance, third)
    with capture_logs() as lines:
        assert code_of(instance, third, "c1") == 0
    (line,) = [line for line in lines if line["event"] == "superseded_password"]
    assert (line["token_id"], line["client_id"]) == (third.family.token_id, "c1")
    assert (line["shown"], line["generation"]) == (0, 1)
    assert third.text not in str(lines)


async def test_refresh_may_come_before_the_first_connect_gets_through(instance: Any) -> None:
    first = await instance.issue()
    await refresh(instance, first)
    client, connack = instance.enter(first)
    assert connack.reason_code == 0
    assert client.session.identity.gen == 1
    assert code_of(instance, first, "c2") == 0x87


@BOTH_VERSIONS
async def test_client_of_a_lapsed_family_tries_again_for_a_minute_and_comes_back_when_it_is_refreshed(
    instance: Any, version: int
) -> None:
    first = await instance.issue(ttl_seconds=600)
    cut(instance.enter(first, "c1", version)[0])
    instance.clock.advance(610)
    assert code_of(instance, first, "c1", version) == TRY_AGAIN[version]
    assert code_of(instance, first, "c2", version) == STOP[version]
    instance.clock.advance(59)
    assert code_of(instance, first, "c1", version) == TRY_AGAIN[version]
    await refresh(instance, first)
    assert code_of(instance, first, "c1", version) == 0
    other = await instance.issue("bob", ttl_seconds=600)
    cut(instance.enter(other, "c3", version)[0])
    instance.clock.advance(610)
    assert code_of(instance, other, "c3", version) == TRY_AGAIN[version]
    instance.clock.advance(60)
    assert code_of(instance, other, "c3", version) == STOP[version]


async def test_organization_can_refuse_superseded_passwords(instance: Any) -> None:
    first = await instance.issue()
    cut(instance.enter(first)[0])
    second = await refresh(instance, first)
    await instance.change(superseded_reconnect=False)
    assert code_of(instance, first) == 0x87
    assert code_of(instance, second) == 0


@pytest.mark.parametrize("how", ["upkeep", "with the refresh"])
async def test_client_comes_back_after_a_restart(instance: Any, how: str) -> None:
    first = await instance.issue(ttl_seconds=600)
    client, _ = instance.enter(first, "c1")
    if how == "upkeep":
        await instance.services.upkeep.once(instance.clock.now)
    else:
        await refresh(instance, first)
    cut(client)
    instance.clock.advance(100)
    await instance.restart()
    if how == "upkeep":
        await refresh(instance, first)
    assert code_of(instance, first, "c1") == 0
    assert code_of(instance, first, "c2") == 0x87


async def test_family_of_before_a_restart_counts_as_having_been_connected(instance: Any) -> None:
    first = await instance.issue()
    instance.clock.advance(1)
    await instance.restart()
    second = await refresh(instance, first)
    assert code_of(instance, first) == 0x87
    assert code_of(instance, second) == 0


@pytest.mark.parametrize("use", [refresh, exchange], ids=["refresh", "exchange"])
async def test_reuse_ends_the_family_its_children_and_their_connections(instance: Any, use: Any) -> None:
    first = await instance.issue()
    child = await exchange(instance, first)
    mine, _ = instance.enter(first, "c1")
    childs, _ = instance.enter(child, "c2")
    third = await refresh(instance, await refresh(instance, first))
    instance.clock.advance(100)
    with pytest.raises(InvalidToken):
        await use(instance, first)
    for client in (mine, childs):
        assert client.closed
        assert [one.reason_code for one in client.received() if isinstance(one, Disconnect)] == [0x87]
    for token in (first, third, child):
        assert code_of(instance, token, "c3") == 0x87
    await instance.restart()
    assert code_of(instance, third, "c1") == 0x87


async def test_superseded_password_on_a_connection_is_no_reuse(instance: Any) -> None:
    first = await instance.issue()
    second = await refresh(instance, await refresh(instance, first))
    for _ in range(3):
        assert code_of(instance, second) == 0
        assert code_of(instance, first, "c2") == 0x87


async def test_newest_that_a_connection_has_shown_ends_the_one_before(instance: Any) -> None:
    first = await instance.issue()
    second = await refresh(instance, first)
    assert code_of(instance, second) == 0
    instance.clock.advance(40)
    with pytest.raises(InvalidToken, match="superseded"):
        await refresh(instance, first)


async def test_n3_revocation_wins_over_every_password_of_the_family(instance: Any) -> None:
    first = await instance.issue()
    client, _ = instance.enter(first)
    second = await refresh(instance, first)
    await instance.revoke(token_id=first.family.token_id)
    assert client.closed
    for token in (first, second):
        assert code_of(instance, token) == 0x87
    await instance.restart()
    for token in (first, second):
        assert code_of(instance, token) == 0x87


async def test_password_bound_to_a_client_id_comes_back_under_that_one_alone(instance: Any) -> None:
    first = await instance.issue(client_id="dev-*")
    cut(instance.enter(first, "dev-1")[0])
    await refresh(instance, first)
    assert code_of(instance, first, "dev-1") == 0
    assert code_of(instance, first, "other") in (0x85, 0x87)


async def test_wrong_username_is_no_way_back(instance: Any) -> None:
    first = await instance.issue()
    cut(instance.enter(first)[0])
    await refresh(instance, first)
    wrong = dataclasses.replace(first, username=f"bob@{instance.organization.id}")
    assert code_of(instance, wrong) == 0x86


async def test_connect_that_the_broker_refuses_is_no_connection(instance: Any) -> None:
    first = await instance.issue()
    await instance.change(max_connections=0)
    assert code_of(instance, first, "c1") == 0x97
    await instance.change(max_connections=10)
    await refresh(instance, first)
    # None was ever made, so any client may come.
    assert code_of(instance, first, "c2") == 0


async def test_no_await_stands_between_the_password_and_the_session(instance: Any) -> None:
    """CONNECT is judged and let in within the one call that brings its bytes."""
    first = await instance.issue()
    cut(instance.enter(first)[0])
    await refresh(instance, first)
    client = instance.client()
    packet = Connect(5, "c1", True, 60, username=first.username, password=first.text.encode())
    assert client.send(packet)[0].reason_code == 0
