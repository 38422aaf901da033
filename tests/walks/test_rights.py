"""Random programs with grants that change at every reconnect, against an oracle (SECURITY 5.2, grid C).

The oracle is a list a user: what was published while its subscriptions and its rights of then
matched. What of it is delivered is what the rights match that hold at delivery.
"""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenmq.mqtt.packets import Puback, Pubcomp, Publish, Pubrec, Pubrel, Unsubscribe
from tokenmq.topics.filter import covers, matches

TOPICS = ("t/a", "t/b", "t/a/a", "t/a/b", "t/b/a", "t/b/b")
FILTERS = ("t/#", "t/+", "t/+/+", "t/a", "t/a/#", "t/a/+", "t/+/a", "t/b/b", "t/b/#")
GRANTS = st.sets(st.sampled_from(FILTERS), min_size=1, max_size=2).map(sorted)
SHARED = "$share/g/s/#"
SHARED_GRANTS = st.sets(st.sampled_from(("s/#", "s/a", "s/b", "s/+")), max_size=2).map(sorted)
USERS = (0, 1, 2)


def step(kind, **fields):
    return st.builds(dict, kind=st.just(kind), who=st.sampled_from(USERS), **fields)


steps = st.one_of(
    step("connect", grants=GRANTS, shared=SHARED_GRANTS, clean=st.booleans()),
    step("connect", grants=GRANTS, shared=SHARED_GRANTS, clean=st.just(False)),
    step("lose"),
    step("subscribe", topic_filter=st.sampled_from(FILTERS), qos=st.sampled_from((1, 2))),
    step("subscribe", topic_filter=st.sampled_from(FILTERS), qos=st.sampled_from((1, 2))),
    step("share"),
    step("unsubscribe", topic_filter=st.sampled_from(FILTERS)),
    step("publish", topic=st.sampled_from(TOPICS), qos=st.sampled_from((1, 2)), retain=st.booleans()),
    step("publish", topic=st.sampled_from(TOPICS), qos=st.sampled_from((1, 2)), retain=st.just(False)),
    step("publish", topic=st.sampled_from(("s/a", "s/b")), qos=st.just(1), retain=st.just(False)),
    step("restart"),
)


class User:
    """One user's session: the client and what the oracle knows."""

    def __init__(self):
        self.client = None
        self.grants = []
        self.filters = set()
        self.is_member = False
        self.waiting = []
        self.expected = []
        self.got = []

    def may(self, topic):
        return any(matches(grant, topic) for grant in self.grants)

    def stands(self, topic_filter):
        """Whether a subscription is not suspended."""
        return any(covers(grant, topic_filter) for grant in self.grants)

    def gets(self, topic):
        """Whether what is published now is for it."""
        return self.may(topic) and any(matches(one, topic) for one in self.filters if self.stands(one))

    def keeps(self, topic):
        """Whether what waits for it may still go out: what it has unsubscribed from since, too."""
        matching = [one for one in self.filters if matches(one, topic)]
        return self.may(topic) and (not matching or any(map(self.stands, matching)))


class Program:
    """Runs steps on a world, and the oracle beside it."""

    def __init__(self, world):
        self.world = world
        self.users = [User() for _ in USERS]
        self.retained = {}
        self.number = 0
        self.shared = {}
        self.talk()
        for who, user in enumerate(self.users):
            self.connect(user, {"who": who, "grants": ["t/#"], "shared": ["s/#"], "clean": False})

    def talk(self):
        self.talker = self.world.joined("talker", "#", client_id="talker")

    def connect(self, user, op):
        self.lose(user, op)
        who, grants = op["who"], [*op["grants"], *op["shared"]]
        password = self.world.person(f"u{who}", *grants)
        user.client = self.world.client()
        user.grants = grants
        if op["clean"]:
            user.filters, user.is_member, user.waiting = set(), False, []
        user.expected += [item for item in user.waiting if user.keeps(item[0])]
        user.waiting = []
        more = {"clean_start": op["clean"], "session_expiry_interval": 600}
        connack, *rest = user.client.connect(password, f"c{who}", **more)
        subscribed = {*user.filters, *([SHARED] if user.is_member else [])}
        lost = {one for one in subscribed if not user.stands(one.removeprefix("$share/g/"))}
        assert {value for _, value in connack.user_properties} == lost
        self.take(user, rest)

    def lose(self, user, op):
        if user.client is not None:
            user.client.link.lost()
            user.client = None

    def subscribe(self, user, op):
        topic_filter = op["topic_filter"]
        if user.client is None:
            return
        suback, *rest = user.client.subscribe(topic_filter, qos=op["qos"])
        admitted = any(covers(grant, topic_filter) for grant in user.grants)
        assert suback.reason_codes == ((op["qos"],) if admitted else (0x87,))
        if admitted:
            user.filters.add(topic_filter)
            found = [item for item in self.retained.items() if matches(topic_filter, item[0])]
            user.expected += [item for item in sorted(found) if user.may(item[0])]
        self.take(user, rest)

    def share(self, user, op):
        if user.client is not None:
            (suback,) = user.client.subscribe(SHARED, qos=1)
            user.is_member |= suback.reason_codes == (1,)

    def unsubscribe(self, user, op):
        if user.client is not None:
            user.client.send(Unsubscribe(9, (op["topic_filter"],)))
            user.filters.discard(op["topic_filter"])

    def publish(self, user, op):
        topic, self.number = op["topic"], self.number + 1
        payload = b"%d" % self.number
        self.talker.publish(topic, payload, op["qos"], retain=op["retain"])
        if op["retain"]:
            self.retained[topic] = payload
        for one in self.users:
            if one.gets(topic):
                (one.waiting if one.client is None else one.expected).append((topic, payload))

    def restart(self, user, op):
        self.world.tick()
        self.world.restart()
        for one in self.users:
            one.client = None
        self.talk()

    def take(self, user, packets):
        """Acknowledge what came, and hold it against the rights of this connection."""
        for packet in packets:
            if isinstance(packet, Publish):
                assert user.may(packet.topic)
                if packet.topic.startswith("s/"):
                    assert user.is_member and user.stands("s/#")
                    assert self.shared.setdefault(packet.payload, set()) <= {user}
                    self.shared[packet.payload].add(user)
                else:
                    user.got.append((packet.topic, packet.payload))
                answer = Puback if packet.qos == 1 else Pubrec
                user.client.send(answer(packet.packet_id))
            elif isinstance(packet, Pubrel):
                user.client.send(Pubcomp(packet.packet_id))

    def settle(self):
        self.talker.received()
        for user in self.users:
            while user.client is not None and (packets := user.client.received()):
                self.take(user, packets)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=st.lists(steps, min_size=12, max_size=40))
def test_grid_c_what_is_delivered_is_what_the_rights_match_that_hold_at_delivery(make_world, program):
    run = Program(make_world())
    for op in program:
        getattr(run, op["kind"])(run.users[op["who"]], op)
        run.settle()
        for user in run.users:
            assert sorted(user.got) == sorted(user.expected)
