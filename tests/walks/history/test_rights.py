"""A right to read that is lost while messages wait: nothing of the history goes with them any more."""

from __future__ import annotations

from typing import Any

import pytest

from tokenmq.access.permission import Permission
from tokenmq.access.policy import Policy
from tokenmq.access.rules import Effect, Rule
from tokenmq.mqtt.packets import Puback, Publish

EVERYTHING = Rule("*", tuple(Permission), ("#",))
NO_HISTORY = Rule("*", (Permission.HISTORY,), ("chat/b",), Effect.DENY)


def told(packet: Publish) -> list[str]:
    """Return what a message says of the history."""
    return [name for name, _ in packet.user_properties if name.startswith("tokenmq-history-")]


@pytest.mark.parametrize("away", [False, True], ids=["window", "away"])
def test_message_that_waits_says_no_id_once_the_right_to_read_is_lost(history: Any, away: bool) -> None:
    history.obey(Policy((EVERYTHING,)))
    alice = history.joined("alice")
    bob = history.joined("bob", session_expiry_interval=600, receive_maximum=1)
    history.read(bob, "chat/#", qos=1, count=1)
    alice.publish("chat/a", b"first", qos=1)
    alice.publish("chat/b", b"second", qos=1)
    (first,) = bob.received()
    assert told(first)
    if away:
        bob.link.lost()
    history.obey(Policy((NO_HISTORY, EVERYTHING)))
    if away:
        bob = history.world.client()
        password = history.world.person("bob", permissions=("publish", "subscribe", "history"))
        again = bob.connect(
            password, "c-bob", clean_start=False, session_expiry_interval=600, receive_maximum=1
        )
        (first,) = [one for one in again if isinstance(one, Publish)]
    bob.send(Puback(packet_id=first.packet_id))
    (second,) = bob.received()
    assert (second.payload, told(second)) == (b"second", [])


def test_what_is_retained_follows_a_replay_that_may_not_go_on(history: Any) -> None:
    history.obey(Policy((EVERYTHING,)))
    alice, bob = history.joined("alice"), history.joined("bob")
    alice.publish("chat/a", b"kept", qos=1, retain=True)
    alice.publish("chat/a", b"said")
    history.waits = True
    _, came = history.read(bob, "chat/#", count=10)
    assert came == []
    history.obey(Policy((Rule("*", (Permission.HISTORY,), ("#",), Effect.DENY), EVERYTHING)))
    history.go_on()
    history.turn()
    alice.publish("chat/a", b"live")
    assert [(one.payload, told(one)) for one in bob.received()] == [(b"kept", []), (b"live", [])]
