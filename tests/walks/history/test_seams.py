"""Where replays meet what comes live: by a subscription that another one replaces, across restarts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tokenmq.access.recording import HistoryRule
from tokenmq.mqtt.packets import Pubcomp, Publish, Pubrec, Pubrel, Suback, Subscribe
from tokenmq.mqtt.packets.subscribe import Subscription


def ask(client: Any, packet_id: int, qos: int = 0, topic_filter: str = "chat/#") -> None:
    """Send a SUBSCRIBE that asks for everything."""
    client.send(
        Subscribe(
            packet_id=packet_id,
            subscriptions=(Subscription(topic_filter, qos=qos),),
            user_properties=(("tokenmq-history", "1000"),),
        )
    )


def seen(packets: Iterable[Any]) -> list[bytes | int]:
    """Return payloads, and the packet identifiers of SUBACKs, in order."""
    return [
        one.payload if isinstance(one, Publish) else one.packet_id
        for one in packets
        if isinstance(one, Publish | Suback)
    ]


def gaps(packets: Iterable[Any]) -> list[bytes]:
    """Return the payloads of messages that say that something is missing."""
    return [
        one.payload
        for one in packets
        if isinstance(one, Publish) and ("tokenmq-history-gap", "true") in one.user_properties
    ]


@pytest.mark.parametrize("again", [1, 2])
def test_live_message_waits_for_the_replay_that_takes_the_place_of_one(history, again):
    alice, bob = history.joined("alice"), history.joined("bob")
    alice.publish("chat/a", b"old")
    history.waits = True
    ask(bob, 1)
    alice.publish("chat/a", b"live")
    for _ in range(again):
        ask(bob, 2)
    history.go_on()
    history.waits = False
    history.turn()
    assert seen(bob.received()) == [1, *[2] * again, b"old", b"live"]


def test_filter_that_is_named_twice_is_replayed_once(history):
    alice, bob = history.joined("alice"), history.joined("bob")
    alice.publish("chat/a", b"old")
    _, came = history.read(bob, "chat/#", "chat/#", count=10)
    alice.publish("chat/a", b"live")
    assert seen(came + bob.received()) == [b"old", b"live"]


def test_plain_subscription_lets_through_what_a_replay_held_up(history):
    alice, bob = history.joined("alice"), history.joined("bob")
    alice.publish("chat/a", b"old")
    history.waits = True
    ask(bob, 1)
    alice.publish("chat/a", b"live")
    came = bob.subscribe("chat/#")
    history.go_on()
    alice.publish("chat/a", b"more")
    assert [one for one in seen(came + bob.received()) if isinstance(one, bytes)] == [b"live", b"more"]


def test_what_came_live_while_a_subscription_was_being_kept_is_not_replayed(history):
    alice = history.joined("alice")
    bob = history.joined("bob", session_expiry_interval=600)
    history.read(bob, "chat/#", count=10)
    history.world.kept.waits = True
    ask(bob, 9)
    alice.publish("chat/a", b"live")
    history.world.kept.waits = False
    history.world.kept.go_on()
    history.turn()
    assert seen(bob.received()) == [b"live", 9]


def test_what_came_before_the_first_of_two_subscriptions_was_kept_is_replayed(history):
    """The first one's connection is gone by the time that it is in force: it replays nothing."""
    alice = history.joined("alice")
    bob = history.joined("bob", session_expiry_interval=600)
    history.world.kept.waits = True
    ask(bob, 1)
    bob.link.lost()
    bob = history.world.client()
    password = history.world.person("bob", permissions=("subscribe", "history"))
    bob.connect(password, "c-bob", clean_start=False, session_expiry_interval=600)
    ask(bob, 2)
    alice.publish("chat/a", b"before")
    history.world.kept.waits = False
    history.world.kept.go_on()
    history.turn()
    assert seen(bob.received()) == [2, b"before"]


