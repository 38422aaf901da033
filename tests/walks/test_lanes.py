"""Lanes change nothing but the time: random programs, with and without, byte by byte.

Packet identifiers of deliveries may differ: acknowledgements that come together free them
together in a lane. That none is given twice is looked at in both.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenmq.broker import lane
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Pingreq, Puback, Pubcomp, Publish, Pubrec, Pubrel, Subscribe, Unsubscribe
from tokenmq.mqtt.packets.subscribe import Subscription

TOPICS = ("chat/a", "chat/b", "chat/a/b", "other/x")
FILTERS = ("chat/#", "chat/a", "chat/+", "chat/b")

publishes = st.builds(
    dict,
    kind=st.just("publish"),
    who=st.integers(0, 3),
    topic=st.sampled_from(TOPICS),
    size=st.sampled_from((0, 1, 5, 130, 20_000)),
    qos=st.sampled_from((0, 1, 2)),
    count=st.integers(1, 12),
    letter=st.sampled_from((b"x", "é".encode(), b"\xff")),
    dup=st.booleans(),
    properties=st.sampled_from(
        ("none", "none", "same", "one differs", "utf-8", "long", "expires", "expired")
    ),
    first_id=st.integers(1, 40),
)
others = st.one_of(
    st.builds(
        dict,
        kind=st.just("subscribe"),
        who=st.integers(0, 3),
        topic_filter=st.sampled_from(FILTERS),
        qos=st.sampled_from((0, 1, 2)),
        no_local=st.booleans(),
        identifier=st.sampled_from((None, None, 7)),
    ),
    st.builds(
        dict, kind=st.just("unsubscribe"), who=st.integers(0, 3), topic_filter=st.sampled_from(FILTERS)
    ),
    st.builds(dict, kind=st.just("acknowledge"), who=st.integers(0, 3), share=st.floats(0, 1)),
    st.builds(
        dict,
        kind=st.sampled_from(("pause", "resume", "leave", "ping", "release", "wait")),
        who=st.integers(0, 3),
    ),
)
programs = st.lists(st.one_of(publishes, publishes, others), min_size=1, max_size=25)


class Runner:
    """Runs a program on a fresh world and remembers everything that each client was sent."""

    def __init__(self, world, versions, seed):
        self.world = world
        self.random = random.Random(seed)
        self.clients = [
            world.joined(f"u{n}", "chat/#", version=version) for n, version in enumerate(versions)
        ]
        self.sent = [bytearray() for _ in self.clients]
        self.unacknowledged = [[] for _ in self.clients]
        self.incomplete = [set() for _ in self.clients]
        self.releasing = [[] for _ in self.clients]
        self.completing = [[] for _ in self.clients]

    def collect(self):
        for n, client in enumerate(self.clients):
            data = bytes(client.transport.written)
            client.transport.written.clear()
            self.sent[n] += data
            pos = 0
            while found := codec.frame(data, pos, 1 << 28):
                packet = codec.decode(found[0], data, found[1], found[2], client.version, from_client=False)
                if isinstance(packet, Publish) and packet.qos:
                    assert packet.packet_id not in self.incomplete[n]  # [MQTT-2.2.1-4] [MQTT311-2.3.1-4]
                    self.incomplete[n].add(packet.packet_id)
                    self.unacknowledged[n].append((packet.packet_id, packet.qos))
                elif isinstance(packet, Pubrec) and packet.reason_code < 0x80:
                    self.releasing[n].append(packet.packet_id)
                elif isinstance(packet, Pubrel):
                    self.completing[n].append(packet.packet_id)
                pos = found[2]

    def step(self, op):
        client = self.clients[op["who"]]
        if client.link.outbox.closed:
            return
        getattr(self, "do_" + op["kind"])(client, op)
        self.collect()

    def do_publish(self, client, op):
        stream = b"".join(
            codec.encode(
                Publish(
                    topic=op["topic"],
                    payload=op["letter"] * (op["size"] // len(op["letter"])) + bytes([n]),
                    qos=op["qos"],
                    dup=op["dup"] and op["qos"] > 0 and n == 2,
                    packet_id=op["first_id"] + n if op["qos"] else 0,
                    **(properties_of(op["properties"], n, op["letter"]) if client.version == 5 else {}),
                ),
                client.version,
            )
            for n in range(op["count"])
        )
        cut = self.random.randrange(len(stream) + 1)
        for part in (stream[:cut], stream[cut:]):
            if part:
                client.send_bytes(part)

    def do_subscribe(self, client, op):
        options = {"no_local": op["no_local"]} if client.version == 5 else {}
        client.send(
            Subscribe(
                packet_id=1,
                subscriptions=(Subscription(op["topic_filter"], qos=op["qos"], **options),),
                subscription_identifier=op["identifier"] if client.version == 5 else None,
            )
        )

    def do_unsubscribe(self, client, op):
        client.send(Unsubscribe(packet_id=2, topic_filters=(op["topic_filter"],)))

    def do_acknowledge(self, client, op):
        n = op["who"]
        waiting = self.unacknowledged[n]
        count = round(len(waiting) * op["share"])
        packets = [Pubcomp(packet_id=packet_id) for packet_id in self.completing[n]]
        packets += [
            (Puback if qos == 1 else Pubrec)(packet_id=packet_id) for packet_id, qos in waiting[:count]
        ]
        self.incomplete[n] -= {*self.completing[n], *(one for one, qos in waiting[:count] if qos == 1)}
        self.completing[n] = []
        del waiting[:count]
        if packets:
            client.send(*packets)

    def do_release(self, client, op):
        releasing = self.releasing[op["who"]]
        if releasing:
            client.send(*(Pubrel(packet_id=packet_id) for packet_id in releasing))
            releasing.clear()

    def do_wait(self, client, op):
        self.world.clock.advance(40)

    def do_pause(self, client, op):
        client.link.writing_paused()

    def do_resume(self, client, op):
        client.link.writing_resumed()

    def do_leave(self, client, op):
        client.link.lost()

    def do_ping(self, client, op):
        client.send(Pingreq())


def properties_of(kind, n, letter):
    if kind == "utf-8" and letter == b"\xff":
        kind = "none"  # an error on purpose has a test of its own
    return {
        "none": {},
        "same": {"content_type": "text/plain", "user_properties": (("a", "1"),)},
        "one differs": {"correlation_data": b"%d" % n},
        "utf-8": {"payload_format_indicator": 1},
        "long": {"content_type": "x" * 200},
        "expires": {"message_expiry_interval": 100, "content_type": "t"},
        "expired": {"content_type": "t", "message_expiry_interval": 10},
    }[kind]


def split(sent, version):
    """Return deliveries and answers apart: which of the two stands first is free."""
    deliveries, answers = [], []
    pos = 0
    while found := codec.frame(bytes(sent), pos, 1 << 28):
        first, start, stop = found
        packet = sent[pos:stop]
        if first >> 4 == 3:
            if first & 6:
                at = start - pos + 2 + int.from_bytes(sent[start : start + 2])
                packet[at : at + 2] = b"id"
            deliveries.append(bytes(packet))
        else:
            answers.append(bytes(packet))
        pos = stop
    return deliveries, answers


@pytest.mark.parametrize("versions", [(5, 5, 5, 5), (4, 4, 4, 4), (4, 5, 4, 5)], ids=str)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=programs, seed=st.integers(0, 1_000), window=st.sampled_from((3, 20, 100)))
def test_the_same_bytes_with_lanes_and_without(make_world, versions, program, seed, window):
    results = []
    for with_lanes in (True, False):
        world = make_world(max_inflight=window, max_queued_messages=30)
        with pytest.MonkeyPatch.context() as patch:
            if not with_lanes:
                patch.setattr(lane, "forward", lambda data, pos, *rest: pos)
            runner = Runner(world, versions, seed)
            for op in program:
                runner.step(op)
        counters = {k: v for k, v in world.broker.counters.as_dict().items() if k != "acknowledged"}
        results.append(([split(sent, v) for sent, v in zip(runner.sent, versions, strict=True)], counters))
    assert results[0] == results[1]


def test_a_lane_is_used_and_given_up(world):
    alice, bob = world.joined("alice"), world.joined("bob")
    bob.subscribe("chat/#")
    session = alice.link.outbox.session
    alice.publish("chat/a")
    (kept,) = session.lanes.values()
    assert kept.live
    bob.subscribe("chat/b")
    assert kept.live, "a subscription to another topic ends nothing here"
    bob.subscribe("chat/+")
    assert not kept.live
    alice.publish("chat/a")
    assert session.lanes[b"chat/a"].live
    world.hub.revoke("org_aaaaaaaaaaaa", ["tok_bob_org_aaaaaaaaaaaa"], reason="x", keep_retained=False)
    assert not session.lanes[b"chat/a"].live


def test_a_run_goes_out_in_one_piece_and_one_write(world):
    alice, bob = world.joined("alice", version=4), world.joined("bob", version=4)
    bob.subscribe("chat/#", qos=1)
    alice.publish("chat/a", b"x" * 64)
    bob.received()
    before = bob.transport.writes
    stream = b"".join(
        codec.encode(Publish(topic="chat/a", payload=b"x" * 64, qos=1, packet_id=n), 4) for n in range(1, 51)
    )
    alice.send_bytes(stream)
    assert bob.transport.writes == before + 1
    assert bytes(bob.transport.written) == stream


@pytest.mark.parametrize(
    "raw",
    [
        b"\x30\x89\x00\x00\x06chat/ax",  # a length that is not minimal
        b"\x32\x0b\x00\x06chat/a\x00\x00x",  # packet identifier 0
        b"\x30\x05\x00\x06chat/a",  # the topic runs over the packet
    ],
    ids=["length", "packet id", "topic"],
)
def test_what_is_not_plain_is_left_to_the_full_path(world, raw):
    alice, bob = world.joined("alice", version=4), world.joined("bob", version=4)
    bob.subscribe("chat/#", qos=1)
    alice.publish("chat/a", b"x")
    bob.received()
    alice.send_bytes(raw)
    assert alice.transport.closed
    assert bob.received() == []


def test_a_payload_that_is_not_the_text_it_says_is_refused_in_a_lane_too(world):
    alice, bob = world.joined("alice"), world.joined("bob")
    bob.subscribe("chat/#")
    texts = [b"good", "gut\u00e9"[:3].encode() + b"x", b"\xffbad"]
    stream = b"".join(
        codec.encode(Publish(topic="chat/a", payload=text, payload_format_indicator=1), 5) for text in texts
    )
    alice.publish("chat/a", b"first", payload_format_indicator=1)
    alice.send_bytes(stream)
    assert [packet.payload for packet in bob.received()] == [b"first", b"good", b"gutx"]
    assert alice.received()[-1].reason_code == 0x99


def test_a_packet_over_our_limit_has_no_lane(make_world):
    world = make_world(max_packet_bytes=1_024)
    alice, bob = world.joined("alice", version=4), world.joined("bob", version=4)
    bob.subscribe("chat/#")
    alice.publish("chat/a", b"x")
    bob.received()
    alice.publish("chat/a", b"x" * 2_000)
    assert alice.transport.closed
    assert bob.received() == []
