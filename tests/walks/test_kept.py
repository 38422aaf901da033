"""What must not be said before it is kept, and what order holds whatever happens meanwhile."""

import pytest

from tokenmq.broker.records import DeliveryRecord, SessionRecord
from tokenmq.mqtt.packets import Connack, Puback, Pubcomp, Publish, Pubrec, Pubrel, Will

KEPT = {"clean_start": False, "session_expiry_interval": 3_600}
WILL = Will("chat/will", b"gone", will_delay_interval=10)


def comes_back(world, password, client_id, **fields):
    """Connect anew, and return the client and what came at once."""
    client = world.client()
    return client, client.connect(password, client_id, **{**KEPT, **fields})


@pytest.fixture
def alice(world):
    """A password of somebody whose session is kept, with a subscription."""
    password = world.person("alice")
    client, _ = comes_back(world, password, "c-alice")
    client.subscribe("chat/#", qos=2)
    return password


@pytest.fixture
def willing(world, times):
    """A password of somebody whose will is due later, and whose connection is lost."""
    password = world.person("wendy")
    client, _ = comes_back(world, password, "c-wendy", will=WILL)
    client.subscribe("chat/#", qos=1)
    client.link.lost()
    world.tick()
    times.advance(5)
    return password


def test_connack_that_ends_a_session_waits_for_the_store_and_all_else_behind_it(world, alice):
    world.kept.waits = True
    client, packets = comes_back(world, alice, "c-alice", clean_start=True)
    client.publish("chat/a", qos=1)
    assert packets == [] and client.received() == []
    world.kept.go_on()
    assert [type(packet) for packet in client.received()] == [Connack, Puback]


def test_connack_that_calls_off_a_will_waits_for_the_store_and_messages_behind_it(world, willing):
    world.joined("bob").publish("chat/a", qos=1)
    world.kept.waits = True
    client, packets = comes_back(world, willing, "c-wendy")
    world.joined("carol").publish("chat/b", qos=0)
    assert packets == [] and client.received() == []
    world.kept.go_on()
    connack, *messages = client.received()
    assert connack.session_present
    assert sorted(message.topic for message in messages) == ["chat/a", "chat/b"]


def test_a_will_that_was_called_off_does_not_come_after_a_crash(world, willing, times):
    comes_back(world, willing, "c-wendy")
    carol = world.joined("carol")
    carol.subscribe("chat/#")
    world.restart()
    carol = world.joined("carol")
    carol.subscribe("chat/#")
    times.advance(7)  # it was lost 12 seconds ago, and once more 7 seconds ago
    world.tick()
    assert carol.received() == []


@pytest.mark.parametrize("clean_start", [True, False])
def test_connack_that_takes_nothing_back_goes_out_at_once(world, alice, clean_start):
    world.kept.waits = True
    _, new = comes_back(world, world.person("bob"), "c-bob", clean_start=clean_start)
    _, resumed = comes_back(world, alice, "c-alice")
    assert [packet.session_present for packet in new + resumed] == [False, True]


def test_a_session_that_goes_on_is_kept_so_at_once(world, alice):
    comes_back(world, alice, "c-alice")
    assert [record.left_at for record in world.kept.all(SessionRecord)] == [None]


def test_a_crash_before_the_end_of_a_session_is_kept_leaves_its_client_without_an_answer(world, alice):
    world.joined("bob").publish("chat/a", qos=2)
    world.kept.waits = True
    _, packets = comes_back(world, alice, "c-alice", clean_start=True)
    assert packets == []
    world.kept.waits = False
    world.restart()
    client, packets = comes_back(world, alice, "c-alice", clean_start=True)
    assert [packet.session_present for packet in packets] == [False]
    world.restart()
    client, packets = comes_back(world, alice, "c-alice")
    assert [packet.session_present for packet in packets] == [True]
    assert client.received() == [] and not world.kept.all(DeliveryRecord)