@pytest.mark.parametrize("asks", [True, False], ids=["replayed", "retained"])
def test_identifier_of_a_qos_2_message_is_not_forgotten_with_the_process(history, asks):
    """Its receiver takes the next message under it for the same one."""
    alice = history.joined("alice")
    alice.publish("chat/a", b"old", qos=2, retain=not asks)
    history.tick()
    bob = history.joined("bob", session_expiry_interval=600)
    if asks:
        ask(bob, 1, qos=2)
    else:
        bob.send(Subscribe(packet_id=1, subscriptions=(Subscription("chat/#", qos=2),)))
    (old,) = [one for one in bob.received() if isinstance(one, Publish)]
    history.restart()
    bob = history.world.client()
    password = history.world.person("bob", permissions=("subscribe", "history"))
    again = bob.connect(password, "c-bob", clean_start=False, session_expiry_interval=600)
    history.joined("alice").publish("chat/a", b"new", qos=2)
    history.turn()
    held = {old.packet_id: old.payload}
    came = [one for one in again + bob.received() if isinstance(one, Publish)]
    assert [one.payload for one in came] == [b"old", b"new"]
    for one in came:
        assert held.setdefault(one.packet_id, one.payload) == one.payload


def test_retained_messages_at_qos_2_wait_for_a_slow_store_and_for_the_window(history):
    alice = history.joined("alice")
    topics = [f"chat/{number}" for number in range(10)]
    for topic in topics:
        alice.publish(topic, topic.encode(), qos=2, retain=True)
    bob = history.joined("bob", session_expiry_interval=600, receive_maximum=3)
    bob.send(Subscribe(packet_id=1, subscriptions=(Subscription("chat/#", qos=2),)))
    kept = history.world.kept
    kept.waits = True
    came: list[bytes] = []
    for _ in range(40):
        packets = bob.received()
        came += [one.payload for one in packets if isinstance(one, Publish)]
        bob.send(*(Pubrec(packet_id=one.packet_id) for one in packets if isinstance(one, Publish)))
        bob.send(*(Pubcomp(packet_id=one.packet_id) for one in packets if isinstance(one, Pubrel)))
        history.turn()
        kept.go_on()
    assert sorted(came) == sorted(topic.encode() for topic in topics)


def test_gap_is_told_behind_what_the_store_did_not_take(history):
    alice, bob = history.joined("alice"), history.joined("bob")
    alice.publish("chat/a", b"old")
    history.tick()
    history.world.kept.fails = True
    alice.publish("chat/a", b"missing")
    _, came = history.read(bob, "chat/#", count=10)
    alice.publish("chat/a", b"live")
    came += bob.received()
    assert seen(came) == [b"old", b"live"]
    assert gaps(came) == [b"live"]


def test_gap_is_told_where_what_is_missing_is_older(make_history):
    """A durable message is in the store before others that came earlier."""
    history = make_history(
        HistoryRule("chat/durable", 86_400, 100, durable=True), HistoryRule("chat/#", 86_400, 100)
    )
    alice, bob = history.joined("alice"), history.joined("bob")
    alice.publish("chat/a", b"missing")
    alice.publish("chat/durable", b"kept", qos=1)
    alice.publish("chat/a", b"missing, too")
    history.world.kept.fails = True
    _, came = history.read(bob, "chat/#", count=10)
    assert seen(came) == gaps(came) == [b"kept"]


def test_gap_is_told_of_what_the_store_takes_too_late(history):
    """What it did not take at first is on its way to it again while it is read what is there."""
    alice, bob, carol, dora = (history.joined(name) for name in ("alice", "bob", "carol", "dora"))
    kept = history.world.kept
    kept.waits = True
    alice.publish("chat/a", b"missing")
    ask(carol, 1)
    alice.publish("chat/a", b"there")
    ask(bob, 1)
    kept.fails = True
    kept.go_on(1)
    kept.fails = False
    ask(dora, 1)  # for whom it is given to the store once more
    kept.go_on(1)  # what is there for bob is read
    kept.go_on()
    history.turn()
    came = bob.received()
    assert seen(came) == [1, b"there"]
    assert gaps(came) == [b"there"]


def test_shared_message_waits_for_the_replay_that_had_begun_before(history):
    """A session that does not outlive its connection gets messages one by one from there on."""
    alice, bob = history.joined("alice"), history.joined("bob")
    alice.publish("chat/a", b"before")
    history.waits = True
    ask(bob, 1, topic_filter="chat/a")
    bob.send(Subscribe(packet_id=2, subscriptions=(Subscription("$share/all/chat/b", qos=1),)))
    alice.publish("chat/b", b"live", qos=1)
    history.waits = False
    history.go_on()
    history.turn()
    assert seen(bob.received()) == [1, 2, b"before", b"live"]
