"""Presence against brute force: random programs, and what each watcher makes of what it was sent.

The oracle knows topics one by one: a filter is the set of those that it matches, and two overlap
if these sets share one.
"""

from __future__ import annotations

import itertools
import json

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenmq.access.grants import Grant
from tokenmq.access.permission import Permission
from tokenmq.broker import watching
from tokenmq.mqtt.packets import Disconnect, Publish, Suback, Unsubscribe

ORG = "org_aaaaaaaaaaaa"
PEOPLE = 3
TOPICS = [
    "/".join(levels) for depth in (1, 2, 3) for levels in itertools.product(("a", "b", "c"), repeat=depth)
]
FILTERS = ("a", "a/b", "a/+", "a/#", "b/#", "#", "+/b", "a/+/c")
WATCHED = ("a", "a/b", "a/#", "+/b", "b/a", "b/+", "+/+/c", "#")
STATED = ("a", "a/b", "b/a")
EVERYTHING = ("subscribe", "presence")
# What a token grants: all, all but messages of a part, no presence, nothing that matters.
RIGHTS = (
    ((EVERYTHING, "#"),),
    ((("subscribe",), "a/+"), (("presence",), "#")),
    ((("subscribe",), "#"), (("presence",), "a/#")),
    ((("subscribe",), "b/#"), (("presence",), "b/a")),
)

who = st.integers(0, PEOPLE - 1)
programs = st.lists(
    st.one_of(
        st.tuples(st.just("connect"), who, st.booleans(), st.booleans()),
        st.tuples(st.sampled_from(("leave", "drop", "pause", "resume")), who),
        st.tuples(
            st.just("subscribe"), who, st.sampled_from(FILTERS), st.sampled_from(("", "", "$share/g/"))
        ),
        st.tuples(st.just("subscribe"), who, st.sampled_from(FILTERS), st.just("")),
        st.tuples(st.just("unsubscribe"), who, st.sampled_from(FILTERS), st.sampled_from(("", "$share/g/"))),
        st.tuples(st.just("watch"), who, st.sampled_from(WATCHED)),
        st.tuples(st.just("watch"), who, st.sampled_from(WATCHED)),
        st.tuples(st.just("unwatch"), who, st.sampled_from(WATCHED)),
        st.tuples(st.just("state"), who, st.sampled_from(STATED), st.sampled_from((b"1", b'"x"', b""))),
        st.tuples(st.just("narrow"), who, st.integers(0, len(RIGHTS) - 1)),
        st.tuples(st.sampled_from(("flush", "turn", "wait"))),
    ),
    min_size=12,
    max_size=60,
)


def matched(topic_filter):
    def fits(levels, wanted):
        if not wanted:
            return not levels
        if wanted[0] == "#":
            return True
        return bool(levels) and wanted[0] in ("+", levels[0]) and fits(levels[1:], wanted[1:])

    wanted = topic_filter.split("/")
    below = wanted[-1] == "#"
    return {
        topic
        for topic in TOPICS
        if fits(topic.split("/"), wanted) or (below and fits(topic.split("/"), wanted[:-1]) and wanted[:-1])
    }


SETS = {
    topic_filter: matched(topic_filter) for topic_filter in {*FILTERS, *WATCHED, "a/#", "b/#", "#", "a/+"}
}


class Person:
    """One user with one client id, as the oracle has him."""

    def __init__(self):
        self.client = None
        self.connected = self.lasts = False
        self.rights = 0
        self.filters = {}
        # He has begun anew; what he is taken to be on still, for those who watched it then.
        self.is_held = False
        self.held = set()
        self.states = {}

    def may(self, permission, topic_filter):
        wanted = SETS.get(topic_filter) or {topic_filter}
        is_deep = topic_filter.endswith("#")
        return any(
            permission in permissions and wanted <= SETS[granted] and (granted.endswith("#") or not is_deep)
            for permissions, granted in RIGHTS[self.rights]
        )

    def counting(self, *, held=True):
        if not self.connected:
            return set()
        names = {name.removeprefix("$share/g/") for name in self.filters if not name.startswith("$presence/")}
        active = {name for name in names if name[0] not in "+#" and self.may("subscribe", name)}
        return active | self.held if held else active

    def is_on(self, topic_filter):
        return any(SETS[one] & SETS[topic_filter] for one in self.counting())

    def watched_on(self, watched):
        """Return what he is on, of that what somebody watches."""
        return {one for one in self.counting() if any(SETS[one] & SETS[other] for other in watched)}

    def settle(self, watched):
        """Forget what nobody watched all the time, and what he says of himself where he is not."""
        self.held &= self.watched_on(watched)
        self.is_held &= bool(self.states or self.watched_on(watched))
        if not self.is_held:
            here = set().union(*(SETS[one] for one in self.counting()))
            self.states = {
                topic: state
                for topic, state in self.states.items()
                if topic in here and self.may("presence", topic)
            }


