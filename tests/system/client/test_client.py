"""The client against the real service: what its methods promise."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from tokenmq.client import Client, ConnectError, Denied, NotDelivered, Status, TokenError, Will
from tokenmq.errors import InvalidRequest, InvalidTopicFilter, InvalidTopicName

pytestmark = pytest.mark.system

Make = Callable[..., Any]
PATIENCE_SECONDS = 30


async def take(client: Client, count: int) -> list[Any]:
    """Return the next messages."""
    taken = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for message in client.messages:
            taken.append(message)
            if len(taken) == count:
                break
    return taken


@pytest.mark.parametrize("over", ["mqtt_url", "websocket_url"])
@pytest.mark.parametrize("version", [4, 5])
async def test_the_example_of_the_guide(
    make_client: Make, connect: Make, service: Any, over: str, version: int
) -> None:
    client, _ = make_client(protocol_version=version)
    token = await connect(client, host=service.ready[over])
    assert token.user_id == "alice" and client.token is token and client.is_connected
    await client.subscribe("chat/#")
    result = await client.publish("chat/room1", {"hello": "world"}, qos=1)
    assert (result.status, result.reason_code) == (Status.ACKNOWLEDGED, 0)
    (message,) = await take(client, 1)
    assert (message.topic, message.json(), message.qos) == ("chat/room1", {"hello": "world"}, 1)


async def test_every_source_of_tokens_connects(make_client: Make, service: Any) -> None:
    async def ask() -> Any:
        return service.create_token("bob")

    sources: list[dict[str, Any]] = [
        {"get_token": ask},
        {"get_token": lambda: service.create_token("bob")["token"]},
        {"secret_key": service.secret_key, "user_email": "bob@example.com"},
    ]
    for source in sources:
        client, _ = make_client()
        token = await client.connect_with_token(service.ready["mqtt_url"], **source)
        assert token.username.startswith("bob")
        await client.publish("chat/a", b"x")


async def test_a_key_alone_is_the_servers_own_connection(make_client: Make, service: Any) -> None:
    client, _ = make_client()
    org_id = service.organization_id
    connecting = {"organization_id": org_id, "secret_key": service.secret_key}
    assert await client.connect_with_token(service.ready["mqtt_url"], **connecting) is None
    assert client.token is None
    await client.publish("anything/at/all", b"x")
    with pytest.raises(InvalidRequest, match="no token"):
        await client.refresh_token()
    other, _ = make_client()
    with pytest.raises(InvalidRequest, match="to ask for rights with a key"):
        await other.connect_with_token(service.ready["mqtt_url"], **connecting, topics=["chat/#"])
    with pytest.raises(InvalidRequest, match="organization_id"):
        await other.connect_with_token(service.ready["mqtt_url"], secret_key=service.secret_key)
    with pytest.raises(TokenError) as caught:
        await other.connect_with_token(
            service.ready["mqtt_url"], organization_id=org_id, secret_key="sk_wrong"
        )
    assert caught.value.kind == "auth_failed"


async def test_what_is_refused_is_raised_with_the_brokers_words(make_client: Make, connect: Make) -> None:
    client, heard = make_client()
    await connect(client, topics=["chat/+"])
    with pytest.raises(Denied, match="no grant of publish matches other/x") as caught:
        await client.publish("other/x", b"")
    assert (caught.value.action, caught.value.topic, caught.value.reason_code) == (
        "publish",
        "other/x",
        0x87,
    )
    with pytest.raises(Denied) as caught:
        await client.publish("other/x", b"", qos=2)
    assert caught.value.reason_code == 0x92
    with pytest.raises(Denied, match="wider than grant") as caught:
        await client.subscribe("chat/#")
    assert (caught.value.action, caught.value.topic) == ("subscribe", "chat/#")
    with pytest.raises(InvalidTopicName):
        await client.publish("chat/#", b"")
    with pytest.raises(InvalidTopicFilter):
        await client.subscribe("chat/#/x")
    assert (await client.publish("other/y", b"", qos=0)).status is Status.SENT
    denied = await heard.wait_for("denied")
    assert (denied.action, denied.topic) == ("publish", "other/y")


async def test_in_3_1_1_a_refused_message_is_told_by_event(make_client: Make, connect: Make) -> None:
    client, heard = make_client(protocol_version=4)
    await connect(client)
    assert (await client.publish("other/x", b"")).status is Status.ACKNOWLEDGED
    assert (await heard.wait_for("denied")).topic == "other/x"


async def test_properties_go_out_and_come_in(make_client: Make, connect: Make) -> None:
    client, _ = make_client()
    await connect(client)
    await client.subscribe("chat/p")
    told: dict[str, Any] = {
        "content_type": "text/plain",
        "response_topic": "response/x",
        "correlation_data": b"\x00\xff",
        "message_expiry_seconds": 100,
        "is_text": True,
        "user_properties": [("a", "1"), ("a", "2")],
    }
    await client.publish("chat/p", "hé", qos=2, **told)
    (message,) = await take(client, 1)
    assert message.text == "hé" and message.is_text and message.content_type == "text/plain"
    assert (message.response_topic, message.correlation_data) == ("response/x", b"\x00\xff")
    assert message.user_properties == (("a", "1"), ("a", "2"))
    assert 0 < message.message_expiry_seconds <= 100


async def test_nobody_subscribed_is_told(make_client: Make, connect: Make) -> None:
    client, _ = make_client()
    await connect(client)
    assert (await client.publish("response/nobody", b"")).has_no_subscribers


async def test_requests_get_their_replies(make_client: Make, connect: Make) -> None:
    asking, _ = make_client()
    answering, _ = make_client()
    await connect(asking, "asker")
    await connect(answering, "answerer")

    async def add(message: Any) -> int:
        return sum(message.json())

    await answering.on_request("chat/sum", add)
    replies = await asyncio.gather(*(asking.request("chat/sum", [n, n]) for n in range(20)))
    assert [reply.json() for reply in replies] == [2 * n for n in range(20)]
    with pytest.raises(TimeoutError):
        await asking.request("chat/nobody", timeout_seconds=0.05)


async def test_shared_subscriptions_and_callbacks_of_both_kinds(make_client: Make, connect: Make) -> None:
    client, _ = make_client()
    await connect(client)
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    async def later(message: Any) -> None:
        await heard.put(("later", message.topic))

    await client.subscribe("$share/g/chat/s/+", callback=lambda m: heard.put_nowait(("shared", m.topic)))
    await client.subscribe("chat/t", callback=later)
    await client.publish("chat/s/1", b"")
    await client.publish("chat/t", b"")
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert {await heard.get(), await heard.get()} == {("shared", "chat/s/1"), ("later", "chat/t")}
    await client.unsubscribe("chat/t")
    assert (await client.publish("chat/t", b"")).has_no_subscribers


async def test_the_will_is_published_when_the_client_is_lost_and_not_when_it_closes(
    make_client: Make, connect: Make, service: Any, proxy_to: Make
) -> None:
    watching, _ = make_client()
    await connect(watching, "watcher")
    await watching.subscribe("chat/gone/+")
    proxy = await proxy_to(*service.mqtt)
    for name, host in (("closed", service.ready["mqtt_url"]), ("lost", proxy.url)):
        client, _ = make_client(auto_reconnect=False)
        await connect(client, name, host=host, will=Will(f"chat/gone/{name}", {"who": name}))
        if name == "closed":
            await client.close()
    await proxy.cut()
    (message,) = await take(watching, 1)
    assert message.json() == {"who": "lost"}


async def test_another_users_client_id_is_refused_for_good(make_client: Make, connect: Make) -> None:
    first, _ = make_client()
    await connect(first, "owner", client_id="tab-1")
    second, _ = make_client()
    with pytest.raises(ConnectError) as caught:
        await connect(second, "intruder", client_id="tab-1")
    assert caught.value.reason_code == 0x85
    assert not second.is_connected


async def test_who_is_taken_over_does_not_fight_for_its_session(make_client: Make, connect: Make) -> None:
    first, heard = make_client()
    await connect(first, client_id="tab-2")
    second, _ = make_client()
    await connect(second, client_id="tab-2")
    await heard.wait_for("disconnected")
    with pytest.raises(ConnectError, match="0x8E"):
        await take(first, 1)
    with pytest.raises(ConnectError):
        await first.publish("chat/a", b"")
    assert second.is_connected and "reconnecting" not in heard.names()


async def test_closing_ends_reading_and_gives_up_what_waits(
    make_client: Make, connect: Make, service: Any, proxy_to: Make
) -> None:
    client, heard = make_client()
    proxy = await proxy_to(*service.mqtt)
    await connect(client, host=proxy.url)
    reading = asyncio.create_task(take(client, 1))
    await proxy.cut()
    await heard.wait_for("disconnected")
    queued = await client.publish("chat/a", b"")
    assert queued.status is Status.QUEUED and client.queued == 1
    await client.close()
    assert await reading == []
    with pytest.raises(NotDelivered, match="closed"):
        await queued.delivered()


async def test_using_it_unconnected_says_so(make_client: Make) -> None:
    client, _ = make_client()
    with pytest.raises(ConnectError, match="connect first"):
        await client.publish("a", b"")
    with pytest.raises(ConnectError, match="connect first"):
        _ = client.messages


async def test_no_broker_is_a_connect_error_and_leaves_nothing_running(
    make_client: Make, connect: Make
) -> None:
    client, heard = make_client(connect_timeout_seconds=5)
    before = asyncio.all_tasks()
    with pytest.raises(ConnectError, match="no broker answers"):
        await connect(client, host="mqtt://127.0.0.1:1")
    assert asyncio.all_tasks() <= before and heard.all == []


async def test_the_network_is_cut_in_the_middle_and_every_message_arrives_once(
    make_client: Make, connect: Make, service: Any, proxy_to: Make
) -> None:
    reader, _ = make_client()
    await connect(reader, "reader")
    await reader.subscribe("chat/n/+", qos=2)
    proxy = await proxy_to(*service.mqtt)
    writer, heard = make_client()
    await connect(writer, "writer", host=proxy.url)
    sending = [
        asyncio.create_task(writer.publish(f"chat/n/{number}", b"x" * 100, qos=2)) for number in range(600)
    ]
    reading = asyncio.create_task(take(reader, 600))
    for cut in range(1, 4):
        await asyncio.sleep(0.05)
        await proxy.cut()
        await heard.wait_for("disconnected", times=cut)
        await proxy.start()
        await heard.wait_for("connected", times=cut + 1)
    results = await asyncio.gather(*sending)
    final = await asyncio.gather(*(result.delivered() for result in results))
    assert {result.status for result in final} <= {Status.ACKNOWLEDGED, Status.UNKNOWN}
    topics = [message.topic for message in await reading]
    assert sorted(topics) == sorted(f"chat/n/{number}" for number in range(600))


async def test_the_broker_is_killed_and_comes_back_elsewhere(
    make_client: Make, start_service: Any, proxy_to: Make
) -> None:
    service = start_service()
    proxy = await proxy_to(*service.mqtt)
    client, heard = make_client(token_service_url=service.http_url)
    await client.connect_with_token(
        proxy.url, get_token=lambda: service.create_token("alice"), client_id="alice-1"
    )
    await client.subscribe("chat/#")
    await client.publish("chat/a", b"before")
    await asyncio.to_thread(service.kill)
    await heard.wait_for("disconnected")
    queued = [await client.publish("chat/b", str(number)) for number in range(5)]
    await asyncio.to_thread(service.start)
    proxy.lead_to(*service.mqtt)
    await heard.wait_for("connected", times=2)
    for one in queued:
        assert (await one.delivered()).status is Status.ACKNOWLEDGED
    assert [message.text for message in await take(client, 6)] == ["before", "0", "1", "2", "3", "4"]


async def test_revoked_while_connected_with_nobody_to_ask_is_the_end(
    make_client: Make, connect: Make, service: Any
) -> None:
    client, heard = make_client()
    token = service.create_token("carol")
    asked = 0

    def ask() -> Any:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise TokenError("auth_failed", "carol has left")
        return token

    await connect(client, secret_key=None, user_id=None, permissions=None, topics=None, get_token=ask)
    service.revoke(user_id="carol", reason="left the team")
    with pytest.raises(TokenError, match="carol has left"):
        await take(client, 1)
    assert asked == 2
    assert heard.names() == ["connected", "disconnected", "reconnecting", "token_error", "auth_error"]
    assert dict(heard.all)["disconnected"] == "left the team (0x87)"
    with pytest.raises(TokenError):
        await client.publish("chat/a", b"")


@pytest.mark.parametrize("refreshes", [0, 1])
async def test_revoked_while_connected_with_a_key_is_a_new_token_and_goes_on(
    make_client: Make, connect: Make, service: Any, refreshes: int
) -> None:
    client, heard = make_client()
    first = await connect(client, f"dave-{refreshes}")
    await client.subscribe("chat/#")
    for _ in range(refreshes):
        assert (await client.refresh_token()).token_id == first.token_id
    service.revoke(user_id=f"dave-{refreshes}")
    await heard.wait_for("connected", times=2)
    assert client.token.token_id != first.token_id
    await client.publish("chat/again", b"")
    assert [message.topic for message in await take(client, 1)] == ["chat/again"]


async def test_narrowed_while_connected_it_stays_and_is_told(
    make_client: Make, connect: Make, service: Any
) -> None:
    client, heard = make_client()
    topics = iter([["chat/#"], ["chat/open"], ["chat/#"]])
    nothing: dict[str, Any] = dict.fromkeys(("secret_key", "user_id", "permissions", "topics"))

    def ask() -> Any:
        return service.create_token("erin", topics=next(topics))

    await connect(client, **{**nothing, "get_token": ask})
    await client.subscribe("chat/open")
    await client.subscribe("chat/closed")
    await client.refresh_token()
    assert await heard.wait_for("narrowed") == ["chat/closed"]
    with pytest.raises(Denied):
        await client.publish("chat/closed", b"")
    await client.publish("chat/open", "still here")
    assert [message.text for message in await take(client, 1)] == ["still here"]
    await client.refresh_token()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                await client.publish("chat/closed", "back")
                break
            except Denied:
                await asyncio.sleep(0.01)
    assert [message.text for message in await take(client, 1)] == ["back"]
    assert "disconnected" not in heard.names()


async def test_a_broker_that_takes_no_token_in_place_is_connected_to_anew(
    make_client: Make, connect: Make, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planned reconnect: the same session, and every message once."""
    monkeypatch.setattr("tokenmq.client.engine.AUTH_TOKEN", "$auth/nothing")
    client, heard = make_client()
    nothing: dict[str, Any] = dict.fromkeys(("secret_key", "user_id", "permissions", "topics"))
    await connect(client, **{**nothing, "get_token": lambda: service.create_token("fay")})
    await client.subscribe("chat/fay/+")
    sending = [asyncio.create_task(client.publish(f"chat/fay/{n}", str(n))) for n in range(300)]
    await client.refresh_token()
    assert await heard.wait_for("connected", times=2) is True
    sending += [asyncio.create_task(client.publish(f"chat/fay/{n}", str(n))) for n in range(300, 400)]
    assert {(await one).status for one in sending} == {Status.ACKNOWLEDGED}
    assert sorted(int(message.text) for message in await take(client, 400)) == list(range(400))
    assert "disconnected" not in heard.names()


