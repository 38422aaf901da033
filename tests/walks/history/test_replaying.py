"""SUBSCRIBE with history: what comes first, what comes then, and how it says what it is."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from tokenmq.access.permission import Permission
from tokenmq.access.policy import Policy
from tokenmq.access.recording import HistoryRule
from tokenmq.access.rules import Effect, Rule
from tokenmq.mqtt.packets import Puback, Pubcomp, Publish, Pubrec, Subscribe
from tokenmq.mqtt.packets.subscribe import Subscription

NOW = 1_800_000_000.0
ORG = "org_aaaaaaaaaaaa"


def payloads(packets):
    return [packet.payload for packet in packets if isinstance(packet, Publish)]


def told(packet):
    """Return what a message says of itself to those who read history."""
    prefix = "tokenmq-history-"
    return {
        name.removeprefix(prefix): value for name, value in packet.user_properties if name.startswith(prefix)
    }


def ids(packets):
    return [int(told(packet)["id"]) for packet in packets if isinstance(packet, Publish)]


def test_replay_comes_behind_suback_oldest_first_and_before_live_messages(history):
    alice = history.joined("alice")
    for number in range(5):
        alice.publish("chat/a", b"%d" % number)
    bob = history.joined("bob")
    history.waits = True
    suback, nothing = history.read(bob, "chat/#", count=3)
    assert (suback.reason_codes, nothing) == ((0,), [])
    assert suback.user_properties == (("tokenmq-history-recorded", "true"),)
    alice.publish("chat/a", b"live")
    assert bob.received() == []
    history.waits = False
    history.go_on()
    history.turn()
    came = bob.received()
    assert payloads(came) == [b"2", b"3", b"4", b"live"]
    assert ids(came) == sorted(ids(came))


def test_message_says_id_time_and_user_replayed_and_live(history):
    alice = history.joined("alice")
    history.world.clock.advance(0.25)
    alice.publish("chat/a", b"old", user_properties=(("mine", "1"),))
    bob = history.joined("bob")
    _, (old,) = history.read(bob, "chat/#", count=3)
    alice.publish("chat/a", b"new", qos=1)
    (new,) = bob.received()
    at = "2027-01-15T08:00:00.250Z"
    for packet in (old, new):
        assert told(packet) == {"id": told(packet)["id"], "at": at, "user": "alice"}
    assert old.user_properties[0] == ("mine", "1")


def test_plain_subscription_and_older_protocol_are_told_nothing(history):
    alice = history.joined("alice")
    plain = history.joined("plain")
    old = history.joined("old", version=4)
    plain.subscribe("chat/#")
    old.subscribe("$history/5/chat/#")
    alice.publish("chat/a", b"x")
    (one,) = plain.received()
    (other,) = old.received()
    assert one.user_properties == ()
    assert other.topic == "$history/5/chat/a"


def test_history_filter_replays_and_delivers_under_its_own_topic(history):
    alice = history.joined("alice")
    for number in range(3):
        alice.publish("chat/a", b"%d" % number)
    bob = history.joined("bob", version=4)
    _, came = history.read(bob, "$history/2/chat/+")
    alice.publish("chat/a", b"live")
    assert [(one.topic, one.payload) for one in came + bob.received()] == [
        ("$history/2/chat/a", b"1"),
        ("$history/2/chat/a", b"2"),
        ("$history/2/chat/a", b"live"),
    ]


def test_plain_and_history_subscription_get_a_copy_each(history):
    alice = history.joined("alice")
    bob = history.joined("bob")
    bob.subscribe("chat/#")
    bob.subscribe("$history/0/chat/#", "$history/7/chat/a")
    alice.publish("chat/a", b"x", qos=1)
    assert sorted(packet.topic for packet in bob.received()) == [
        "$history/0/chat/a",
        "$history/7/chat/a",
        "chat/a",
    ]


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"count": 2}, [b"2", b"3"]),
        ({"count": 0}, []),
        ({"since": int(NOW) + 2}, [b"2", b"3"]),
        ({"since": "2027-01-15T08:00:01Z"}, [b"1", b"2", b"3"]),
        ({"since": "2027-01-15T09:00:01+01:00", "count": 1}, [b"3"]),
    ],
)
def test_what_is_asked_for(history, properties, expected):
    alice = history.joined("alice")
    for number in range(4):
        alice.publish("chat/a", b"%d" % number)
        history.world.clock.advance(1)
    _, came = history.read(history.joined("bob"), "chat/#", **properties)
    assert payloads(came) == expected


def test_after_an_id_comes_what_is_greater(history):
    alice, bob = history.joined("alice"), history.joined("bob")
    for number in range(4):
        alice.publish("chat/a", b"%d" % number)
    _, came = history.read(bob, "chat/#", count=10)
    second = ids(came)[1]
    _, came = history.read(bob, "chat/#", after=second)
    assert payloads(came) == [b"2", b"3"]
    assert "gap" not in told(came[0])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tokenmq-history", "many"),
        ("tokenmq-history", "-1"),
        ("tokenmq-history", "1" * 17),
        ("tokenmq-history-since", "yesterday"),
        ("tokenmq-history-since", "2027-01-15T08:00:00"),
        ("tokenmq-history-since", "nan"),
        ("tokenmq-history-after", "x"),
        ("tokenmq-history-from", "1"),
    ],
)
def test_bad_value_is_refused_with_a_reason(history, name, value):
    bob = history.joined("bob")
    asked = ((name, value),)
    bob.send(Subscribe(packet_id=1, subscriptions=(Subscription("chat/a"),), user_properties=asked))
    (suback,) = bob.received()
    assert suback.reason_codes == (0x83,)
    assert name in suback.reason_string


@pytest.mark.parametrize(
    "topic_filter", ["$history/x/chat/a", "$history/01/chat/a", "$history/5", "$history//a"]
)
def test_bad_history_filter_is_malformed(history, topic_filter):
    suback, _ = history.read(history.joined("bob"), topic_filter)
    assert suback.reason_codes == (0x8F,)


def test_history_cannot_be_shared(history):
    bob = history.joined("bob")
    suback, _ = history.read(bob, "$share/g/chat/a", count=5)
    assert suback.reason_codes == (0x8F,)
    suback, _ = history.read(bob, "$share/g/$history/5/chat/a")
    assert suback.reason_codes == (0x8F,)


@pytest.mark.parametrize("permissions", [("publish", "subscribe"), ("publish", "history"), ("publish",)])
def test_without_a_right_it_is_refused(history, permissions):
    bob = history.joined("bob", permissions=permissions)
    for topic_filter, properties in (("chat/a", {"count": 5}), ("$history/5/chat/a", {})):
        suback, came = history.read(bob, topic_filter, **properties)
        assert (suback.reason_codes, came) == ((0x87,), [])


def test_wider_than_its_grant_is_refused(history):
    bob = history.joined("bob", "chat/a")
    assert history.read(bob, "chat/#", count=5)[0].reason_codes == (0x87,)
    assert history.read(bob, "$history/5/chat/#")[0].reason_codes == (0x87,)


def test_what_is_not_recorded_is_said_so_and_live_messages_say_no_id(history):
    alice = history.joined("alice", "other/#")
    bob = history.joined("bob", "other/#")
    suback, came = history.read(bob, "other/#", count=5)
    assert suback.user_properties == (("tokenmq-history-recorded", "false"),)
    alice.publish("other/a", b"x")
    (live,) = bob.received()
    assert (came, told(live)) == ([], {})


def test_rule_with_an_age_hides_what_is_older(history):
    alice = history.joined("alice")
    alice.publish("chat/a", b"old")
    history.world.clock.advance(100)
    alice.publish("chat/a", b"new")
    history.rule(HistoryRule("chat/#", 50, 100))
    assert payloads(history.read(history.joined("bob"), "chat/#", count=5)[1]) == [b"new"]
    history.rule(HistoryRule("chat/b", 50, 100))
    assert history.read(history.joined("carol"), "chat/#", count=5)[1] == []


def test_expired_message_is_not_replayed_and_a_living_one_is_counted_down(history):
    alice = history.joined("alice")
    alice.publish("chat/a", b"short", message_expiry_interval=5)
    alice.publish("chat/a", b"long", message_expiry_interval=50)
    history.world.clock.advance(10)
    _, (came,) = history.read(history.joined("bob"), "chat/#", count=5)
    assert (came.payload, came.message_expiry_interval) == (b"long", 40)


def test_replay_at_qos_1_keeps_to_the_window(make_history):
    history = make_history(HistoryRule("chat/#", 86_400, 100))
    alice = history.joined("alice")
    for number in range(5):
        alice.publish("chat/a", b"%d" % number, qos=1)
    bob = history.joined("bob", receive_maximum=2)
    _, came = history.read(bob, "chat/#", qos=1, count=5)
    assert payloads(came) == [b"0", b"1"]
    alice.publish("chat/a", b"live", qos=1)
    for number in range(6):
        bob.send(Puback(packet_id=came[number].packet_id))
        history.turn()
        came += bob.received()
        assert len(came) <= number + 3
    assert payloads(came) == [b"0", b"1", b"2", b"3", b"4", b"live"]


def test_paused_link_holds_the_replay_and_what_came_live_waits_behind(history):
    alice = history.joined("alice")
    for number in range(300):
        alice.publish(f"chat/{number % 3}", b"%d" % number)
    bob = history.joined("bob")
    history.waits = True
    history.read(bob, "chat/#", count=1_000)
    bob.link.writing_paused()
    alice.publish("chat/a", b"live")
    history.waits = False
    history.go_on()
    history.turn()
    assert bob.received() == []
    bob.link.writing_resumed()
    history.turn()
    assert payloads(bob.received()) == [b"%d" % number for number in range(300)] + [b"live"]


def test_live_queue_that_overflows_meanwhile_is_told(make_history):
    history = make_history(HistoryRule("chat/#", 86_400, 100), max_queued_messages=3)
    alice, bob = history.joined("alice"), history.joined("bob")
    alice.publish("chat/a", b"old")
    history.waits = True
    history.read(bob, "chat/#", count=10)
    for number in range(5):
        alice.publish("chat/a", b"%d" % number)
    history.waits = False
    history.go_on()
    history.turn()
    came = bob.received()
    assert payloads(came) == [b"old", b"2", b"3", b"4"]
    assert [told(packet).get("gap") for packet in came] == [None, "true", None, None]


def test_after_that_is_gone_is_told_by_the_first_message(make_history):
    history = make_history(HistoryRule("chat/#", 86_400, 2))
    alice, bob = history.joined("alice"), history.joined("bob")
    history.read(bob, "chat/#", count=0)
    for number in range(5):
        alice.publish("chat/a", b"%d" % number)
        history.tick()
    first, *_, last = ids(bob.received())
    _, came = history.read(bob, "chat/#", after=first)
    assert [(one.payload, told(one).get("gap")) for one in came] == [(b"3", "true"), (b"4", None)]
    assert history.read(bob, "chat/#", after=last)[1] == []
    alice.publish("chat/a", b"5")
    assert told(bob.received()[0]).get("gap") is None
    assert history.read(bob, "chat/#", after=last + 6_400)[1] == []
    alice.publish("chat/a", b"6")
    alice.publish("chat/a", b"7")
    assert [told(one).get("gap") for one in bob.received()] == ["true", None]


def test_trimmed_before_it_reached_the_store_is_told_too(make_history):
    history = make_history(HistoryRule("chat/#", 86_400, 2))
    alice, bob = history.joined("alice"), history.joined("bob")
    history.read(bob, "chat/#", count=0)
    alice.publish("chat/b", b"seen")
    (seen,) = ids(bob.received())
    for number in range(5):
        alice.publish("chat/a", b"%d" % number)
    history.tick()
    bob.received()
    assert [record.payload for record in history.kept()] == [b"seen", b"3", b"4"]
    _, came = history.read(bob, "chat/#", after=seen)
    assert [(one.payload, told(one).get("gap")) for one in came] == [(b"3", "true"), (b"4", None)]


@pytest.mark.parametrize(
    ("most", "more", "first"),
    [(2, 2, b"new"), (600, 50, b"50")],
    ids=["all of them", "between two pages of heads"],
)
def test_what_is_trimmed_while_it_is_read_what_there_is_is_told(make_history, most, more, first):
    history = make_history(HistoryRule("chat/#", 86_400, most))
    alice, bob = history.joined("alice"), history.joined("bob")
    history.read(bob, "chat/b", count=0)
    alice.publish("chat/b", b"seen")
    (seen,) = ids(bob.received())
    for number in range(most):
        alice.publish("chat/a", b"%d" % number)
    history.waits = True
    history.read(bob, "chat/a", after=seen)
    history.go_on(1)
    for _ in range(more):
        alice.publish("chat/a", b"new")
    history.tick()
    history.waits = False
    history.go_on()
    history.turn()
    came = bob.received()
    assert (came[0].payload, told(came[0]).get("gap")) == (first, "true")
    assert [told(one).get("gap") for one in came[1:]] == [None] * (len(came) - 1)


def test_after_that_is_older_than_any_rule_is_gone_though_nobody_has_swept(make_history):
    history = make_history(HistoryRule("chat/short", 60, 10), HistoryRule("chat/#", 600, 10))
    alice, bob = history.joined("alice"), history.joined("bob")
    history.read(bob, "chat/a", count=0)
    alice.publish("chat/a", b"seen")
    (seen,) = ids(bob.received())
    history.world.clock.advance(600)
    alice.publish("chat/a", b"new")
    bob.received()
    (new,) = history.read(bob, "chat/a", after=seen)[1]
    assert (new.payload, told(new).get("gap")) == (b"new", None)
    history.world.clock.advance(1)
    (new,) = history.read(bob, "chat/a", after=seen)[1]
    assert (new.payload, told(new).get("gap")) == (b"new", "true")


@pytest.mark.parametrize("is_there", [True, False], ids=["there", "gone"])
def test_history_that_cannot_be_read_is_logged_once_with_whose_it_is_and_why(history, is_there):
    alice, bob = history.joined("alice"), history.joined("bob")
    alice.publish("chat/a", b"old")
    history.waits = history.fails = True
    history.read(bob, "chat/#", count=1)
    if not is_there:
        bob.link.lost()
    with capture_logs() as lines:
        history.go_on()
    assert [line for line in lines if line["event"] == "history_unread"] == [
        {"event": "history_unread", "org_id": ORG, "reason": "the disk is full", "log_level": "info"}
    ]
    if is_there:
        alice.publish("chat/a", b"live")
        (live,) = bob.received()
        assert (live.payload, told(live).get("gap")) == (b"live", "true")


def test_more_than_a_thousand_is_told(make_history):
    history = make_history(HistoryRule("chat/#", 86_400, 2_000))
    alice = history.joined("alice")
    for number in range(1_001):
        alice.publish("chat/a", b"%d" % number)
    _, came = history.read(history.joined("bob"), "chat/#", since=0)
    assert (len(came), came[0].payload, told(came[0])["gap"]) == (1_000, b"1", "true")


def test_retained_copy_that_was_replayed_is_not_sent_again(history):
    alice = history.joined("alice")
    alice.publish("chat/a", b"replayed", retain=True)
    alice.publish("chat/b", b"retained", retain=True)
    alice.publish("chat/a", b"last")
    _, came = history.read(history.joined("bob"), "chat/#", count=2)
    assert [(one.payload, one.retain) for one in came] == [
        (b"retained", False),
        (b"last", False),
        (b"replayed", True),
    ]
    _, came = history.read(history.joined("carol"), "$history/3/chat/#")
    assert [(one.topic, one.payload) for one in came] == [
        ("$history/3/chat/a", b"replayed"),
        ("$history/3/chat/b", b"retained"),
        ("$history/3/chat/a", b"last"),
    ]


@pytest.mark.parametrize("denied", [Permission.HISTORY, Permission.SUBSCRIBE])
def test_denied_messages_are_left_out_one_by_one(history, denied):
    alice = history.joined("alice")
    for topic in ("chat/a", "chat/b", "chat/c"):
        alice.publish(topic, topic.encode())
    deny = Rule("*", (denied,), ("chat/b",), Effect.DENY)
    history.obey(Policy((deny, Rule("*", tuple(Permission), ("#",)))))
    _, came = history.read(history.joined("bob"), "chat/#", count=2)
    assert payloads(came) == [b"chat/a", b"chat/c"]
    _, came = history.read(history.joined("carol"), "$history/2/chat/#")
    assert payloads(came) == [b"chat/a", b"chat/c"]


def test_right_to_read_that_is_denied_on_a_topic_keeps_its_ids_and_its_copies_back(history):
    alice, bob = history.joined("alice"), history.joined("bob")
    rule = Rule("*", (Permission.HISTORY,), ("chat/b",), Effect.DENY)
    history.obey(Policy((rule, Rule("*", tuple(Permission), ("#",)))))
    history.read(bob, "chat/#", count=2)
    history.read(bob, "$history/2/chat/#")
    alice.publish("chat/b", b"x")
    (live,) = bob.received()
    assert (live.topic, told(live)) == ("chat/b", {})


@pytest.mark.parametrize("qos", [1, 2])
def test_replay_keeps_to_the_bytes_that_may_be_under_way(make_history, qos):
    history = make_history(HistoryRule("chat/#", 86_400, 100), max_inflight_bytes=3_000)
    alice = history.joined("alice")
    for number in range(7):
        alice.publish("chat/a", b"%d" % number + bytes(990), qos=2)
    bob = history.joined("bob", session_expiry_interval=600)
    backlog = bob.link.outbox.session.backlog
    _, came = history.read(bob, "chat/#", qos=qos, count=7)
    assert [packet.payload[:1] for packet in came] == [b"0", b"1", b"2"]
    alice.publish("chat/a", b"7", qos=2)
    seen = []
    while came:
        assert backlog._inflight_bytes <= 3_000
        first = came.pop(0)
        seen.append(first.payload[:1])
        bob.send(*[Puback(first.packet_id)] if qos == 1 else [Pubrec(first.packet_id)])
        if qos == 2:
            came += [packet for packet in bob.received() if isinstance(packet, Publish)]
            bob.send(Pubcomp(first.packet_id))
        history.turn()
        came += [packet for packet in bob.received() if isinstance(packet, Publish)]
    assert seen == [b"%d" % number for number in range(8)]
    assert backlog._inflight_bytes == 0


def test_what_is_retained_follows_one_replay_though_another_has_none(history):
    alice = history.joined("alice")
    alice.publish("chat/a", b"kept", retain=True)
    history.world.clock.advance(1)
    bob = history.joined("bob")
    history.waits = True
    history.read(bob, "chat/a", since=int(NOW) + 1)
    history.read(bob, "chat/b", count=1, retain_handling=2)
    history.waits = False
    history.go_on()
    history.turn()
    assert payloads(bob.received()) == [b"kept"]


@pytest.mark.parametrize("lasts", [False, True])
def test_word_of_a_gap_does_not_go_with_a_message_that_is_not_sent(make_history, lasts):
    """The first message that is replayed is too large for its receiver, the second one is not."""
    history = make_history(HistoryRule("chat/#", 86_400, 2))
    alice = history.joined("alice")
    for payload in (b"lost", bytes(2_000), b"fits"):
        alice.publish("chat/a", payload, qos=1)
        history.tick()
    more = {"session_expiry_interval": 600} if lasts else {}
    bob = history.joined("bob", maximum_packet_size=1_000, **more)
    _, (came,) = history.read(bob, "chat/#", qos=1, after=history.kept()[0].id)
    assert came.payload == b"fits"
    assert told(came)["gap"] == "true"


@pytest.mark.parametrize("lasts", [False, True])
def test_message_that_is_too_large_only_with_word_of_a_gap_comes_without(make_history, lasts):
    history = make_history(HistoryRule("chat/#", 86_400, 2))
    alice = history.joined("alice")
    for payload in (b"lost", bytes(860), b"fits"):
        alice.publish("chat/a", payload, qos=1)
        history.tick()
    more = {"session_expiry_interval": 600} if lasts else {}
    bob = history.joined("bob", maximum_packet_size=1_000, **more)
    _, came = history.read(bob, "chat/#", qos=1, after=history.kept()[0].id)
    assert [len(one.payload) for one in came] == [860, 4]
    assert ["gap" in told(one) for one in came] == [False, True]
