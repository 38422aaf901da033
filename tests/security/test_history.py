"""What was said is told to those who have `history` on all of a filter, by each road that there is."""

from __future__ import annotations

import itertools
from typing import Any

import httpx2
import pytest

from tokenmq.access.grants import Grant
from tokenmq.access.permission import Permission
from tokenmq.api import create_app
from tokenmq.config import HttpSettings
from tokenmq.mqtt.packets import Puback, Pubrec, Subscribe, Will
from tokenmq.mqtt.packets.subscribe import Subscription
from tokenmq.services.key_requests import SCOPES
from tokenmq.services.tokens import IssuedToken

BOTH_VERSIONS = pytest.mark.parametrize("version", [4, 5])
WITHOUT = (Permission.PUBLISH, Permission.SUBSCRIBE, Permission.PRESENCE)
EVERYTHING = (*WITHOUT, Permission.HISTORY)
OLD, NEW = b"said before", b"said since"
PLAIN = ("#", "+/a", "+/+", "+/#", "+/+/+/+", "+/10/chat/a", "/#", "$share/g/chat/a", "$share/g/#")
GROUP = "$share/$history/10/chat/a"  # a group of that name, on 10/chat/a
ROADS = (
    "$history/10/chat/a",
    "$history/0/chat/a",
    "$history/1000/chat/#",
    "$history/10/+/a",
    "$history/10/#",
    "$history/10/chat/secret",
    "$history/10",
    "$history/10/",
    "$history/010/chat/a",
    "$history/-1/chat/a",
    "$history/+/chat/a",
    "$history/#",
    "$history/chat/a",
    "$history",
    "$history/10/$history/10/chat/a",
    "$history/10/$presence/chat/a",
    "$history/10/$share/g/chat/a",
    "$history/10/$auth/events",
    "$history/10/$SYS/#",
    "$presence/$history/10/chat/a",
    "$share/g/$history/10/chat/a",
    "$share/g/$history/#",
    "$share/$history",
    "$History/10/chat/a",
    "$HISTORY/10/chat/a",
    "$history%2F10/chat/a",
    "$history\u200b/10/chat/a",
    "$+/10/chat/a",
)
QUESTIONS = (
    {"tokenmq-history": "10"},
    {"tokenmq-history": "0"},
    {"tokenmq-history-since": "0"},
    {"tokenmq-history-after": "0"},
    {"tokenmq-history-after": "1"},
    {"tokenmq-history": "10", "tokenmq-history-since": "2000-01-01T00:00:00Z", "tokenmq-history-after": "1"},
)


@pytest.fixture
async def room(make_instance):
    """Something that was said under a rule, and a reader with all rights who shows that it is there."""
    instance = await make_instance(records=True)
    instance.talker = await instance.joined("bob", "#", permissions=EVERYTHING)
    for topic in ("chat/a", "chat/secret"):
        await instance.publish(instance.talker, topic, OLD)
    instance.reader = await instance.joined("eve", "#", permissions=EVERYTHING)
    (answer,) = await ask(instance, instance.reader, "chat/#", **QUESTIONS[0])
    assert answer == 1
    assert [told(message)["user"] for message in instance.reader.messages()] == ["bob", "bob"]
    return instance


async def ask(room, client, *filters, **properties) -> list[int]:
    """Subscribe by user properties; return the reason codes when everything has come."""
    packet = Subscribe(
        next(client._packet_ids),
        tuple(Subscription(one, qos=1) for one in filters),
        user_properties=tuple(properties.items()),
    )
    (suback, *client.after) = client.send(packet)
    await room.replayed()
    return list(suback.reason_codes)


async def say(room, *topics: str) -> None:
    """Say something now."""
    for topic in topics or ("chat/a", "chat/secret"):
        await room.publish(room.talker, topic, NEW)
    await room.replayed()


def told(message) -> dict[str, str]:
    """Return what a message says of its place in the history."""
    prefix = "tokenmq-history-"
    return {name.removeprefix(prefix): value for name, value in message.user_properties if prefix in name}


async def heard(room, client) -> list[tuple[str, bytes]]:
    """Return what has come to somebody, live or not; none of it may say anything of the history."""
    await room.replayed()
    messages = client.messages()
    assert [told(message) for message in messages if told(message)] == []
    return [(message.topic, message.payload) for message in messages]


# MQTT


@BOTH_VERSIONS
async def test_no_filter_that_may_be_subscribed_to_tells_what_was_said(room, version):
    ann = await room.joined("ann", "#", permissions=WITHOUT, version=version)
    granted = []
    for road in (*ROADS, *PLAIN, GROUP):
        granted += [road] if ann.subscribe(road)[0] < 0x80 else []
        await room.replayed()
    assert granted == [*PLAIN, GROUP]
    assert await heard(room, ann) == []
    await say(room, "chat/a")
    assert set(await heard(room, ann)) == {("chat/a", NEW)}