class Replay:
    """What one watcher of one filter believes, from what it was sent."""

    def __init__(self):
        self.members = None
        self.page = self.pages = 0

    def take(self, body):
        for event in body["events"] if body["event"] == "batch" else [body]:
            getattr(self, event["event"])(event)

    def snapshot(self, event):
        if event["page"] == 1:
            self.members, self.page, self.pages = {}, 0, event["pages"]
        assert (event["page"], event["pages"]) == (self.page + 1, self.pages)
        self.page += 1
        for shown in event["members"]:
            assert shown["member"] not in self.members
            self.members[shown["member"]] = said(shown)
        if self.page == self.pages:
            assert event["count"] == len(self.members)

    def ready(self):
        assert self.members is not None and self.page == self.pages

    def join(self, event):
        self.ready()
        assert event["member"] not in self.members
        self.members[event["member"]] = said(event)
        assert event["count"] == len(self.members)

    def leave(self, event):
        self.ready()
        del self.members[event["member"]]
        assert event["count"] == len(self.members)

    def update(self, event):
        self.ready()
        assert event["member"] in self.members and event["count"] == len(self.members)
        self.members[event["member"]] = said(event)


def said(shown):
    assert ("state" in shown) != ("states" in shown)
    return shown["user_id"], shown["state"] if "state" in shown else shown["states"]


