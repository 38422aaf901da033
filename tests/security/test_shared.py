"""Shared subscriptions: who is a member, who gets what another did not, what a group costs (V-35, Q26)."""

from __future__ import annotations

import itertools

import pytest

from tokenmq.access.decide import Decision, Scope
from tokenmq.broker.shared import Candidates, Group
from tokenmq.mqtt.packets import Puback, Pubrec
from tokenmq.topics.filter import covers

SHARE = "$share/g/chat/#"
LEVELS = ("a", "+", "#", "")
LASTING = {"clean_start": False, "session_expiry_interval": 600}


def filters(depth):
    for count in range(1, depth + 1):
        for levels in itertools.product(LEVELS, repeat=count):
            if "#" not in levels[:-1] and levels != ("",):
                yield "/".join(levels)


def payloads(client, *, acknowledge=True):
    messages = client.messages()
    if acknowledge:
        for message in messages:
            if message.qos:
                client.send((Puback if message.qos == 1 else Pubrec)(message.packet_id))
    return [message.payload for message in messages]


async def member(instance, user_id, topic="chat/#", share=SHARE, qos=1):
    token = await instance.issue(user_id, topic)
    return await instance.lasting(token, share, client_id=f"c-{user_id}", qos=qos)


# $share/<group>/ is nothing to rights


async def test_v35_a_shared_filter_is_admitted_where_its_filter_is_and_nowhere_else(instance):
    """Every filter of a small grid, under every grant of it, plain and shared, against `covers`."""
    grid = list(filters(2))
    for number, grant in enumerate(grid):
        client = await instance.joined(f"u{number}", grant)
        for topic_filter in grid:
            wanted = 0 if covers(grant, topic_filter) else 0x87
            assert client.subscribe(topic_filter, f"$share/g/{topic_filter}") == [wanted, wanted], (
                grant,
                topic_filter,
            )
            client.link.outbox.session.tenant.routes.end_all()
            for one in (topic_filter, f"$share/g/{topic_filter}"):
                subscription = client.session.subscriptions.pop(one, None)
                if subscription is not None:
                    client.session.tenant.routes.unsubscribe(subscription)


@pytest.mark.parametrize(
    ("topic_filter", "code"),
    [
        ("$share/g", 0x8F),
        ("$share/g/", 0x8F),
        ("$share//chat/a", 0x8F),
        ("$share/+/chat/a", 0x8F),
        ("$share/#/chat/a", 0x8F),
        ("$share/g/$share/h/chat/a", 0x8F),
        ("$share/g/$SYS/a", 0x87),
        ("$share/g/$auth/events", 0x87),
        ("$SHARE/g/chat/a", 0x87),
        ("$shared/g/chat/a", 0x87),
        ("$queue/chat/a", 0x87),
    ],
)
async def test_q26_ruling_4_what_is_no_share_opens_nothing(instance, topic_filter, code):
    client = await instance.joined("ann", "#")
    assert client.subscribe(topic_filter) == [code]


async def test_q26_groups_of_two_organizations_have_nothing_in_common(instance):
    other, key = await instance.other_organization()
    here = await instance.joined("ann")
    foreign, _ = instance.enter(await instance.issue("ann", organization=other, key=key), "c-ann")
    talker = await instance.joined("bob")
    for client in (here, foreign):
        assert client.subscribe(SHARE, qos=1) == [1]
    for number in range(6):
        talker.publish("chat/a", b"%d" % number, 1)
    assert payloads(here) == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert payloads(foreign) == []


async def test_q21_leaving_a_group_is_leaving_that_group_alone(instance):
    ann, bob = await instance.joined("ann"), await instance.joined("bob")
    for client in (ann, bob):
        client.subscribe("chat/#", SHARE, "$share/h/chat/#")
    tenant = ann.session.tenant
    ann.link.lost()
    assert len(bob.session.subscriptions) == 3
    assert len(tenant.routes.route("chat/a").groups) == 2
    assert [len(one.group.members) for one in tenant.routes.route("chat/a").groups] == [1, 1]


# Never to one that lost the right


async def test_ruling_1_a_member_with_fewer_rights_is_passed_over(instance):
    ann, bob = await member(instance, "ann"), await member(instance, "bob")
    talker = await instance.joined("cat")
    narrower = await instance.issue("ann", "chat/a")
    ann, _ = instance.enter(narrower, "c-ann", **LASTING)
    for number in range(10):
        await instance.publish(talker, "chat/b", b"%d" % number)
    assert payloads(ann) == []
    assert payloads(bob) == [b"%d" % number for number in range(10)]


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("sent", [False, True])
async def test_what_a_member_may_not_have_any_more_goes_to_one_that_may(instance, sent, qos):
    """At QoS 2 not what was sent: the member may have it."""
    ann = await member(instance, "ann", qos=qos)
    if not sent:
        ann.link.lost()
    talker = await instance.joined("cat")
    for topic in ("chat/a", "chat/b"):
        await instance.publish(talker, topic, topic.encode(), qos=qos)
    assert payloads(ann, acknowledge=False) == ([b"chat/a", b"chat/b"] if sent else [])
    bob = await member(instance, "bob", qos=qos)
    assert payloads(bob) == []
    ann, _ = instance.enter(await instance.issue("ann", "chat/a"), "c-ann", **LASTING)
    assert payloads(ann) == []
    await instance.kept()
    assert payloads(bob) == ([] if sent and qos == 2 else [b"chat/a", b"chat/b"])
    await instance.restart()
    ann, _ = instance.enter(await instance.issue("ann", "chat/#"), "c-ann", **LASTING)
    assert payloads(ann) == []


