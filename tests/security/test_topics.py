"""Where a message may go: reserved trees, other tenants, subscriptions that come and go."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenmq.access.permission import Permission
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Publish, Subscribe, Unsubscribe, Will
from tokenmq.mqtt.packets.subscribe import Subscription
from tokenmq.topics.filter import matches

BOTH_VERSIONS = pytest.mark.parametrize("version", [4, 5])
INTERNAL = (
    "$SYS/broker/clients",
    "$SYS",
    "$",
    "$/",
    "$auth/token",
    "$auth/events",
    "$presence/chat/a",
    "$history/10/chat/a",
    "$share/g/chat/a",
    "$queue/chat/a",
    "$CONTROL/dynamic-security/v1",
    "$MQTT/x",
    "$delayed/1/chat/a",
    "$sys/x",
    "$Notifications/ann",
    "$spaces2/x",
    "$notifications\u200b/ann",
)


@BOTH_VERSIONS
@pytest.mark.parametrize("who", ["user", "server"])
async def test_v39_no_internal_tree_is_reached_by_anybody(instance, version, who):
    """Neither with a grant of everything, nor with the organization's own key, by any spelling.

    The key has all four permissions: presence and history are open to it, to look at.
    """
    opened = ("$presence/chat/a", "$history/10/chat/a") if who == "server" else ()
    if who == "user":
        client = await instance.joined("ann", "#", "$spaces/#", version=version)
    else:
        client = instance.client(version)
        client.connect(f"server@{instance.organization.id}", instance.key_text.encode())
    witness = await instance.joined("bob", "#", "$spaces/#")
    witness.subscribe("#", "$spaces/#", "$notifications/channels/#")
    for topic in INTERNAL:
        if version == 5 or topic != "$auth/token":  # who shows no token there is closed in 3.1.1
            answers = client.publish(topic, qos=1)
            assert [getattr(answer, "reason_code", None) for answer in answers] == (
                [0x87] if version == 5 else [0]
            )
        if topic.startswith("$share/"):  # judged by its filter; nobody can publish to it
            continue
        if topic != "$auth/events":
            assert (client.subscribe(topic)[0] < 0x80) is (topic in opened), topic
        assert (client.subscribe(f"{topic}/#")[0] < 0x80) is (topic in opened), topic
    assert witness.topics() == []
    assert not client.closed


async def test_v06_v19_a_will_on_any_reserved_topic_is_refused(instance):
    token = await instance.issue("ann", "#")
    for topic in INTERNAL:
        client, connack = instance.enter(token, will=Will(topic, b"gone"))
        assert connack.reason_code >= 0x80, topic
        assert client.closed


async def test_v21_a_connect_with_a_will_that_is_not_allowed_opens_nothing_at_all(instance):
    token = await instance.issue("ann", "other/#")
    witness = await instance.joined("bob", "#")
    witness.subscribe("#")
    client, connack = instance.enter(token, will=Will("chat/a", b"gone"))
    assert connack.reason_code == 0x87
    assert client.session is None
    client.link.lost()
    assert witness.topics() == []


async def test_v06_everybodys_own_events_are_nobody_elses(instance):
    ann, bob = await instance.joined("ann", "chat/#"), await instance.joined("bob", "chat/#")
    assert ann.subscribe("$auth/events") == [0]
    assert bob.subscribe("$auth/events") == [0]
    bob.link.received(codec.encode(Publish("other"), 5))
    assert bob.topics() == ["$auth/events"]
    assert ann.topics() == []


async def test_v35_a_share_is_no_way_around_a_grant(instance):
    client = await instance.joined("ann", "chat/+")
    filters = ("$share/g/chat/#", "$share/g/other", "$share/g/#", "$share/g/$SYS/#", "$share/g/$auth/events")
    assert client.subscribe(*filters) == [0x87] * 5
    malformed = (
        "$share/g",
        "$share//chat/a",
        "$share/+/chat/a",
        "$share/g/",
        "$share",
        "$share/g/$share/h/chat/a",
    )
    assert all(code in (0x87, 0x8F) for code in client.subscribe(*malformed))
    assert client.session.subscriptions == {}


async def test_two_organizations_share_nothing(instance):
    """Same topics, client ids and user ids, both with a grant of everything."""
    other, key = await instance.other_organization()
    here = await instance.joined("ann", "#", client_id="c")
    token = await instance.issue("ann", "#", organization=other, key=key)
    there, _ = instance.enter(token, "c")
    for client in (here, there):
        assert client.subscribe("#") == [0]
    for client, witness in ((here, there), (there, here)):
        for topic in ("chat/a", f"{other.id}/x", f"{instance.organization.id}/x"):
            client.link.received(codec.encode(Publish(topic), 5))
        assert len(client.topics()) == 3
        assert witness.topics() == []


@pytest.mark.parametrize(
    "name", ["null", "none", "undefined", "global", "default", "system", "$SYS", "org_aaaaaaaaaaaa"]
)
async def test_v68_an_organization_is_its_id_whatever_its_name(instance, name):
    other, key = await instance.other_organization(name)
    token = await instance.issue("ann", organization=other, key=key)
    client, connack = instance.enter(token)
    assert connack.reason_code == 0
    assert client.session.tenant.org_id == other.id != name


@pytest.mark.parametrize("value", ["+", "#", "a/b", "$x", "{user_id}", "x#", "a+b"])
async def test_v01_v80_a_client_id_is_never_part_of_the_grammar(instance, value):
    token = await instance.issue("ann", "chat/{client_id}/#", "chat/fixed")
    client, connack = instance.enter(token, value)
    assert connack.reason_code == 0
    for topic_filter in ("chat/+/#", "chat/#", f"chat/{value}", "chat/a/b", "chat/ann"):
        assert client.subscribe(topic_filter)[0] >= 0x80, topic_filter
    assert client.subscribe("chat/fixed") == [0]


FILTERS = ("chat/#", "chat/+", "chat/a", "chat/+/x", "chat/a/#", "+/a", "#", "other/a")
steps = st.lists(
    st.tuples(st.sampled_from(["subscribe", "unsubscribe", "share", "publish"]), st.sampled_from(FILTERS)),
    min_size=1,
    max_size=30,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=steps)
async def test_v20_q21_any_order_of_subscribing_is_what_a_list_of_filters_would_be(pair, program):
    ann, bob = pair()
    model: set[str] = set()
    shared: set[str] = set()
    for kind, topic_filter in program:
        if kind == "subscribe":
            (answer,) = bob.send(Subscribe(1, (Subscription(topic_filter),)))
            assert list(answer.reason_codes) == [0]
            model.add(topic_filter)
        elif kind == "share":
            (answer,) = bob.send(Subscribe(1, (Subscription(f"$share/g/{topic_filter}"),)))
            assert list(answer.reason_codes) == [0]
            shared.add(topic_filter)
        elif kind == "unsubscribe":
            (answer,) = bob.send(
                Unsubscribe(1, (topic_filter, f"$share/g/{topic_filter}", topic_filter.upper()))
            )
            known = [0 if topic_filter in filters else 0x11 for filters in (model, shared)]
            assert list(answer.reason_codes) == [*known, 0x11]
            model.discard(topic_filter)
            shared.discard(topic_filter)
        for topic in ("chat", "chat/a", "chat/a/x", "chat/b", "other/a", "a"):
            ann.send(Publish(topic))
            copies = any(matches(one, topic) for one in model) + sum(matches(one, topic) for one in shared)
            assert bob.topics() == [topic] * copies
    for client in (ann, bob):
        client.link.lost()


@pytest.fixture
async def pair(instance):
    """Connect two users who may do everything, without waiting for anything."""
    tokens = [await instance.issue(name, "#") for name in ("ann", "bob")]

    def connect():
        return [instance.enter(token, token.family.user_id)[0] for token in tokens]

    return connect


async def test_q20_each_filter_has_its_own_answer_and_a_refused_one_takes_nothing_along(instance):
    client = await instance.joined("ann", "chat/+")
    codes = client.subscribe("chat/a", "chat/#", "a+", "chat/b", "$SYS/#", "")
    assert codes == [0, 0x87, 0x8F, 0, 0x87, 0x8F]
    assert set(client.session.subscriptions) == {"chat/a", "chat/b"}


async def test_filters_over_a_limit_are_refused_one_by_one_and_close_nobody(make_instance):
    instance = await make_instance(max_filters_per_subscribe=3, max_subscriptions_per_session=4)
    client = await instance.joined("ann")
    assert client.subscribe(*(f"chat/{n}" for n in range(5))) == [0, 0, 0, 0x97, 0x97]
    assert client.subscribe("chat/3", "chat/4", "chat/0") == [0, 0x97, 0]
    assert not client.closed


async def test_q18_a_response_topic_has_no_wildcard_and_needs_no_right_of_its_own(instance):
    ann, bob = await instance.joined("ann"), await instance.joined("bob")
    bob.subscribe("chat/#")
    assert ann.publish("chat/a", qos=1, response_topic="nobody/may")[0].reason_code == 0
    (message,) = bob.received()
    assert message.response_topic == "nobody/may"
    ann.publish("chat/a", response_topic="chat/+")
    assert ann.closed
    assert bob.topics() == []


async def test_v63_permissions_are_told_apart(instance):
    reader = await instance.joined("ann", permissions=(Permission.SUBSCRIBE,))
    writer = await instance.joined("bob", permissions=(Permission.PUBLISH,))
    others = await instance.joined("eve", permissions=(Permission.PRESENCE, Permission.HISTORY))
    assert reader.subscribe("chat/a") == [0]
    assert writer.subscribe("chat/a") == others.subscribe("chat/a") == [0x87]
    assert reader.publish("chat/a", qos=1)[0].reason_code == 0x87
    assert others.publish("chat/a", qos=1)[0].reason_code == 0x87
    assert writer.publish("chat/a", qos=1)[0].reason_code == 0
    assert reader.topics() == ["chat/a"]


@pytest.mark.parametrize("topic", ["a" * 1_024, "/" * 31])
async def test_q16_topics_up_to_our_limits_pass(instance, topic):
    client = await instance.joined("ann", "#")
    assert client.publish(topic, qos=1)[0].reason_code == 0x10


@pytest.mark.parametrize("topic", ["a" * 1_025, "é" * 513, "/" * 32, "/" * 65_535])
async def test_v81_topics_over_our_limits_are_answered_0x90_and_the_connection_lives(instance, topic):
    client = await instance.joined("ann", "#")
    assert client.publish(topic, qos=1)[0].reason_code == 0x90
    assert client.subscribe(topic) == [0x8F]
    assert not client.closed


async def test_q2_spellings_of_one_letter_are_different_topics_for_rights_too(instance):
    nfc, nfd = "caf\u00e9", "cafe\u0301"
    client = await instance.joined("ann", nfc)
    assert client.subscribe(nfc, nfd, nfc.upper(), "\ufeff" + nfc) == [0, 0x87, 0x87, 0x87]
