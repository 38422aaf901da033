"""What waits to be recorded, on its way to a store that is slow or fails."""

from __future__ import annotations

import pytest

from tokenmq.access.recording import HistoryRule
from tokenmq.broker.records import HistoryRecord


def written(history, topic):
    """Return the payloads of a topic, in the order in which the store got them, and of their ids."""
    records = [one for one in history.world.kept.all(HistoryRecord) if one.topic == topic]
    assert records == sorted(records, key=lambda one: one.id)
    return [int(one.payload) for one in records]


@pytest.mark.parametrize("flushed", [True, False], ids=["to be read", "with the tick"])
def test_no_save_brings_more_than_a_thousand_records_and_their_order_holds(make_history, flushed):
    history = make_history(HistoryRule("chat/#", 86_400, 2_000))
    alice, bob = history.joined("alice"), history.joined("bob")
    kept = history.world.kept
    kept.waits = True
    for number in range(600):
        for topic in ("chat/a", "chat/b", "chat/c"):
            alice.publish(topic, b"%d" % number)
    kept.saves = kept.most = 0
    if flushed:
        history.read(bob, "chat/#", count=10)
    else:
        history.tick()
    kept.waits = False
    kept.go_on()
    assert (kept.saves, kept.most) == (2, 1_000)
    for topic in ("chat/a", "chat/b", "chat/c"):
        assert written(history, topic) == list(range(600))


def test_saves_that_fail_one_after_the_other_are_made_again_in_order(make_history):
    history = make_history(HistoryRule("chat/#", 86_400, 2_000))
    alice = history.joined("alice")
    kept = history.world.kept
    kept.waits = True
    for number in range(1_500):
        alice.publish("chat/a", b"%d" % number)
    history.tick()
    kept.fails = True
    kept.go_on(1)
    alice.publish("chat/a", b"1500")
    kept.go_on(1)
    kept.fails = kept.waits = False
    history.tick()
    assert written(history, "chat/a") == list(range(1_501))


def test_oldest_goes_where_too_many_wait_again(make_history):
    history = make_history(HistoryRule("chat/#", 86_400, 1_200))
    alice = history.joined("alice")
    kept = history.world.kept
    kept.waits = True
    for number in range(1_200):
        alice.publish("chat/a", b"%d" % number)
    history.tick()
    for number in range(1_200, 1_300):
        alice.publish("chat/a", b"%d" % number)
    kept.fails = True
    kept.go_on(2)
    kept.fails = kept.waits = False
    history.tick()
    assert written(history, "chat/a") == list(range(100, 1_300))
    assert max(one.lost for one in history.kept()) == history.kept()[0].id - 64


def test_what_waits_is_taken_once_a_second(make_history):
    history = make_history(HistoryRule("chat/#", 86_400, 2_000))
    alice, world = history.joined("alice"), history.world
    alice.publish("chat/a", b"0")
    history.tick()
    alice.publish("chat/a", b"1")
    world.clock.advance(0.75)
    world.tick()
    assert written(history, "chat/a") == [0]
    world.clock.advance(0.25)
    world.tick()
    assert written(history, "chat/a") == [0, 1]
    alice.publish("chat/a", b"2")
    world.clock.advance(-3_600)  # somebody has set the clock
    world.tick()
    assert written(history, "chat/a") == [0, 1, 2]


def test_what_is_lost_is_told_up_to_the_newest_when_older_ones_go_after_it(make_history):
    history = make_history(HistoryRule("chat/#", 86_400, 10))
    alice = history.joined("alice")
    kept = history.world.kept
    kept.waits = True
    for number in range(10):
        alice.publish("chat/a", b"%d" % number)
    history.tick()
    for number in range(10, 35):
        alice.publish("chat/a", b"%d" % number)
    kept.fails = True
    kept.go_on(1)
    kept.fails = kept.waits = False
    history.tick()
    assert written(history, "chat/a") == list(range(25, 35))
    assert max(one.lost for one in history.kept()) == history.kept()[0].id - 64