async def test_planned_reconnects_double_nothing_that_is_read_meanwhile(
    make_client: Make, connect: Make, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the reader is done with between two connections is not handed out again."""
    monkeypatch.setattr("tokenmq.client.engine.AUTH_TOKEN", "$auth/nothing")
    client, heard = make_client()
    writer, _ = make_client()
    nothing: dict[str, Any] = dict.fromkeys(("secret_key", "user_id", "permissions", "topics"))
    await connect(client, **{**nothing, "get_token": lambda: service.create_token("gus")})
    await connect(writer, "writer")
    got: list[int] = []
    every = asyncio.Event()

    async def take(message: Any) -> None:
        await asyncio.sleep(0)
        got.append(int(message.text))
        if len(got) >= 900:
            every.set()

    await client.subscribe("chat/gus/+", callback=take)
    sending = [asyncio.create_task(writer.publish(f"chat/gus/{n % 7}", str(n))) for n in range(900)]
    for times in range(2, 4):
        await client.refresh_token()
        await heard.wait_for("connected", times=times)
    await asyncio.gather(*sending)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await every.wait()
    assert sorted(got) == list(range(900))
    assert "disconnected" not in heard.names()


async def test_a_message_that_the_broker_does_not_take_is_said_and_ends_no_connection(
    make_client: Make, connect: Make, service: Any, proxy_to: Make
) -> None:
    client, heard = make_client()
    proxy = await proxy_to(*service.mqtt)
    await connect(client, host=proxy.url)
    with pytest.raises(NotDelivered, match="the broker takes"):
        await client.publish("chat/a", b"x" * 20_000_000)
    await client.publish("chat/a", b"small")
    assert heard.names() == ["connected"]


async def test_a_backend_that_gives_the_revoked_token_again_is_the_end(
    make_client: Make, connect: Make, service: Any
) -> None:
    """The password that the broker refused is not sent a second time."""
    client, heard = make_client()
    kept = service.create_token("hal")
    nothing: dict[str, Any] = dict.fromkeys(("secret_key", "user_id", "permissions", "topics"))
    await connect(client, **{**nothing, "get_token": lambda: kept})
    service.revoke(user_id="hal")
    with pytest.raises(TokenError, match="its source gives it again"):
        await take(client, 1)
    assert heard.names() == ["connected", "disconnected", "reconnecting", "token_error", "auth_error"]


async def test_who_waits_for_a_reply_learns_of_the_end(
    make_client: Make, connect: Make, service: Any
) -> None:
    client, heard = make_client()
    given = iter([service.create_token("ivy", topics=["chat/#", "response/#"])])
    nothing: dict[str, Any] = dict.fromkeys(("secret_key", "user_id", "permissions", "topics"))

    def ask() -> Any:
        try:
            return next(given)
        except StopIteration:
            raise TokenError("auth_failed", "signed out") from None

    await connect(client, **{**nothing, "get_token": ask})
    await client.subscribe("chat/ask")
    asking = asyncio.create_task(client.request("chat/ask"))
    await take(client, 1)
    service.revoke(user_id="ivy")
    await heard.wait_for("auth_error")
    with pytest.raises(TokenError, match="signed out"):
        await asking


async def test_messages_of_qos_0_in_a_loop_stop_nobody(make_client: Make, connect: Make) -> None:
    client, _ = make_client()
    await connect(client)
    ran = 0

    async def others() -> None:
        nonlocal ran
        while True:
            await asyncio.sleep(0)
            ran += 1

    other = asyncio.create_task(others())
    for number in range(5000):
        await client.publish("chat/loop", str(number), qos=0)
    assert ran > 0
    other.cancel()
    await client.publish("chat/loop", b"end")


async def test_a_message_whose_loop_fails_is_not_acknowledged(
    make_client: Make, connect: Make, service: Any
) -> None:
    writer, _ = make_client()
    await connect(writer, "writer")
    got: list[str] = []
    for fails in (True, False):
        with contextlib.suppress(KeyError):
            async with Client(token_service_url=service.http_url) as client:
                await connect(client, "jan", client_id="jan-1")
                if fails:
                    await client.subscribe("chat/jan")
                    await writer.publish("chat/jan", "first")
                    await writer.publish("chat/jan", "second")
                async with asyncio.timeout(PATIENCE_SECONDS):
                    async for message in client.messages:
                        got.append(message.text)
                        if fails:
                            raise KeyError(message.text)
                        if message.text == "second":
                            break
    assert got == ["first", "first", "second"]


async def test_a_subscription_that_is_refused_on_a_new_session_is_told_and_forgotten(
    make_client: Make, connect: Make, service: Any
) -> None:
    client, heard = make_client(session_expiry_seconds=0)
    topics = iter([["chat/#"], ["chat/open"]])
    nothing: dict[str, Any] = dict.fromkeys(("secret_key", "user_id", "permissions", "topics"))

    def ask() -> Any:
        return service.create_token("kim", topics=next(topics))

    first = await connect(client, **{**nothing, "get_token": ask})
    await client.subscribe("chat/open")
    await client.subscribe("chat/closed")
    service.revoke(token_id=first.token_id)
    assert await heard.wait_for("connected", times=2) is False
    denied = await heard.wait_for("denied")
    assert (denied.action, denied.topic, denied.reason_code) == ("subscribe", "chat/closed", 0x87)
    await client.publish("chat/open", "still here")
    assert [message.text for message in await take(client, 1)] == ["still here"]