@pytest.mark.parametrize("properties", QUESTIONS, ids=str)
async def test_no_user_property_tells_what_was_said(room, properties):
    ann = await room.joined("ann", "#", permissions=WITHOUT)
    for road in ("chat/a", "chat/+", "chat/#", "+/a", "#", "chat/nothing", *ROADS):
        assert (await ask(room, ann, road, **properties))[0] >= 0x80, road
    for road in ("$share/g/chat/a", "$share/g/#", GROUP):
        assert (await ask(room, ann, road, **properties))[0] == 0x8F, road
    await say(room)
    assert await heard(room, ann) == []
    assert ann.session.subscriptions == {} and not ann.closed


async def test_an_admitted_filter_takes_no_other_with_it(room):
    """One packet, one answer for each filter: who may read a part is shown that part."""
    token = await holding(room, (EVERYTHING, "chat/a"), (WITHOUT, "#"))
    ann, _ = room.enter(token)
    assert await ask(room, ann, "chat/secret", "chat/a", "#", **QUESTIONS[0]) == [0x87, 1, 0x87]
    await say(room)
    assert [(one.topic, one.payload) for one in ann.messages()] == [("chat/a", OLD), ("chat/a", NEW)]


@pytest.mark.parametrize("name", ["Tokenmq-History", "tokenmq_history", "tokenmq-history ", "history"])
async def test_another_spelling_asks_for_nothing(room, name):
    ann = await room.joined("ann", "#", permissions=WITHOUT)
    assert (await ask(room, ann, "chat/#", **{name: "10"}))[0] in (1, 0x83)
    assert await heard(room, ann) == []


async def test_presence_and_own_events_bring_no_history(room):
    ann = await room.joined("ann", "#", permissions=WITHOUT)
    assert await ask(room, ann, "$presence/chat/#", "$auth/events", **QUESTIONS[0]) == [0, 1]
    room.hub.flush()
    assert OLD not in b"".join(payload for _, payload in await heard(room, ann))


@pytest.mark.parametrize("covered", ["chat/b", "chat/+/x", "other/#", "chat", "chat/{user_id}", "+/b"])
async def test_history_elsewhere_or_on_a_part_opens_nothing(room, covered):
    token = await holding(room, ((Permission.HISTORY,), covered), (WITHOUT, "#"))
    ann, _ = room.enter(token)
    for wanted in ("chat/a", "chat/+", "chat/#", "+/a", "#", "chat/secret"):
        for properties in QUESTIONS:
            assert await ask(room, ann, wanted, **properties) == [0x87]
        assert ann.subscribe(f"$history/10/{wanted}") == [0x87]
        answer = await get(room, token.text, topic=wanted)
        assert answer.status_code == 403 and OLD.decode() not in answer.text
    await say(room)
    assert await heard(room, ann) == []


@BOTH_VERSIONS
async def test_history_without_subscribe_is_read_over_http_alone(room, version):
    token = await room.issue("ann", "chat/#", permissions=(Permission.HISTORY, Permission.PUBLISH))
    ann, _ = room.enter(token, version=version)
    assert ann.subscribe("$history/10/chat/a", "chat/a") == [0x87 if version == 5 else 0x80] * 2
    if version == 5:
        assert await ask(room, ann, "chat/a", **QUESTIONS[0]) == [0x87]
    await say(room)
    assert await heard(room, ann) == []
    assert (await get(room, token.text, topic="chat/#")).status_code == 200


@BOTH_VERSIONS
@pytest.mark.parametrize("retain", [False, True])
async def test_nobody_publishes_into_the_history(room, version, retain):
    """Not even who may read it, nor a server: no row is made, and no reader is told."""
    assert room.reader.subscribe("$history/10/chat/#") == [0]
    await room.replayed()
    room.reader.messages()
    before = await told_over_http(room)
    server = room.client(version)
    server.connect(f"server@{room.organization.id}", room.key_text.encode())
    ann = await room.joined("ann", "#", permissions=EVERYTHING, version=version)
    for client, topic, qos in itertools.product(
        (ann, server), ("$history/10/chat/a", "$history/chat/a", "$history"), (0, 1, 2)
    ):
        answers = await room.publish(client, topic, b"forged", qos=qos, retain=retain)
        if qos:
            assert isinstance(answers[0], Puback | Pubrec)
            assert answers[0].reason_code == (0x87 if version == 5 else 0)
    assert room.reader.messages() == []
    assert await told_over_http(room) == before