@pytest.mark.parametrize("connected", [False, True])
async def test_what_a_revoked_member_had_not_acknowledged_goes_to_one_that_may_have_it(instance, connected):
    ann = await member(instance, "ann")
    talker = await instance.joined("cat")
    if not connected:
        ann.link.lost()
    for topic in ("chat/a", "chat/b"):
        await instance.publish(talker, topic, topic.encode())
    narrow = await member(instance, "dan")
    narrow, _ = instance.enter(await instance.issue("dan", "chat/a"), "c-dan", **LASTING)
    bob = await member(instance, "bob")
    await instance.revoke(user_id="ann")
    await instance.kept()
    assert payloads(narrow) + payloads(bob) == [b"chat/a", b"chat/b"]


async def test_a_revoked_member_gets_nothing_of_what_waits_for_the_store(instance):
    ann, bob = await member(instance, "ann"), await member(instance, "bob")
    talker = await instance.joined("cat")
    instance.store.waits = True
    for number in range(4):
        talker.publish("chat/a", b"%d" % number, 1)
    await instance.revoke(user_id="ann")
    instance.store.go_on()
    await instance.kept()
    assert payloads(ann) == []
    assert payloads(bob) == [b"0", b"1", b"2", b"3"]
    assert [answer.reason_code for answer in talker.received()] == [0] * 4


async def test_a_member_that_narrows_while_a_message_waits_for_the_store_does_not_get_it(instance):
    ann, bob = await member(instance, "ann"), await member(instance, "bob")
    talker = await instance.joined("cat")
    narrower = await instance.issue("ann", "chat/a")
    instance.store.waits = True
    for number in range(4):
        talker.publish("chat/b", b"%d" % number, 1)
    ann, _ = instance.enter(narrower, "c-ann", **LASTING)
    instance.store.go_on()
    await instance.kept()
    assert payloads(ann) == []
    assert payloads(bob) == [b"0", b"1", b"2", b"3"]


async def test_if_no_member_may_have_it_nobody_gets_it(instance):
    ann = await member(instance, "ann")
    ann.link.lost()
    talker = await instance.joined("cat")
    await instance.publish(talker, "chat/b")
    ann, _ = instance.enter(await instance.issue("ann", "chat/a"), "c-ann", **LASTING)
    assert payloads(ann) == []
    assert instance.hub.broker.counters.withheld == 1
    assert not ann.session.backlog.deliveries


# What a group costs


@pytest.fixture
def asked(monkeypatch):
    """Count how often somebody is asked for a right to a topic."""
    calls = []
    on_topic = Scope.on_topic
    monkeypatch.setattr(Scope, "on_topic", lambda *args: calls.append(1) or on_topic(*args))
    return calls


async def crowd(instance, count):
    """Let so many sessions of one user join the group."""
    token = await instance.issue("bob")
    clients = [instance.enter(token, f"b{number}")[0] for number in range(count)]
    for client in clients:
        assert client.subscribe(SHARE, qos=1) == [1]
    return clients


async def test_v87_what_a_member_leaves_behind_does_not_cost_all_members_each_time(instance, asked):
    """A thousand messages, each on a topic of its own, and a group of five hundred."""
    ann = await member(instance, "ann")
    ann.link.lost()
    talker = await instance.joined("cat")
    for number in range(1_000):
        talker.publish(f"chat/{number}", b"", 1)
    await instance.kept()
    await crowd(instance, 500)
    asked.clear()
    await instance.revoke(user_id="ann")
    assert len(asked) < 5_000


async def test_v87_topics_of_a_large_group_do_not_cost_all_members_each(instance, asked):
    """Three hundred members, a hundred topics, and somebody who comes and goes with a wildcard."""
    await crowd(instance, 300)
    talker = await instance.joined("cat")
    asked.clear()
    for number in range(100):
        talker.subscribe("chat/#")  # ends the routes of all topics
        talker.publish(f"chat/{number % 10}", b"", 1)
    assert len(asked) < 1_000


async def test_v87_a_message_to_a_large_group_asks_nobody_twice(instance, asked):
    clients = await crowd(instance, 300)
    talker = await instance.joined("cat")
    talker.publish("chat/a", b"", 1)
    asked.clear()
    for _ in range(100):
        talker.publish("chat/a", b"", 1)
    assert len(asked) <= 2 * 100
    assert sum(len(client.messages()) for client in clients) == 101


def test_v74_a_group_whose_members_all_lag_looks_at_each_once_a_message(monkeypatch):
    looks = []

    class Behind:
        connected = True

        @property
        def is_behind(self):
            looks.append(1)
            return True

        @property
        def scope(self):
            return self

        def on_topic(self, permission, topic):
            return Decision(allowed=True, rule="")

    class Member:
        qos = 1
        suspended = False

        def __init__(self):
            self.session = Behind()

    group = Group("g", "chat/#")
    members = [Member() for _ in range(1_000)]
    for member in members:
        group.add(member)
    candidates = Candidates(group, "chat/a", lambda session, subscriptions: (session, subscriptions))
    assert candidates.choose(1) == (members[0].session, [members[0]])
    assert len(looks) == 1_000


async def test_a_group_forgets_who_has_gone(instance):
    clients = await crowd(instance, 50)
    tenant = clients[0].session.tenant
    for client in clients:
        client.link.lost()
    assert not tenant.routes._groups
    assert len(tenant.routes._shared) == 0