class Runner:
    """Runs a program on the broker and on the oracle."""

    def __init__(self, world, timers):
        self.world, self.timers = world, timers
        timers.soon.clear()
        timers.later.clear()
        self.people = [Person() for _ in range(PEOPLE)]
        self.replays = [{} for _ in range(PEOPLE)]
        self.ids = itertools.count(1)

    def run(self, program):
        for n, person in enumerate(self.people):
            self.connect(n, person, clean=True, lasts=n % 2 == 0)
        for op, *rest in program:
            if op in ("flush", "turn", "wait"):
                getattr(self, op)()
            else:
                n, *rest = rest
                if op == "connect" or self.people[n].connected:
                    getattr(self, op)(n, self.people[n], *rest)
            watched = self.watched()
            for person in self.people:
                person.settle(watched)
            self.collect()
        self.compare()

    def watched(self, *, but=None):
        """Return the filters that somebody watches, whose snapshot has been begun."""
        names = {name[10:] for n, names in enumerate(self.replays) if n != but for name in names}
        return {name for name in names if self.world.broker.tenants[ORG].presence.watches[name].is_open}

    def password(self, n):
        password = self.world.person(f"u{n}", "x")
        identities = self.world.doors.identities
        grants = tuple(
            Grant(tuple(map(Permission, permissions)), (granted,))
            for permissions, granted in RIGHTS[self.people[n].rights]
        )
        identities[password] = msgspec.structs.replace(identities[password], grants=grants)
        return password

    def connect(self, n, person, clean, lasts):
        watched = self.watched(but=n)  # his own watches end with his connection
        for other in self.people:
            other.settle(watched)
        was = person.watched_on(watched)
        resumes = person.lasts and not clean and person.client is not None
        client = self.world.client()
        self.collect()
        expiry = 600 if lasts else 0
        answer, *packets = client.connect(
            self.password(n), f"c{n}", clean_start=clean, session_expiry_interval=expiry
        )
        assert answer.reason_code == 0
        assert answer.session_present == resumes
        if not resumes:
            person.filters = {}
            if person.connected:
                person.is_held, person.held = True, was
        if not person.connected:
            person.states = {}
        person.client, person.connected, person.lasts = client, True, lasts
        self.replays[n] = {
            name: Replay()
            for name in person.filters
            if name.startswith("$presence/") and person.may("presence", name[10:])
        }
        self.replay(n, [*packets, *client.subscribe("$auth/events")])

    def gone(self, n, person):
        self.replays[n] = {}
        person.connected = person.is_held = False
        person.held, person.states = set(), {}
        person.client = person.client if person.lasts else None
        if not person.lasts:
            person.filters = {}

    def leave(self, n, person):
        person.client.send(Disconnect())
        self.gone(n, person)

    def drop(self, n, person):
        person.client.link.lost()
        self.gone(n, person)

    def pause(self, n, person):
        person.client.link.writing_paused()

    def resume(self, n, person):
        person.client.link.writing_resumed()

    def suback(self, n, person, name):
        self.collect()
        packets = person.client.subscribe(name)
        self.replay(n, packets)
        (answer,) = [packet for packet in packets if isinstance(packet, Suback)]
        return answer.reason_codes[0]

    def subscribe(self, n, person, topic_filter, prefix):
        code = self.suback(n, person, prefix + topic_filter)
        assert (code < 0x80) == person.may("subscribe", topic_filter)
        if code < 0x80:
            person.filters[prefix + topic_filter] = True

    def watch(self, n, person, topic_filter):
        name = f"$presence/{topic_filter}"
        allowed = person.may("presence", topic_filter)
        if allowed:
            self.replays[n][name] = Replay()
        assert (self.suback(n, person, name) < 0x80) == allowed
        if allowed:
            person.filters[name] = True

    def unsubscribe(self, n, person, topic_filter, prefix):
        self.end(n, person, prefix + topic_filter)

    def unwatch(self, n, person, topic_filter):
        self.end(n, person, f"$presence/{topic_filter}")

    def end(self, n, person, name):
        self.collect()
        person.client.send(Unsubscribe(next(self.ids) % 60_000 + 1, (name,)))
        self.collect()
        if person.filters.pop(name, None) is not None and person.may(
            "subscribe", name.removeprefix("$share/g/")
        ):
            person.held.discard(name.removeprefix("$share/g/"))
        self.replays[n].pop(name, None)

    def state(self, n, person, topic, payload):
        on = topic in set().union(*(SETS[one] for one in person.counting(held=False)))
        allowed = on and person.may("presence", topic)
        self.collect()
        packets = person.client.publish(f"$presence/{topic}", payload, qos=1)
        self.replay(n, packets)
        (code,) = [packet.reason_code for packet in packets if not isinstance(packet, Publish)]
        assert (code == 0) == allowed
        if allowed and payload:
            person.states[topic] = json.loads(payload)
        elif allowed:
            person.states.pop(topic, None)

    def narrow(self, n, person, rights):
        self.collect()
        person.rights = rights
        packets = person.client.publish("$auth/token", self.password(n), qos=1)
        for name in list(self.replays[n]):
            if not person.may("presence", name.removeprefix("$presence/")):
                del self.replays[n][name]
        for name in person.filters:
            allowed = name.startswith("$presence/") and person.may("presence", name[10:])
            if allowed and name not in self.replays[n]:
                self.replays[n][name] = Replay()
        self.replay(n, packets)

    def flush(self):
        self.timers.ring()

    def turn(self):
        self.timers.turn()

    def wait(self):
        self.world.clock.advance(6)
        self.world.tick()
        for person in self.people:
            person.is_held, person.held = False, set()

    def collect(self):
        for n, person in enumerate(self.people):
            if person.client is not None:
                self.replay(n, person.client.received())

    def replay(self, n, packets):
        for packet in packets:
            if isinstance(packet, Publish) and packet.topic != "$auth/events":
                body = json.loads(packet.payload)
                name = body["events"][0]["filter"] if body["event"] == "batch" else body["filter"]
                assert packet.topic == "$presence/" + name.replace("+", "%2B").replace("#", "%23")
                assert packet.qos == 0 and not packet.retain
                self.replays[n][f"$presence/{name}"].take(body)

    def compare(self):
        for person in self.people:
            if person.connected:
                person.client.link.writing_resumed()
        for _ in range(3):
            self.timers.ring()
            self.collect()
        for n, person in enumerate(self.people):
            if not person.connected:
                continue
            for name in self.replays[n]:
                self.compare_one(self.replays[n][name], name.removeprefix("$presence/"))

    def compare_one(self, replay, topic_filter):
        replay.ready()
        wanted = {}
        for n, person in enumerate(self.people):
            if person.is_on(topic_filter):
                states = {t: s for t, s in person.states.items() if t in SETS[topic_filter]}
                plain = topic_filter in TOPICS
                wanted[f"u{n}"] = states.get(topic_filter) if plain else states
        assert dict(replay.members.values()) == wanted
        assert len(replay.members) == len(wanted)


@pytest.fixture
def small(monkeypatch):
    """Let pages, turns and what is held be so small that each end is met."""
    monkeypatch.setattr(watching, "_PAGE_MEMBERS", 1)
    monkeypatch.setattr(watching, "_TURN_BYTES", 1)
    monkeypatch.setattr(watching, "_HELD_BYTES", 300)
    monkeypatch.setattr(watching, "_MEMBER_BYTES", 1)


@given(program=programs)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_whoever_replays_has_who_is_there(make_world, timers, small, program):
    Runner(make_world(), timers).run(program)