async def test_what_the_broker_says_of_a_message_is_said_by_nobody_else(room):
    ann = await room.joined("ann", "#", permissions=EVERYTHING)
    for name in ("tokenmq-history-id", "tokenmq-history-user", "tokenmq-history-at", "tokenmq-history-gap"):
        (answer,) = await room.publish(ann, "chat/a", b"forged", user_properties=((name, "eve"),))
        assert answer.reason_code == 0x87
        token = await room.issue("zoe", "#", permissions=EVERYTHING)
        will = Will("chat/a", b"forged", user_properties=((name, "eve"),))
        _, connack = room.enter(token, f"c-{name}", will=will)
        assert connack.reason_code == 0x87
    assert await heard(room, room.reader) == []


@BOTH_VERSIONS
@pytest.mark.parametrize("topic", ["$history/10/chat/a", "$history/chat/a", "$history"])
async def test_no_will_goes_into_the_history(room, topic, version):
    token = await room.issue("ann", "#", permissions=EVERYTHING)
    client, connack = room.enter(token, "other", version, will=Will(topic, b"forged", qos=1, retain=True))
    assert connack.reason_code == 0x87 and client.closed


@pytest.mark.parametrize("permissions", [["publish", "subscribe"], ["publish", "subscribe", "presence"]])
async def test_a_server_whose_key_has_no_history_is_refused_too(room, permissions):
    made = await room.make_key("rk", scopes=("mqtt",), permissions=permissions, topics=("#",))
    server = room.client()
    assert server.connect(f"server@{room.organization.id}", made.text.encode()).reason_code == 0
    assert server.subscribe("$history/10/chat/a") == [0x87]
    assert await ask(room, server, "chat/a", **QUESTIONS[0]) == [0x87]
    assert (await get(room, made.text, topic="chat/a")).status_code == 403
    await say(room)
    assert await heard(room, server) == []


async def test_another_organization_reads_its_own(room):
    other, key = await room.other_organization()
    token = await room.issue("ann", "#", permissions=EVERYTHING, organization=other, key=key)
    ann, _ = room.enter(token)
    assert ann.subscribe("$history/10/#") == [0]
    assert await ask(room, ann, "#", **QUESTIONS[0]) == [1]
    await say(room)
    assert await heard(room, ann) == []
    answer = await get(room, token.text, topic="#", organization_id=room.organization.id)
    assert OLD.decode() not in answer.text


# A right that goes


@pytest.mark.parametrize("road", ["policy", "token"])
async def test_a_right_that_goes_takes_what_was_asked_for_with_it(room, road):
    """A filter of the history hears nothing more; a plain one goes on, and is told nothing of it."""
    token = await room.issue("ann", "chat/#", permissions=EVERYTHING)
    ann, _ = room.enter(token)
    assert ann.subscribe("$auth/events") == [0]
    assert await ask(room, ann, "chat/#", **QUESTIONS[0]) == [1]
    assert [message.payload for message in ann.messages()] == [OLD, OLD]
    assert ann.subscribe("$history/10/chat/#") == [0]
    await room.replayed()
    await say(room, "chat/a")
    both = {"chat/a", "$history/10/chat/a"}
    assert {message.topic for message in ann.messages() if message.payload == NEW} == both
    if road == "policy":
        await deny(room, "chat/#")
    else:
        narrower = await room.issue("ann", "chat/#", permissions=WITHOUT)
        assert ann.publish("$auth/token", narrower.text.encode(), qos=1)[0].reason_code == 0
    ann.messages()
    await say(room, "chat/a")
    assert await heard(room, ann) == [("chat/a", NEW)]
    assert ann.subscribe("$history/10/chat/#") == [0x87]
    assert await ask(room, ann, "chat/#", **QUESTIONS[0]) == [0x87]


async def test_a_replay_that_is_under_way_ends_with_its_right(room):
    ann = await room.joined("ann", "chat/#", permissions=EVERYTHING)
    assert ann.subscribe("$auth/events") == [0]
    narrower = await room.issue("ann", "chat/#", permissions=WITHOUT)
    packet = Subscribe(9, (Subscription("chat/#"),), user_properties=(("tokenmq-history", "10"),))
    (suback,) = ann.send(packet)
    assert suback.reason_codes == (0,)
    assert room.hub.reader._tasks  # it is asked for, and nothing has come
    assert ann.publish("$auth/token", narrower.text.encode(), qos=1)[0].reason_code == 0
    assert OLD not in [payload for _, payload in await heard(room, ann)]


async def test_what_waited_under_the_history_is_not_for_who_comes_back_without_it(room):
    ann = await room.lasting(
        await room.issue("ann", "chat/#", permissions=EVERYTHING), "$history/10/chat/#", client_id="c-ann"
    )
    await room.replayed()
    assert set(ann.topics()) == {"$history/10/chat/a", "$history/10/chat/secret"}
    ann.link.lost()
    await say(room)
    narrower = await room.issue("ann", "chat/#", permissions=WITHOUT)
    ann, connack = room.enter(narrower, "c-ann", clean_start=False, session_expiry_interval=600)
    assert connack.session_present
    assert ("tokenmq-suspended", "$history/10/chat/#") in connack.user_properties
    assert await heard(room, ann) == []
    await say(room)
    assert await heard(room, ann) == []


