"""Deny rules hold on every way that a message takes to a receiver (SECURITY 5.2, grid C; V-35, V-36, V-37).

A server, which no policy cuts, publishes on all topics; what of it reaches a user is what the
rules allow and do not deny, judged by an oracle of sets.
"""

from __future__ import annotations

import random

import pytest

from tokenmq.access.permission import Permission
from tokenmq.access.policy import Policy
from tokenmq.access.rules import Effect, Rule
from tokenmq.mqtt.packets import Publish
from tokenmq.tokens.records import OrganizationRecord

ORG = "org_aaaaaaaaaaaa"
ALL = tuple(Permission)
LEVELS = ("a", "b", "c")
TOPICS = [
    f"t{rest}"
    for rest in (
        "",
        *(f"/{one}" for one in LEVELS),
        *(f"/{one}/{two}" for one in LEVELS for two in LEVELS),
        *(f"/a/b/{three}" for three in LEVELS),
    )
]
FILTERS = [
    *("t/#", "t/+", "t/+/+", "t/a", "t/a/#", "t/+/a", "t/+/b/#", "t/a/+", "t/b", "t/b/+", "t/c/#"),
    *("t/+/+/c", "t/a/b", "t/a/b/#", "t", "+/a", "+/+/c", "t/+/#"),
]
SAMPLES = 400


def is_in(topic_filter, topic):
    """MQTT 5 §4.7, for topics without `$`."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if wanted[-1] == "#":
        wanted = wanted[:-1]
        levels = levels[: len(wanted)]
    return len(wanted) == len(levels) and all(a in ("+", b) for a, b in zip(wanted, levels, strict=True))


def samples(seed):
    draw = random.Random(seed)
    for _ in range(SAMPLES):
        yield draw.sample(FILTERS, draw.randint(1, 3)), draw.sample(FILTERS, draw.randint(1, 3))


def rules(allow, deny):
    denying = [Rule("*", (Permission.SUBSCRIBE,), (each,), Effect.DENY) for each in deny]
    return Policy((*denying, Rule("*", ALL, tuple(allow))))


def expected(allow, deny):
    return sorted(
        topic
        for topic in TOPICS
        if any(is_in(each, topic) for each in allow) and not any(is_in(each, topic) for each in deny)
    )


def topics(packets):
    return sorted({packet.topic for packet in packets if isinstance(packet, Publish)})


@pytest.fixture
def run(world):
    """A world with a server that publishes, and users who come under a policy of their own."""
    return Run(world)


class Run:
    def __init__(self, world):
        self.world = world
        self.users = 0
        self.server = world.client()
        password = world.person("server", "#", key_id="key1", life=None)
        assert self.server.connect(password, "server")[0].reason_code == 0

    def obey(self, policy):
        self.world.doors.policy_of = lambda org_id: policy
        record = OrganizationRecord(ORG, "demo", self.world.doors.settings, 1)
        self.world.hub.organization_changed(record)

    def user(self, **fields):
        self.users += 1
        self.password = self.world.person(f"u{self.users}", "#")
        return self.connect(**fields)

    def connect(self, **fields):
        client = self.world.client()
        client.behind = client.connect(self.password, f"c{self.users}", **fields)[1:]
        return client

    def publish(self, **fields):
        for topic in TOPICS:
            self.server.publish(topic, b"x", **fields)


def test_v36_grid_c_live(run):
    for allow, deny in samples(1):
        run.obey(rules(allow, deny))
        user = run.user()
        user.subscribe(*allow)
        run.publish()
        assert topics(user.received()) == expected(allow, deny), (allow, deny)
        user.link.lost()


def test_v35_grid_c_shared(run):
    for allow, deny in samples(2):
        run.obey(rules(allow, deny))
        user = run.user()
        user.subscribe(*(f"$share/g/{each}" for each in allow))
        run.publish()
        assert topics(user.received()) == expected(allow, deny), (allow, deny)
        user.link.lost()


def test_v37_grid_c_retained(run):
    run.publish(retain=True)
    for allow, deny in samples(3):
        run.obey(rules(allow, deny))
        user = run.user()
        run.world.hub.go_on()  # a new turn: what may be looked at in one is bounded
        got = user.subscribe(*allow)
        while more := user.received():
            got += more
        assert topics(got) == expected(allow, deny), (allow, deny)
        user.link.lost()


def test_v37_grid_c_offline_replay_under_a_policy_that_came_meanwhile(run):
    for allow, deny in samples(4):
        run.obey(rules(allow, ()))
        user = run.user(clean_start=False, session_expiry_interval=600)
        user.subscribe(*allow, qos=1)
        user.link.lost()
        run.publish(qos=1)
        run.obey(rules(allow, deny))
        user = run.connect(clean_start=False, session_expiry_interval=600)
        assert topics(user.behind) == expected(allow, deny), (allow, deny)
        user.link.lost()
        run.connect(clean_start=True).link.lost()


def test_v14_grid_c_a_policy_that_is_put_while_connected(run):
    for allow, deny in samples(5):
        run.obey(rules(allow, ()))
        user = run.user()
        user.subscribe(*allow)
        run.obey(rules(allow, deny))
        user.received()
        run.publish()
        assert set(topics(user.received())) <= set(expected(allow, deny)), (allow, deny)
        user.link.lost()


def test_publishers_are_held_to_a_deny_and_their_retained_messages_too(run):
    world = run.world
    denying = Rule("u*", (Permission.PUBLISH,), ("t/a/#",), Effect.DENY)
    run.obey(Policy((Rule("*", ALL, ("#",)),)))
    user = run.user()
    user.publish("t/a", b"mine", qos=1, retain=True)
    user.publish("t/b", b"mine", qos=1, retain=True)
    run.obey(Policy((denying, Rule("*", ALL, ("#",)))))
    (puback,) = user.publish("t/a", b"again", qos=1)
    assert puback.reason_code == 0x87
    reader = world.joined("reader", "#")
    assert topics(reader.subscribe("t/#")) == ["t/b"]


def test_retained_message_of_a_publisher_whose_rule_asks_for_client_id_and_claim(run):
    world = run.world
    policy = Policy(
        (
            Rule("*", (Permission.SUBSCRIBE,), ("#",)),
            Rule("*", (Permission.PUBLISH,), ("d/{client_id}/{claim:t}",)),
        )
    )
    run.obey(policy)
    password = world.person("ann", "#")
    identity = world.doors.identities[password]
    world.doors.identities[password] = type(identity)(
        **{name: getattr(identity, name) for name in identity.__struct_fields__} | {"attrs": {"t": "red"}}
    )
    ann = world.client()
    ann.connect(password, "phone")
    assert ann.publish("d/phone/red", b"x", qos=1, retain=True)[0].reason_code in (0, 0x10)
    assert ann.publish("d/phone/blue", b"x", qos=1, retain=True)[0].reason_code == 0x87
    for _ in range(2):
        assert topics(world.joined("bob", "#").subscribe("d/#")) == ["d/phone/red"]
        world.tick()
        world.restart()
