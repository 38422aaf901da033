"""Sessions that read the history are freed as they end, whatever of it they had not got yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tokenmq.access.permission import Permission
from tokenmq.access.policy import Policy
from tokenmq.access.rules import Effect, Rule
from tokenmq.mqtt.packets import Disconnect, Subscribe, Unsubscribe
from tokenmq.mqtt.packets.subscribe import Subscription

Reader = Callable[..., Any]


def ask(client: Any, topic_filter: str, qos: int) -> None:
    """Subscribe; with user properties where there are such."""
    told = (("tokenmq-history", "10"),) if client.version == 5 and topic_filter[0] != "$" else ()
    client.send(Subscribe(1, (Subscription(topic_filter, qos=qos),), user_properties=told))


def what_there_is_has_come(history: Any, alice: Any, enter: Reader) -> None:
    bob = enter("bob")
    for qos in (0, 1, 2):
        ask(bob, f"$history/{qos + 3}/chat/#", qos)
        ask(bob, "chat/#", qos)
        history.turn()
    bob.link.lost()


def the_store_has_not_answered(history: Any, alice: Any, enter: Reader) -> None:
    bob = enter("bob")
    history.waits = True
    ask(bob, "$history/3/chat/#", 2)
    ask(bob, "chat/#", 1)
    alice.publish("chat/a", b"live", qos=1)
    bob.link.lost()
    history.waits = False
    history.go_on()


def a_page_waits_to_be_kept(history: Any, alice: Any, enter: Reader) -> None:
    bob = enter("bob")
    ask(bob, "chat/none", 2)
    history.world.kept.waits = True
    ask(bob, "$history/3/chat/#", 2)
    alice.publish("chat/a", b"live")
    bob.link.lost()
    history.world.kept.waits = False
    history.world.kept.go_on()


def its_link_takes_nothing(history: Any, alice: Any, enter: Reader) -> None:
    bob = enter("bob", receive_maximum=1) if alice.version == 5 else enter("bob")
    bob.link.writing_paused()
    ask(bob, "$history/3/chat/#", 1)
    ask(bob, "chat/#", 0)
    for _ in range(5):
        alice.publish("chat/a", b"live", qos=1)
    bob.link.lost()


def another_subscription_takes_its_place(history: Any, alice: Any, enter: Reader) -> None:
    bob = enter("bob")
    history.waits = True
    ask(bob, "$history/3/chat/#", 1)
    ask(bob, "$history/3/chat/#", 0)
    bob.send(Unsubscribe(packet_id=2, topic_filters=("$history/3/chat/#",)))
    ask(bob, "chat/#", 1)
    bob.send(Disconnect())
    bob.link.lost()
    history.waits = False
    history.go_on()


def it_is_lost_with_the_right(history: Any, alice: Any, enter: Reader) -> None:
    bob = enter("bob")
    history.waits = True
    ask(bob, "$history/3/chat/#", 1)
    ask(bob, "chat/#", 1)
    everything = Rule("*", tuple(Permission), ("#",))
    history.obey(Policy((Rule("*", (Permission.HISTORY,), ("chat/#",), Effect.DENY), everything)))
    bob.link.lost()
    history.waits = False
    history.go_on()


def its_client_comes_back(history: Any, alice: Any, enter: Reader) -> None:
    first = enter("bob")
    history.waits = True
    ask(first, "$history/3/chat/#", 2)
    second = enter("bob")
    ask(second, "$history/3/chat/#", 2)
    history.waits = False
    history.go_on()
    first.link.lost()
    second.link.lost()


def something_is_missing(history: Any, alice: Any, enter: Reader) -> None:
    """A mark stays with the session: nothing comes that could take it along."""
    bob = enter("bob")
    history.fails = True
    ask(bob, "$history/3/chat/none", 1)
    ask(bob, "chat/none", 0)
    history.turn()
    assert bool(bob.link.outbox.session.marks) == (bob.version == 5)
    bob.link.lost()
    history.fails = False


SCENES = (
    what_there_is_has_come,
    the_store_has_not_answered,
    a_page_waits_to_be_kept,
    its_link_takes_nothing,
    another_subscription_takes_its_place,
    it_is_lost_with_the_right,
    its_client_comes_back,
    something_is_missing,
)


@pytest.mark.parametrize("lasts", [False, True], ids=["ends", "lasts"])
@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_nothing_of_a_reader_is_left_to_the_collector(
    history: Any, collected: Any, scene: Callable[..., None], version: int, lasts: bool
) -> None:
    history.obey(Policy((Rule("*", tuple(Permission), ("#",)),)))
    world = history.world

    def enter(user_id: str, **more: Any) -> Any:
        going_on = {"clean_start": not lasts}
        if lasts and version == 5:
            going_on["session_expiry_interval"] = 600
        client = world.client(version)
        password = world.person(user_id, permissions=("publish", "subscribe", "history"))
        (connack, *_) = client.connect(password, f"c-{user_id}", **going_on, **more)
        assert connack.reason_code == 0
        return client

    with collected() as found:
        alice = enter("alice")
        for number in range(12):
            alice.publish(f"chat/{'ab'[number % 2]}", b"%d" % number, qos=number % 3, retain=number > 9)
        scene(history, alice, enter)
        history.turn()
        alice.link.lost()
        world.clock.advance(world.settings.max_session_expiry_seconds)
        history.tick()
        history.turn()
        del alice, enter
    assert found == {}
    assert not any(tenant.sessions or tenant.history.asking for tenant in world.broker.tenants.values())