async def test_a_topic_that_is_denied_is_left_out_of_what_may_be_read(room):
    await deny(room, "chat/secret")
    token = await room.issue("ann", "#", permissions=EVERYTHING)
    ann, _ = room.enter(token)
    assert await ask(room, ann, "chat/#", "chat/secret", **QUESTIONS[0]) == [1, 0x87]
    assert [(one.topic, one.payload) for one in ann.messages()] == [("chat/a", OLD)]
    assert ann.subscribe("$history/10/chat/secret") == [0x87]
    assert [one["topic"] for one in (await get(room, token.text, topic="#")).json()["messages"]] == ["chat/a"]
    assert (await get(room, token.text, topic="chat/secret")).status_code == 403


# HTTP


async def test_http_tells_a_user_without_history_nothing_and_changes_nothing(room):
    token = (await room.issue("ann", "#", permissions=WITHOUT)).text
    for query in ({}, {"since": "0"}, {"after": "1", "order": "asc"}, {"limit": "1"}):
        for topic in ("chat/a", "chat/+", "chat/#", "#", "chat/nothing", "other/a"):
            answer = await get(room, token, topic=topic, **query)
            assert answer.status_code == 403 and OLD.decode() not in answer.text
    for topic in ("$history/10/chat/a", "$share/g/chat/a", "$presence/chat/a", ""):
        answer = await get(room, token, topic=topic)
        assert answer.status_code in (400, 403) and OLD.decode() not in answer.text
    before = await told_over_http(room)
    rules = {"rules": [{"topic": "#", "max_age": 1, "max_messages": 1}]}
    for holder in (token, (await room.issue("ann", "#", permissions=EVERYTHING)).text):
        assert (await call(room, "DELETE", "", holder, topic="#")).status_code == 401
        assert (await call(room, "DELETE", "", holder, user_id="bob")).status_code == 401
        assert (await call(room, "GET", "/rules", holder)).status_code == 401
        assert (await call(room, "PUT", "/rules", holder, body=rules)).status_code == 401
    assert await told_over_http(room) == before


async def test_http_tells_a_key_of_every_other_scope_nothing(room):
    scopes = tuple(sorted(SCOPES - {"history:read", "history:erase", "policy"}))
    key = await room.make_key("rk", scopes=scopes, permissions=EVERYTHING, topics=("#",))
    before = await told_over_http(room)
    rules = {"rules": []}
    for answer in (
        await get(room, key.text, topic="chat/a"),
        await call(room, "DELETE", "", key.text, topic="#"),
        await call(room, "GET", "/rules", key.text),
        await call(room, "PUT", "/rules", key.text, body=rules),
    ):
        assert answer.status_code == 403 and OLD.decode() not in answer.text
    for nothing in (None, "sk_x", key.text[:-1]):
        assert (await get(room, nothing, topic="chat/a")).status_code == 401
    assert await told_over_http(room) == before


async def holding(room, *grants: tuple[tuple[Permission, ...], str]) -> IssuedToken:
    """Return a token of ann's with permissions on a filter each."""
    made = tuple(Grant(permissions, (topic_filter,)) for permissions, topic_filter in grants)
    return await room.issue("ann", permissions=None, topics=None, grants=made)


async def deny(room, topic_filter: str) -> None:
    """Have the policy deny everybody the history of a filter."""
    rules = [
        {"user": "*", "permissions": ["history"], "topics": [topic_filter], "effect": "deny"},
        {"user": "*", "permissions": list(EVERYTHING), "topics": ["#"], "effect": "allow"},
    ]
    tree = {"version": "1", "rules": rules}
    org_id, now = room.organization.id, room.clock.now
    await room.services.policies.put(tree, revision=None, key=room.key, org_id=org_id, now=now)


async def call(room, method: str, path: str, holder: str | None, *, body: object = None, **query: str) -> Any:
    """Ask over HTTP, by the real application."""
    app = create_app(room.services, HttpSettings(), now=lambda: room.clock.now)
    headers = {} if holder is None else {"Authorization": f"Bearer {holder}"}
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as http:
        return await http.request(
            method, f"/v2/history{path}", params=query, headers=headers, **({"json": body} if body else {})
        )


async def get(room, holder: str | None, **query: str) -> Any:
    return await call(room, "GET", "", holder, **query)


async def told_over_http(room) -> Any:
    """Return everything that there is, as the organization's own key is told it."""
    answer = await get(room, room.key_text, topic="#")
    assert answer.status_code == 200
    return answer.json()