def test_who_is_taken_over_before_connack_gets_none(world, alice):
    world.kept.waits = True
    first, _ = comes_back(world, alice, "c-alice", clean_start=True)
    second, _ = comes_back(world, alice, "c-alice", clean_start=True)
    world.kept.go_on()
    assert first.received() == [] and first.transport.closed
    assert [packet.session_present for packet in second.received()] == [False]


def test_connack_goes_out_although_the_store_fails(world, alice):
    world.kept.fails = True
    _, packets = comes_back(world, alice, "c-alice", clean_start=True)
    assert [packet.session_present for packet in packets] == [False]
    world.kept.fails = False
    world.tick()
    assert [record.number for record in world.kept.all(SessionRecord)] == [2]


def test_a_new_connection_brings_no_pubrel_before_it_is_kept(world, alice):
    client, _ = comes_back(world, alice, "c-alice")
    world.joined("bob").publish("chat/a", qos=2)
    (message,) = client.received()
    world.kept.waits = True
    client.send(Pubrec(message.packet_id))
    client, (connack,) = comes_back(world, alice, "c-alice")
    assert connack.session_present and client.received() == []
    world.kept.go_on()
    assert [type(packet) for packet in client.received()] == [Pubrel]


def test_a_pubrel_that_comes_again_ends_one_message_only(world):
    password = world.person("bob")
    client, _ = comes_back(world, password, "c-bob")
    client.publish("chat/a", qos=2, packet_id=1)
    world.kept.waits = True
    client.send(Pubrel(1))
    client, _ = comes_back(world, password, "c-bob")
    client.send(Pubrel(1))
    world.kept.go_on(2)  # the first PUBREL, and that the session goes on
    assert [type(packet) for packet in client.received()] == [Pubcomp]
    client.publish("chat/b", qos=2, packet_id=1)
    world.kept.go_on()
    assert [type(packet) for packet in client.received()] == [Pubrec]


def test_a_message_begun_twice_keeps_its_place(world, alice):
    password = world.person("dave")
    dave, _ = comes_back(world, password, "c-dave")
    bob = world.joined("bob")
    world.kept.waits = True
    dave.subscribe("chat/#", qos=1)
    bob.publish("chat/a", b"first", qos=1)  # not for dave yet
    world.kept.go_on(1)
    bob.publish("chat/a", b"second", qos=1)  # for dave from the start
    world.kept.waits = False
    world.kept.go_on()
    dave.received()
    dave, (_, *again) = comes_back(world, password, "c-dave")
    assert [(message.payload, message.dup) for message in again] == [(b"first", True), (b"second", True)]
    assert all(isinstance(message, Publish) for message in again)


def test_message_that_one_reader_has_to_give_at_the_start_stays_for_another(make_world):
    """The other one is to get it behind what the first one gave it for: it was another member's before."""
    world = make_world()
    going_on = {"clean_start": False, "session_expiry_interval": 600}
    names = ("first", "one", "two")
    for name in names:
        client = world.joined(name, **going_on)
        client.subscribe("chat/#" if name == "first" else "$share/all/chat/a", qos=1)
        client.link.lost()
    alice = world.joined("alice")
    alice.publish("chat/a", bytes(1_000), qos=1)
    for _ in range(4):
        alice.publish("chat/b", bytes(40_000), qos=1)
    (holder,) = (name for name in names[1:] if waiting(world, name))
    (other,) = (name for name in names[1:] if name != holder)
    world.client().connect(world.person(holder), f"c-{holder}")
    world.settings = type(world.settings)(max_all_queued_bytes=100_000)
    for _ in range(2):
        world.restart()
        world.tick()
        assert waiting(world, "first") == [bytes(40_000)] * 2
        assert waiting(world, other) == [bytes(1_000)]


def waiting(world, user_id):
    """Return the payloads that wait for somebody's session."""
    (tenant,) = world.broker.tenants.values()
    return [message.payload for _, message in tenant.sessions[f"c-{user_id}"].backlog.due]
