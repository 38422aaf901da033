"""Random programs with renewals, policies and reconnects, against a small model, with lanes and without.

The model is a set of filters and grants a user, and lists: what it is to get, and what waits for
it. Nobody receives what the rights of that moment do not allow, nobody misses what they allow
throughout, nobody gets anything twice, and who loses a subscription is told or closed.
"""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenmq.access.grants import Grant
from tokenmq.access.identity import Renewal
from tokenmq.access.permission import Permission
from tokenmq.access.policy import Policy
from tokenmq.access.rules import Rule
from tokenmq.broker import lane
from tokenmq.mqtt.packets import Auth, Disconnect, Puback, Pubcomp, Publish, Pubrec, Pubrel, Unsubscribe
from tokenmq.tokens.records import OrganizationRecord
from tokenmq.topics.filter import covers, matches

ORG = "org_aaaaaaaaaaaa"
BOTH = (Permission.PUBLISH, Permission.SUBSCRIBE)
TOPICS = ("t/a", "t/b", "t/a/a", "t/b/b")
FILTERS = ("t/#", "t/+", "t/+/+", "t/a", "t/a/#", "t/+/a", "t/b/#")
GRANTS = st.sets(st.sampled_from(FILTERS), min_size=1, max_size=2).map(sorted)
SHARED = "$share/g/s/#"
SHARED_GRANTS = st.sampled_from(((), ("s/#",), ("s/a",), ("s/#", "s/a"), ("s/+",)))
# Version, whether the session outlives its connection, whether it listens to its own events.
USERS = ((5, True, True), (4, False, True), (5, False, False), (4, True, False))


def step(kind, **fields):
    return st.builds(dict, kind=st.just(kind), who=st.integers(0, 3), **fields)


renewals = step(
    "renew", grants=GRANTS, shared=SHARED_GRANTS, road=st.sampled_from(("http", "topic", "auth", "same"))
)
publishes = step("publish", topic=st.sampled_from(TOPICS), qos=st.integers(0, 2), count=st.integers(1, 4))
steps = st.one_of(
    renewals,
    renewals,
    publishes,
    publishes,
    publishes,
    step("publish", topic=st.sampled_from(("s/a", "s/b")), qos=st.just(1), count=st.integers(1, 3)),
    step("subscribe", topic_filter=st.sampled_from(FILTERS), qos=st.integers(0, 2)),
    step("subscribe", topic_filter=st.sampled_from(FILTERS), qos=st.integers(0, 2)),
    step("share"),
    step("unsubscribe", topic_filter=st.sampled_from(FILTERS)),
    step("connect", grants=GRANTS, shared=SHARED_GRANTS),
    step("lose"),
    step("pause"),
    step("resume"),
    step("deploy", grants=GRANTS, shared=SHARED_GRANTS, everything=st.booleans()),
)


class User:
    """What the model knows of one user, and its client."""

    def __init__(self, who):
        self.who = who
        self.version, self.lasts, self.listens = USERS[who]
        self.client = None
        self.grants = ()
        self.filters = {}
        self.is_member = False
        self.is_paused = False
        self.waiting = []
        self.expected = []
        self.got = []
        self.told = []
        self.lost = []

    @property
    def subscribed(self):
        return [*self.filters, *([SHARED] if self.is_member else [])]


