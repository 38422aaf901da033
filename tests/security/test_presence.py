"""Who is present is told to those who have `presence` on all of a filter, by each road that there is."""

from __future__ import annotations

import pytest

from tokenmq.access.permission import Permission
from tokenmq.errors import Forbidden
from tokenmq.mqtt.packets import Puback, Will
from tokenmq.services.bearers import Bearer

BOTH_VERSIONS = pytest.mark.parametrize("version", [4, 5])
WITHOUT = (Permission.PUBLISH, Permission.SUBSCRIBE, Permission.HISTORY)
EVERYTHING = (*WITHOUT, Permission.PRESENCE)
ROADS = (
    "$presence/chat/a",
    "$presence/chat/+",
    "$presence/#",
    "$presence/+/a",
    "$presence",
    "$presence/",
    "+/chat/a",
    "+/+/+",
    "+/#",
    "#",
    "/#",
    "$share/g/$presence/chat/a",
    "$share/g/#",
    "$share/$presence/chat/a",  # a group of that name
    "$presence/$share/g/chat/a",
    "$presence/$presence/chat/a",
    "$history/10/$presence/chat/a",
    "$Presence/chat/a",
    "$presence/chat/%2B",
    "$+/chat/a",
)


@pytest.fixture
async def room(instance):
    """A watcher with all rights, and a member that says something of itself; both of other users."""
    instance.watcher = await instance.joined("eve", "#", permissions=EVERYTHING)
    assert instance.watcher.subscribe("$presence/#") == [0]
    instance.member = await instance.joined("bob", "#", permissions=EVERYTHING, client_id="telltale")
    assert instance.member.subscribe("chat/a", "secret/bob") == [0, 0]
    return instance


def stir(room):
    """Have something happen that watchers are told of, and tell it."""
    room.member.publish("$presence/chat/a", b'"said"', qos=1)
    room.member.publish("$presence/secret/bob", b'"hush"', qos=1)
    room.hub.flush()
    assert b"said" in b"".join(message.payload for message in room.watcher.messages())


@BOTH_VERSIONS
async def test_no_filter_that_may_be_subscribed_to_tells_who_is_present(room, version):
    ann = await room.joined("ann", "#", permissions=WITHOUT, version=version)
    granted = [road for road in ROADS if ann.subscribe(road)[0] < 0x80]
    assert granted == ["+/chat/a", "+/+/+", "+/#", "#", "/#", "$share/g/#", "$share/$presence/chat/a"]
    stir(room)
    assert ann.messages() == []


@BOTH_VERSIONS
async def test_who_has_no_presence_says_nothing_of_itself(room, version):
    ann = await room.joined("ann", "#", permissions=WITHOUT, version=version)
    ann.subscribe("chat/a")
    room.hub.flush()
    room.watcher.messages()
    for retain in (False, True):
        for qos in (0, 1, 2):
            ann.publish("$presence/chat/a", b"1", qos=qos, retain=retain)
    room.hub.flush()
    assert room.watcher.messages() == [] and not ann.closed
    token = await room.issue("ann", "#", permissions=EVERYTHING)
    _, connack = room.enter(token, "other", version, will=Will("$presence/chat/a", b"1", retain=True))
    assert connack.reason_code == 0x87


async def test_a_state_is_left_nowhere(room):
    (answer,) = room.member.publish("$presence/chat/a", b"1", qos=1, retain=True)
    assert isinstance(answer, Puback) and answer.reason_code == 0x87
    stir(room)
    late = await room.joined("zoe", "#", permissions=EVERYTHING)
    late.subscribe("#", "+/#")
    assert late.messages() == []


@pytest.mark.parametrize("covered", ["chat/b", "chat/+/x", "secret/#", "chat"])
async def test_presence_elsewhere_or_on_a_part_opens_nothing(room, covered):
    token = await room.issue("ann", covered, permissions=EVERYTHING)
    ann, _ = room.enter(token)
    assert all(ann.subscribe(f"$presence/{wanted}")[0] == 0x87 for wanted in ("chat/a", "chat/#", "+/a", "#"))
    stir(room)
    assert ann.messages() == []
    bearer = prove(room, token)
    for wanted in ("chat/a", "chat/#", "+/a", "#"):
        with pytest.raises(Forbidden):
            on(room, wanted, bearer)


async def test_http_tells_a_user_without_presence_nothing(room):
    bearer = prove(room, await room.issue("ann", "#", permissions=WITHOUT))
    with pytest.raises(Forbidden):
        on(room, "chat/a", bearer)
    with pytest.raises(Forbidden):
        of(room, "bob", bearer)


async def test_what_a_user_is_told_names_no_client_no_address_and_no_foreign_topic(room):
    token = await room.issue("ann", "chat/#", permissions=EVERYTHING)
    ann, _ = room.enter(token)
    assert ann.subscribe("$presence/chat/#") == [0]
    stir(room)
    room.member.link.lost()
    room.hub.flush()
    told = b"".join(message.payload for message in ann.messages())
    assert all(kind in told for kind in (b"snapshot", b"update", b"leave"))
    assert not any(hidden in told for hidden in (b"telltale", b"127.0.0.1", b"secret", b"hush"))


def prove(room, token) -> Bearer:
    return room.services.bearers.prove(token.text, origin=None, now=room.clock.now)


def on(room, topic_filter, caller):
    org_id = room.organization.id
    return room.services.presence.on(topic_filter, caller=caller, org_id=org_id, limit=None, cursor=None)


def of(room, user_id, caller):
    org_id = room.organization.id
    return room.services.presence.of(user_id, caller=caller, org_id=org_id, limit=None, cursor=None)
