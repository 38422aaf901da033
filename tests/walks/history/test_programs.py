"""Random programs against a ledger: each reader gets each recorded message once.

Publishers at every QoS, on topics under a durable rule and under another one. Readers, some with
sessions that outlive their connections, ask from the greatest id that they have seen whenever
they come back; their connections are lost with what was on its way. The store and the history let
wait and fail, the process is killed between any two steps. A witness that is always there
sees what is routed, and in which order. In the end everything is put right and the ledger is
held against what each reader has got.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tokenmq.access.recording import HistoryRule
from tokenmq.mqtt.packets import (
    Disconnect,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsubscribe,
)
from tokenmq.mqtt.packets.subscribe import Subscription

TOPICS = ("chat/a", "chat/b", "chat/durable")
PUBLISHERS = ("alice", "bert")
READERS = ("carol", "dora", "emil")

steps = st.one_of(
    st.tuples(
        st.just("publish"),
        st.sampled_from(PUBLISHERS),
        st.sampled_from(TOPICS),
        st.sampled_from((0, 0, 1, 1, 2)),
        st.booleans(),
    ),
    st.tuples(
        st.just("publish"),
        st.sampled_from(PUBLISHERS),
        st.sampled_from(TOPICS),
        st.sampled_from((0, 1)),
        st.just(False),
    ),
    st.tuples(st.just("connect"), st.sampled_from(READERS)),
    st.tuples(st.just("subscribe"), st.sampled_from(READERS)),
    st.tuples(st.sampled_from(("leave", "kill", "deafen", "hear", "unsubscribe")), st.sampled_from(READERS)),
    st.tuples(st.just("acknowledge"), st.sampled_from(READERS), st.integers(1, 4)),
    st.tuples(st.sampled_from(("restart", "tick", "turn", "let wait", "go on", "read slowly"))),
    st.tuples(st.sampled_from(("keep", "answer")), st.integers(1, 2)),
    st.tuples(st.sampled_from(("keep", "answer")), st.integers(1, 2)),
)
failures = st.tuples(st.sampled_from(("fail", "recover", "fail to read", "recover")))


def programs(step: Any) -> Any:
    return st.lists(st.lists(step, min_size=1, max_size=12), max_size=8).map(
        lambda parts: list(itertools.chain(*parts))
    )


@dataclass
class Entry:
    """One message of the ledger; an `answer` of None: there was none yet."""

    number: int
    topic: str
    qos: int
    answer: int | None = None


def told(packet: Publish) -> dict[str, str]:
    prefix = "tokenmq-history-"
    return {
        name.removeprefix(prefix): value for name, value in packet.user_properties if name.startswith(prefix)
    }


class Publisher:
    def __init__(self, run: Run, user_id: str) -> None:
        self.run = run
        self.user_id = user_id
        self.connect()

    def connect(self) -> None:
        self.client = self.run.history.joined(self.user_id)
        self.under_way: dict[int, Entry] = {}

    def publish(self, topic: str, qos: int, retain: bool) -> None:
        entry = Entry(len(self.run.ledger), topic, qos)
        self.run.ledger.append(entry)
        packet_id = entry.number + 1 if qos else 0
        if qos:
            self.under_way[packet_id] = entry
        self.client.send(Publish(topic, b"%d" % entry.number, qos, retain, packet_id=packet_id))

    def hear(self) -> None:
        for packet in self.client.received():
            if isinstance(packet, Puback | Pubrec):
                self.under_way.pop(packet.packet_id).answer = int(packet.reason_code)
                if isinstance(packet, Pubrec) and packet.reason_code < 0x80:
                    self.client.send(Pubrel(packet_id=packet.packet_id))


@dataclass
class Asking:
    """One SUBSCRIBE: from which id on, and what had been routed by then.

    What an earlier subscription brought beyond that id may come again if it had been routed by
    then, or if there was an UNSUBSCRIBE between the two (`is_new`).
    """

    packet_id: int
    after: int
    routed: int
    is_new: bool


class Reader:
    """Reads everything, and asks for what it has not seen whenever it comes back."""

    def __init__(self, run: Run, user_id: str, qos: int, lasts: bool, topic_filter: str) -> None:
        self.run = run
        self.user_id = user_id
        self.qos = qos
        self.lasts = lasts
        self.topic_filter = topic_filter
        self.client: Any = None
        self.log: dict[int, int] = {}  # numbers of messages by their ids
        self.wanted = False
        self.has_left = True  # no SUBSCRIBE since the last UNSUBSCRIBE was answered
        self.excused = 0  # what has a smaller id may be missing: it was said so
        self.gap = False  # something is missing before the next message with an id
        self.newest = 0  # by what is asked for; up to it, a reader in order lacks nothing
        self.last = 0  # of those that came by the subscription in force
        self.follows = False  # there is one, and the client knows it
        self.asking: deque[Asking] = deque()  # what has had no SUBACK yet
        self.again: set[int] = set()  # seen, and asked for once more
        self.held: set[int] = set()
        self._packet_ids = itertools.count(1)

    @property
    def is_here(self) -> bool:
        return self.client is not None and not self.client.transport.closed

    def connect(self) -> None:
        self.lose()
        self.client = self.run.history.world.client()
        self.deaf = False
        self.due: deque[Any] = deque()
        fields = {"session_expiry_interval": 600} if self.lasts else {}
        came = self.client.connect(
            self.run.history.world.person(self.user_id, permissions=("subscribe", "history")),
            self.user_id,
            clean_start=not self.lasts,
            receive_maximum=self.run.receive_maximum,
            **fields,
        )
        if not came:
            self.run.history.world.kept.go_on()
            came = self.client.received()
        if not came[0].session_present:
            self.held.clear()
        self.take(came[1:])
        if self.wanted:
            self.subscribe()

    def lose(self) -> None:
        if self.is_here:
            self.client.link.lost()
        self.forget_connection()

    def forget_connection(self) -> None:
        self.client = None
        self.follows = self.gap = False
        self.asking.clear()
        if not self.lasts:  # else what was asked for again may be under way, and comes over the next one
            self.again.clear()

    def subscribe(self) -> None:
        self.wanted = True
        if not self.is_here:
            return
        self.run.watch()
        self.hear()
        after = self.complete() if self.lasts else self.newest
        asking = Asking(next(self._packet_ids), after, max(self.run.routed, default=0), self.has_left)
        self.asking.append(asking)
        name, value = ("tokenmq-history-after", after) if after else ("tokenmq-history", 1_000)
        self.client.send(
            Subscribe(
                packet_id=asking.packet_id,
                subscriptions=(Subscription(self.topic_filter, qos=self.qos),),
                user_properties=((name, str(value)),),
            )
        )

    def complete(self) -> int:
        """Return the id up to which everything has been seen: what waited comes before what is older."""
        found = 0
        for number in self.run.routed:
            if number not in self.log and number > self.excused:
                break
            found = number
        return found

    def unsubscribe(self) -> None:
        """Want nothing any more: what comes before a next SUBACK says nothing of what is older."""
        if self.is_here:
            self.wanted = self.follows = False
            self.has_left = True
            self.asking.clear()
            self.client.send(
                Unsubscribe(packet_id=next(self._packet_ids), topic_filters=(self.topic_filter,))
            )

    def acknowledge(self, count: int) -> None:
        if self.is_here:
            self.client.send(*(self.due.popleft() for _ in range(min(count, len(self.due)))))

    def hear(self) -> None:
        if self.is_here and not self.deaf:
            self.take(self.client.received())

    def take(self, packets: list[Any]) -> None:
        for packet in packets:
            if isinstance(packet, Publish):
                self._take(packet)
            elif isinstance(packet, Pubrel):
                self.held.discard(packet.packet_id)
                self.due.append(Pubcomp(packet_id=packet.packet_id))
            elif isinstance(packet, Suback):
                self._take_answer(packet)

    def _take_answer(self, packet: Suback) -> None:
        is_admitted = packet.reason_codes[0] < 0x80
        assert is_admitted or self.run.has_failed
        if not self.asking or self.asking[0].packet_id != packet.packet_id:
            return  # unsubscribed since
        asking = self.asking.popleft()
        if is_admitted:
            self.follows = True
            self.has_left = False
            self.last = asking.after
            self.again = (self.again if self.lasts else set()) | {
                number
                for number in self.log
                if number > asking.after and (asking.is_new or number <= asking.routed)
            }

    def _take(self, packet: Publish) -> None:
        if packet.qos == 1:
            self.due.append(Puback(packet_id=packet.packet_id))
        elif packet.qos == 2:
            self.due.append(Pubrec(packet_id=packet.packet_id))
            if packet.packet_id in self.held:
                assert packet.dup
                return
            self.held.add(packet.packet_id)
        says = told(packet)
        self.gap = self.gap or "gap" in says
        if packet.retain:  # older than what is asked for, and nothing new
            return
        number, entry = int(says["id"]), self.run.ledger[int(packet.payload)]
        prefix = self.topic_filter.removesuffix("chat/#")
        assert packet.topic == prefix + entry.topic
        assert says["user"] in PUBLISHERS
        if number in self.log:
            assert packet.dup or number in self.again, f"{self.user_id} gets {number} twice"
            self.again.discard(number)
            assert self.log[number] == entry.number
        self.log[number] = entry.number
        if self.gap:
            self.excused = max(self.excused, number)
            self.gap = False
        if not self.lasts and self.follows:
            assert number > self.last, "out of order"
            self.last = number
            self.newest = max(self.newest, number)


@dataclass
class Run:
    history: Any
    receive_maximum: int | None
    most: int
    ledger: list[Entry] = field(default_factory=list)
    has_failed: bool = False

    def __post_init__(self) -> None:
        self.routed: dict[int, int] = {}
        self.witness = self._make_witness()
        self.publishers = {name: Publisher(self, name) for name in PUBLISHERS}
        self.readers = {
            "carol": Reader(self, "carol", 0, False, "chat/#"),
            "dora": Reader(self, "dora", 2, True, "$history/1000/chat/#"),
            "emil": Reader(self, "emil", 1, True, "chat/#"),
        }

    def _make_witness(self) -> Any:
        client = self.history.joined("witness")
        self.history.read(client, "chat/#", count=0)
        return client

    def step(self, name: str, *arguments: Any) -> None:
        kept = self.history.world.kept
        if name == "publish":
            self.publishers[arguments[0]].publish(*arguments[1:])
        elif name == "kill":
            self.readers[arguments[0]].lose()
        elif name == "leave":
            reader = self.readers[arguments[0]]
            if reader.is_here:
                reader.client.send(Disconnect())
            reader.lose()
        elif name == "deafen":
            self.readers[arguments[0]].deaf = True
        elif name == "hear":
            self.readers[arguments[0]].deaf = False
        elif name in ("connect", "subscribe", "unsubscribe", "acknowledge"):
            getattr(self.readers[arguments[0]], name)(*arguments[1:])
        elif name == "restart":
            self.restart()
        elif name == "tick":
            self.history.tick()
        elif name == "let wait":
            kept.waits = True
        elif name == "read slowly":
            self.history.waits = True
        elif name == "go on":
            kept.waits = self.history.waits = False
            kept.go_on()
            self.history.go_on()
        elif name == "keep":
            kept.go_on(*arguments)
        elif name == "answer":
            self.history.go_on(*arguments)
        elif name == "turn":
            self.history.turn()
        elif name == "fail":
            kept.fails = self.has_failed = True
        elif name == "fail to read":
            self.history.fails = True
        elif name == "recover":
            kept.fails = self.history.fails = False
        self.look()

    def look(self) -> None:
        self.watch()
        for person in (*self.publishers.values(), *self.readers.values()):
            person.hear()

    def watch(self) -> None:
        for packet in self.witness.received():
            if isinstance(packet, Publish) and not packet.retain:
                number = int(told(packet)["id"])
                assert number > max(self.routed, default=0), "ids are not in the order of routing"
                self.routed[number] = int(packet.payload)

    def restart(self) -> None:
        self.history.restart()
        for reader in self.readers.values():
            reader.forget_connection()
        there = {record.id: int(record.payload) for record in self.history.kept()}
        for entry in self.ledger:
            if (
                entry.topic == "chat/durable"
                and entry.qos
                and entry.answer is not None
                and entry.answer < 0x80
            ):
                assert entry.number in there.values(), "acknowledged and not recorded"
        self.routed = there
        self.witness = self._make_witness()
        for publisher in self.publishers.values():
            publisher.connect()

    def finish(self) -> None:
        for _ in range(3):
            self.step("recover")
            self.step("go on")
            self.step("tick")
        for reader in self.readers.values():
            reader.connect()
            reader.subscribe()
        idle = 0
        while idle < 3:
            self.step("turn")
            self.step("tick")
            idle += 1
            for name, reader in self.readers.items():
                idle = 0 if reader.due else idle
                self.step("acknowledge", name, 10)
        there = {record.id: int(record.payload) for record in self.history.there()}
        refused = {entry.number for entry in self.ledger if entry.answer is not None and entry.answer >= 0x80}
        assert refused.isdisjoint(there.values())
        assert there.items() <= self.routed.items()
        assert max(Counter(there.values()).values(), default=1) == 1
        for reader in self.readers.values():
            assert refused.isdisjoint(reader.log.values()), "a refused message was delivered"
            missing = {
                number: payload
                for number, payload in there.items()
                if number not in reader.log and number > reader.excused
            }
            assert not missing, f"{reader.user_id} lacks {missing}"


@pytest.fixture(autouse=True)
def quiet():
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


def obey(make_history: Any, program: Any, receive_maximum: int | None, most: int) -> Run:
    history = make_history(
        HistoryRule("chat/durable", 86_400, most, durable=True), HistoryRule("chat/#", 86_400, most)
    )
    run = Run(history, receive_maximum, most)
    note(f"{program=} {receive_maximum=} {most=}")
    for step in program:
        run.step(*step)
    run.finish()
    return run


no_health_check = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@no_health_check
@given(program=programs(steps), receive_maximum=st.sampled_from((None, 1, 3)))
def test_nothing_is_missing_and_nothing_comes_twice(make_history, program, receive_maximum):
    obey(make_history, program, receive_maximum, 1_000)


@no_health_check
@given(program=programs(st.one_of(steps, failures)), receive_maximum=st.sampled_from((None, 2)))
def test_where_the_store_fails_what_is_missing_is_told(make_history, program, receive_maximum):
    obey(make_history, program, receive_maximum, 1_000)


@no_health_check
@given(program=programs(steps), most=st.sampled_from((1, 3)))
def test_where_much_is_trimmed_what_is_missing_is_told(make_history, program, most):
    obey(make_history, program, None, most)