class Program:
    """Runs steps on a world, and the model beside it."""

    def __init__(self, world):
        self.world = world
        self.policy = ("#",)
        self.number = 0
        self.gen = 0
        self.shared = {}
        self.users = [User(who) for who in range(4)]
        for user in self.users:
            self.connect(user, {"grants": ["t/#"], "shared": ["s/#"]})

    # What the rights say

    def may(self, user, topic):
        return all(any(matches(one, topic) for one in side) for side in (user.grants, self.policy))

    def stands(self, user, topic_filter):
        plain = topic_filter.removeprefix("$share/g/")
        return all(any(covers(one, plain) for one in side) for side in (user.grants, self.policy))

    def gets(self, user, topic):
        """The QoS at which it gets what is published now; None: not at all."""
        if not self.may(user, topic):
            return None
        standing = [q for f, q in user.filters.items() if matches(f, topic) and self.stands(user, f)]
        return max(standing, default=None)

    def keeps(self, user, topic):
        matching = [one for one in user.filters if matches(one, topic)]
        return self.may(user, topic) and (not matching or any(self.stands(user, one) for one in matching))

    def rights_change(self, change):
        """Do it, and return by user what it has lost."""
        before = [{one: self.stands(user, one) for one in user.subscribed} for user in self.users]
        change()
        for user, stood in zip(self.users, before, strict=True):
            user.waiting = [item for item in user.waiting if self.keeps(user, item[0])]
            lost = [one for one in user.subscribed if stood[one] and not self.stands(user, one)]
            if not lost or user.client is None:
                continue
            if user.listens:
                user.lost += lost
            else:
                (end,) = [p for p in user.client.received() if isinstance(p, Disconnect)] or [None]
                assert (end is None) == (user.version == 4)
                assert end is None or end.reason_code == 0x98
                assert user.client.transport.closed
                self.is_gone(user)
        for message in self.shared.values():
            message["throughout"] &= self.members()

    def members(self):
        return {user.who for user in self.users if user.is_member and self.stands(user, SHARED)}

    # Steps

    def password(self, user, op):
        grants = (*op["grants"], *op["shared"])
        self.gen += 1
        password = self.world.person(f"u{user.who}", *grants)
        identity = self.world.doors.identities[password]
        identity = msgspec.structs.replace(identity, gen=self.gen, issued_at=self.world.clock.now)
        self.world.doors.identities[password] = identity
        return password, identity, grants

    def connect(self, user, op):
        self.lose(user, op)
        password, _, grants = self.password(user, op)
        fields = {"clean_start": not user.lasts}
        if user.version == 5:
            fields |= {"authentication_method": "JWT", "authentication_data": password}
            fields |= {"session_expiry_interval": 600} if user.lasts else {}
        user.grants = grants
        user.client = self.world.client(user.version)
        connack, *rest = user.client.connect(password, f"c{user.who}", **fields)
        assert connack.reason_code == 0
        if user.version == 5:
            suspended = {name for name in user.subscribed if not self.stands(user, name)}
            assert {value for _, value in connack.user_properties} == suspended
        user.expected += [item for item in user.waiting if self.keeps(user, item[0])]
        user.waiting = []
        for message in self.shared.values():
            message["throughout"] &= self.members()
        self.take(user, rest)
        if user.listens:
            user.client.subscribe("$auth/events")

    def lose(self, user, op):
        if user.client is not None:
            user.client.link.lost()
            self.is_gone(user)

    def is_gone(self, user):
        user.client = None
        user.is_paused = False
        if user.lasts:
            user.waiting = [item for item in user.waiting if item[2]]
        else:
            user.filters, user.waiting, user.is_member = {}, [], False
        for message in self.shared.values():
            message["throughout"] &= self.members()

    def renew(self, user, op):
        if user.client is None:
            return
        password, identity, grants = self.password(user, op)
        road = op["road"]
        if road == "same":
            grants = user.grants
            identity = msgspec.structs.replace(identity, grants=(Grant(BOTH, grants),))
            self.world.doors.identities[password] = identity
        self.rights_change(lambda: self.by(road, user, password, identity, grants))

    def by(self, road, user, password, identity, grants):
        user.grants = grants
        client = user.client
        if road == "http" or (road == "auth" and user.version == 4):
            renewal = Renewal("j", identity.gen, identity.grants, self.world.clock.now, identity.expires_at)
            assert self.world.hub.renew(ORG, identity.token_id, renewal) == 1
            return
        if road == "auth":
            client.send(Auth(0x19, authentication_method="JWT", authentication_data=password))
        else:
            client.send(Publish("$auth/token", password, 1, packet_id=60_000))
        ends = []
        for packet in client.received():
            if isinstance(packet, Auth | Puback):
                assert packet.reason_code == 0
            elif isinstance(packet, Disconnect):
                ends.append(packet)
            else:
                self.take(user, [packet])
        client.received = lambda plain=client.received: (ends.pop(),) if ends else plain()

    def deploy(self, user, op):
        filters = ("#",) if op["everything"] else (*op["grants"], *op["shared"], "talk")

        def change():
            self.policy = filters
            self.world.doors.policy = Policy((Rule("*", BOTH, filters),))
            organization = OrganizationRecord(ORG, "a", self.world.doors.settings, 0)
            self.world.hub.organization_changed(organization)

        self.rights_change(change)

    def subscribe(self, user, op):
        if user.client is None:
            return
        suback, *rest = user.client.subscribe(op["topic_filter"], qos=op["qos"])
        if self.stands(user, op["topic_filter"]):
            assert suback.reason_codes == (op["qos"],)
            user.filters[op["topic_filter"]] = op["qos"]
        else:
            assert suback.reason_codes == (0x87 if user.version == 5 else 0x80,)
        self.take(user, rest)

    def share(self, user, op):
        if user.client is not None:
            suback, *rest = user.client.subscribe(SHARED, qos=1)
            user.is_member |= suback.reason_codes == (1,)
            self.take(user, rest)

    def unsubscribe(self, user, op):
        if user.client is not None:
            user.client.send(Unsubscribe(9, (op["topic_filter"],)))
            user.filters.pop(op["topic_filter"], None)

    def publish(self, user, op):
        if user.client is None:
            return
        topic, qos = op["topic"], op["qos"]
        packets = []
        for n in range(op["count"]):
            self.number += 1
            packets.append(Publish(topic, b"%06d" % self.number, qos, packet_id=n + 1 if qos else 0))
        if self.may(user, topic):
            self.is_published(topic, qos, packets)
        user.client.send(*packets)
        self.answered(user, topic, qos, len(packets))

    def is_published(self, topic, qos, packets):
        for packet in packets:
            if topic.startswith("s/"):
                members = {who for who in self.members() if self.may(self.users[who], topic)}
                self.shared[packet.payload] = {"throughout": members, "got": []}
                continue
            for one in self.users:
                granted = self.gets(one, topic)
                if granted is None or (one.client is None and not (one.lasts and min(granted, qos))):
                    continue
                item = (topic, packet.payload, min(granted, qos))
                (one.waiting if one.client is None or one.is_paused else one.expected).append(item)

    def answered(self, user, topic, qos, count):
        """Hold the answers to what was just published against its right to publish."""
        answers, rest = [], []
        for packet in user.client.received():
            is_answer = isinstance(packet, Puback | Pubrec)
            (answers if is_answer else rest).append(packet)
        assert len(answers) == (count if qos else 0)
        refused = user.version == 5 and not self.may(user, topic)
        assert all((answer.reason_code >= 0x80) == refused for answer in answers)
        if qos == 2 and not refused:
            user.client.send(*(Pubrel(answer.packet_id) for answer in answers))
            rest += user.client.received()
        self.take(user, rest)

    def pause(self, user, op):
        if user.client is not None:
            user.client.link.writing_paused()
            user.is_paused = True

    def resume(self, user, op):
        if user.client is not None and user.is_paused:
            user.is_paused = False
            user.expected += user.waiting
            user.waiting = []
            user.client.link.writing_resumed()

    # What came

    def take(self, user, packets):
        for packet in packets:
            if isinstance(packet, Pubrel):
                user.client.send(Pubcomp(packet.packet_id))
            if not isinstance(packet, Publish):
                continue
            if packet.topic == "$auth/events":
                event = json.loads(packet.payload)
                user.told += event.get("suspended", [])
                continue
            assert self.may(user, packet.topic)
            if packet.topic.startswith("s/"):
                assert user.who in self.members()
                self.shared[packet.payload]["got"].append(user.who)
            else:
                user.got.append((packet.topic, packet.payload))
            if packet.qos:
                user.client.send((Puback if packet.qos == 1 else Pubrec)(packet.packet_id))

    def settle(self):
        for user in self.users:
            while user.client is not None and (packets := user.client.received()):
                self.take(user, packets)

    def check(self):
        for user in self.users:
            assert sorted(user.got) == sorted(item[:2] for item in user.expected)
            assert len(set(user.got)) == len(user.got)
            assert sorted(user.told) == sorted(user.lost)

    def end(self):
        """Let go whatever waits, and look at what was shared: once at most, and once if it could be."""
        for user in self.users:
            if user.client is None and user.lasts:
                self.connect(user, {"grants": user.grants, "shared": ()})
            self.resume(user, {})
        self.settle()
        self.check()
        for message in self.shared.values():
            assert len(message["got"]) <= 1
            assert message["got"] or not message["throughout"]


@pytest.mark.parametrize("lanes", [True, False], ids=["lanes", "no lanes"])
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=st.lists(steps, min_size=10, max_size=40))
def test_rights_that_change_under_way_hold_from_that_moment_on(make_world, lanes, program):
    with pytest.MonkeyPatch.context() as patch:
        if not lanes:
            patch.setattr(lane, "forward", lambda data, pos, *rest: pos)
        run = Program(make_world())
        for op in program:
            getattr(run, op["kind"])(run.users[op["who"]], op)
            run.settle()
            run.check()
        run.end()
