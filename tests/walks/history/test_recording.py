"""What waits to be recorded, as runs or one by one, and its way to a store that is slow or fails."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenmq.access.recording import HistoryRule
from tokenmq.broker import lane
from tokenmq.broker.records import HistoryRecord
from tokenmq.mqtt.packets import Puback, Publish


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


def test_what_waits_is_taken_every_two_seconds(make_history):
    history = make_history(HistoryRule("chat/#", 86_400, 2_000))
    alice, world = history.joined("alice"), history.world
    alice.publish("chat/a", b"0")
    history.tick()
    alice.publish("chat/a", b"1")
    world.clock.advance(1.75)
    world.tick()
    assert written(history, "chat/a") == [0]
    world.clock.advance(0.25)
    world.tick()
    assert written(history, "chat/a") == [0, 1]
    alice.publish("chat/a", b"2")
    world.clock.advance(-3_600)  # somebody has set the clock
    world.tick()
    assert written(history, "chat/a") == [0, 1, 2]


# Runs of what is published: topic, QoS, bytes of each, how many, a Message Expiry Interval.
runs = st.lists(
    st.tuples(
        st.sampled_from(("chat/a", "chat/b", "chat/kept", "news/a")),
        st.sampled_from((0, 1)),
        st.integers(0, 3),
        st.integers(1, 9),
        st.sampled_from((None, 60)),
    ),
    max_size=8,
)


def published(run, version, packet_id):
    topic, qos, size, count, expiry = run
    for number in range(count):
        yield Publish(
            topic,
            bytes((65 + number,)) * size,
            qos=qos,
            packet_id=packet_id + number if qos else 0,
            message_expiry_interval=expiry if version == 5 else None,
            user_properties=(("a", "b"),) if version == 5 and size == 3 else (),
        )


def since(record, began):
    """Return a record with its times told from the beginning of its program on."""
    expires_at = None if record.expires_at is None else record.expires_at - began
    return msgspec.structs.replace(record, at=record.at - began, expires_at=expires_at)


@pytest.mark.parametrize("version", [4, 5])
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=runs, at_once=st.integers(1, 4))
def test_the_same_is_recorded_with_lanes_and_without(make_history, version, program, at_once):
    results = []
    for with_lanes in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not with_lanes:
                patch.setattr(lane, "forward", lambda data, pos, *rest: pos)
            history = make_history(
                HistoryRule("chat/kept", 86_400, 5, durable=True),
                HistoryRule("chat/b", 86_400, 3),
                HistoryRule("chat/#", 86_400, 5),
            )
            history.world.kept.waits = True
            began = history.world.clock.now
            alice = history.joined("alice", version=version)
            bob = history.joined("bob", version=version)
            bob.subscribe("#", qos=1)
            history.joined("carol").subscribe("chat/a")
            for start in range(0, len(program), at_once):
                packets = []
                for index, run in enumerate(program[start : start + at_once]):
                    packets += published(run, version, 1 + 10 * index)
                alice.send(*packets)
                came = bob.received()
                bob.send(*(Puback(one.packet_id) for one in came if isinstance(one, Publish) and one.qos))
                if start % 2:
                    history.tick()
                    history.world.kept.go_on()
            history.world.kept.waits = False
            history.world.kept.go_on()
            history.tick()
            results.append([since(one, began) for one in history.kept()])
    assert results[0] == results[1]


def test_run_is_recorded_as_one_under_ids_in_a_row(make_history):
    history = make_history(HistoryRule("chat/#", 86_400, 3))
    alice, bob = history.joined("alice", version=4), history.joined("bob", version=4)
    bob.subscribe("chat/#")
    alice.publish("chat/a", b"0")
    assert alice.link.outbox.session.lanes[b"chat/a"].live
    alice.send(*(Publish("chat/a", b"%d" % number) for number in range(1, 9)))
    history.tick()
    assert written(history, "chat/a") == [6, 7, 8]
    first, second, third = history.kept()
    assert (second.id - first.id, third.id - second.id) == (64, 64)
    assert third.lost == first.id - 64
    assert third.id == history.world.broker.tenants[third.org_id].history.newest


def test_run_for_which_there_are_no_ids_is_passed_on_and_counted_as_lost(make_history):
    history = make_history(HistoryRule("chat/#", 86_400, 3))
    alice, bob = history.joined("alice"), history.joined("bob")
    bob.subscribe("chat/#")
    alice.publish("chat/a", b"0")
    ids = history.world.broker.recorder.ids
    history.has_ids = False
    while ids.next():
        pass
    alice.send(*(Publish("chat/a", b"%d" % number) for number in range(1, 9)))
    assert len(bob.received()) == 9
    history.tick()
    assert written(history, "chat/a") == [0]
    assert history.world.broker.counters.history_lost == 8


def test_who_is_told_ids_gets_a_message_with_its_own(make_history):
    history = make_history(HistoryRule("chat/#", 86_400, 3))
    alice, bob = history.joined("alice"), history.joined("bob")
    history.joined("plain").subscribe("chat/#")
    history.read(bob, "chat/#", count=0)
    alice.send(*(Publish("chat/a", b"x") for _ in range(3)))
    history.tick()
    came = [dict(one.user_properties)["tokenmq-history-id"] for one in bob.received()]
    assert came == [str(one.id) for one in history.kept()]


def test_run_waits_behind_a_message_that_has_its_id_and_is_not_through(make_history):
    history = make_history(
        HistoryRule("chat/kept", 86_400, 9, durable=True), HistoryRule("chat/#", 86_400, 9)
    )
    alice, dora, bob = (history.joined(name) for name in ("alice", "dora", "bob"))
    bob.subscribe("chat/#")
    dora.publish("chat/a", b"0")
    assert dora.link.outbox.session.lanes[b"chat/a"].live
    history.world.kept.waits = True
    alice.publish("chat/kept", b"1", qos=1)
    dora.send(*(Publish("chat/a", b"%d" % number) for number in (2, 3)))
    history.world.kept.waits = False
    history.world.kept.go_on()
    history.tick()
    assert [one.payload for one in bob.received()] == [b"0", b"1", b"2", b"3"]
    assert [one.payload for one in history.kept()] == [b"0", b"1", b"2", b"3"]


def test_durable_message_is_passed_on_and_acknowledged_when_it_is_recorded_each_time(make_history):
    history = make_history(HistoryRule("chat/#", 86_400, 9, durable=True))
    alice, bob = history.joined("alice"), history.joined("bob")
    bob.subscribe("chat/#")
    alice.publish("chat/a", b"0")
    assert [one.payload for one in bob.received()] == [b"0"]
    for packet_id in (1, 2, 3):
        history.world.kept.waits = True
        alice.send(Publish("chat/a", b"x", qos=1, packet_id=packet_id))
        assert (alice.received(), bob.received()) == ([], [])
        history.world.kept.go_on()
        assert [one.packet_id for one in alice.received()] == [packet_id]
        assert [one.payload for one in bob.received()] == [b"x"]


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
