"""Random programs against a ledger: what was acknowledged is delivered, at QoS 2 once, in order.

One publisher and two receivers whose sessions outlive their connections, each a client that
keeps to the standard. Connections are lost with what was on its way, the process is killed
between any two steps of the store, the store lets wait and fails. In the end everything is
put right, everybody comes back, and the ledger is held against what each receiver has got
(SECURITY, 5.1: N1).
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tokenmq.broker.records import DeliveryRecord, MessageRecord, ReceivedRecord, SessionRecord
from tokenmq.mqtt.packets import (
    Connack,
    Disconnect,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from tokenmq.mqtt.packets.subscribe import Subscription

ORG = "org_aaaaaaaaaaaa"
TOPICS = ("chat/a", "chat/b")
RECEIVERS = ("bob", "carol")
EVERYBODY = ("alice", *RECEIVERS)

steps = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from(TOPICS), st.sampled_from((1, 2)), st.integers(1, 4)),
    st.tuples(st.just("publish"), st.sampled_from(TOPICS), st.sampled_from((1, 2)), st.integers(1, 4)),
    st.tuples(st.just("release"), st.integers(1, 4)),
    st.tuples(st.just("acknowledge"), st.sampled_from(RECEIVERS), st.integers(1, 5)),
    st.tuples(st.just("acknowledge"), st.sampled_from(RECEIVERS), st.integers(1, 5)),
    st.tuples(st.just("connect"), st.sampled_from(EVERYBODY), st.booleans()),
    st.tuples(st.just("connect"), st.sampled_from(EVERYBODY), st.just(False)),
    st.tuples(st.sampled_from(("leave", "kill", "deafen", "hear")), st.sampled_from(EVERYBODY)),
    st.tuples(st.sampled_from(("subscribe", "unsubscribe")), st.sampled_from(RECEIVERS)),
    st.tuples(st.sampled_from(("restart", "tick", "let wait", "go on"))),
    st.tuples(st.just("keep"), st.integers(1, 3)),
)
failures = st.tuples(st.sampled_from(("fail", "recover")))


def programs(step: Any) -> Any:
    """Return programs of some dozen steps: what goes wrong takes four or five in the right order."""
    return st.lists(st.lists(step, min_size=1, max_size=12), max_size=8).map(
        lambda parts: list(chain(*parts))
    )


@dataclass
class Entry:
    """One message of the ledger.

    Attributes:
        number: its place among all messages, and its payload.
        packet_id: 0 when its handshake is over.
        session: the session of its publisher, counted.
        attempts: how often it was sent.
        answer: reason code of PUBACK or PUBREC; None before that.
    """

    number: int
    topic: str
    qos: int
    packet_id: int
    session: int
    attempts: int = 1
    answer: int | None = None

    @property
    def is_acknowledged(self) -> bool:
        return self.answer is not None and self.answer < 0x80

    def packet(self, *, dup: bool) -> Publish:
        return Publish(
            topic=self.topic, payload=b"%d" % self.number, qos=self.qos, packet_id=self.packet_id, dup=dup
        )


class Person:
    """A client that keeps to the standard; `deaf`: what is sent to it has not arrived yet."""

    def __init__(self, run: Run, user_id: str, version: int, receive_maximum: int | None = None) -> None:
        self.run = run
        self.user_id = user_id
        self.version = version
        self.receive_maximum = receive_maximum if version == 5 else None
        self.client: Any = None
        self.deaf = False
        self.lasts = True
        self.must_be_present = False
        self.must_begin_anew = False

    def connect(self, *, clean: bool) -> None:
        world = self.run.world
        self.lose()
        clean = clean or self.must_begin_anew
        self.must_begin_anew = False
        self.lasts = self.version == 5 or not clean
        self.client = world.client(self.version)
        self.deaf = False
        fields = {"session_expiry_interval": 600, "receive_maximum": self.receive_maximum}
        came = self.client.connect(
            world.person(self.user_id),
            self.user_id,
            clean_start=clean,
            **(fields if self.version == 5 else {}),
        )
        if not came:  # a session ends: CONNACK waits until that is kept
            world.kept.go_on()
            came = self.client.received()
        connack, *packets = came
        assert isinstance(connack, Connack)
        assert connack.reason_code == 0
        if clean:
            assert not connack.session_present
        elif self.must_be_present:
            assert connack.session_present, f"the session of {self.user_id} is lost"
        if not connack.session_present:
            self.must_be_present = False
            self.forget()
        self.come_back()
        self.take(packets)

    def leave(self) -> None:
        if self.is_here:
            self.client.send(Disconnect())
        self.lose()

    def lose(self) -> None:
        """Lose the connection, with all that was on its way."""
        if self.client is not None:
            self.client.link.lost()
            self.gone()

    def gone(self) -> None:
        """Be without a connection, and without a session if it does not last."""
        self.client = None
        if not self.lasts:
            self.must_be_present = False
            self.forget()

    def hear(self) -> None:
        if self.client is not None and not self.deaf:
            self.take(self.client.received())
            if self.client is not None and self.client.transport.closed:
                self.lose()

    @property
    def is_here(self) -> bool:
        return self.client is not None and not self.client.transport.closed

    def send(self, *packets: Any) -> None:
        if packets and self.is_here:
            self.client.send(*packets)

    def take(self, packets: list[Any]) -> None:
        for packet in packets:
            if not isinstance(packet, Disconnect):
                getattr(self, "on_" + type(packet).__name__.lower())(packet)

    def forget(self) -> None:
        """Begin a session."""

    def come_back(self) -> None:
        """Do what is to be done first on a new connection."""


class Publisher(Person):
    """Sends messages again until they are answered [MQTT-4.4.0-1]."""

    def __init__(self, run: Run, user_id: str, version: int) -> None:
        super().__init__(run, user_id, version)
        self.under_way: dict[int, Entry] = {}
        self.releasing: dict[int, bool] = {}  # and whether PUBREL was sent
        self.session = 0

    def publish(self, topic: str, qos: int, count: int) -> None:
        packets = []
        for _ in range(count if self.is_here else 0):
            used = self.under_way.keys() | self.releasing.keys()
            packet_id = next(one for one in range(1, 65_536) if one not in used)
            entry = Entry(len(self.run.ledger), topic, qos, packet_id, self.session)
            self.run.ledger.append(entry)
            self.under_way[packet_id] = entry
            packets.append(entry.packet(dup=False))
        self.send(*packets)

    def release(self, count: int) -> None:
        packet_ids = [packet_id for packet_id, sent in self.releasing.items() if not sent][:count]
        for packet_id in packet_ids:
            self.releasing[packet_id] = True
        self.send(*(Pubrel(packet_id=packet_id) for packet_id in packet_ids))

    def come_back(self) -> None:
        packets: list[Any] = [
            Pubrel(packet_id=packet_id) for packet_id, sent in self.releasing.items() if sent
        ]
        for entry in self.under_way.values():
            entry.attempts += 1
            packets.append(entry.packet(dup=True))
        self.send(*packets)

    def forget(self) -> None:
        self.session += 1
        self.under_way.clear()
        self.releasing.clear()

    def on_puback(self, packet: Puback) -> None:
        entry = self.under_way.pop(packet.packet_id)
        assert entry.qos == 1
        self._answered(entry, packet.reason_code)

    def on_pubrec(self, packet: Pubrec) -> None:
        if packet.packet_id in self.releasing:  # a second one
            assert packet.reason_code < 0x80
            return
        entry = self.under_way.pop(packet.packet_id)
        assert entry.qos == 2
        self._answered(entry, packet.reason_code)
        if entry.is_acknowledged:
            self.must_be_present = self.lasts
            self.releasing[packet.packet_id] = False
            assert not self.lasts or self.run.is_received(self.user_id, packet.packet_id), (
                "PUBREC before the disk"
            )

    def on_pubcomp(self, packet: Pubcomp) -> None:
        assert self.releasing.pop(packet.packet_id), "PUBCOMP without PUBREL"
        assert not self.run.is_received(self.user_id, packet.packet_id), "PUBCOMP before the disk"

    def _answered(self, entry: Entry, code: int) -> None:
        assert entry.answer is None
        entry.answer = int(code)


class Receiver(Person):
    """Takes each message at QoS 2 once, by its packet identifier until PUBREL [MQTT-4.3.3-10]."""

    def __init__(self, run: Run, user_id: str, version: int, qos: int, receive_maximum: int | None) -> None:
        super().__init__(run, user_id, version, receive_maximum)
        self.qos = qos
        self.forget()

    def forget(self) -> None:
        self.log: list[int] = []  # numbers of messages, as an application got them
        self.held: set[int] = set()
        self.due: deque[Any] = deque()  # answers that were not sent yet
        self.subscribing = False
        self.since: int | None = None  # from this message on it must get all

    def subscribe(self) -> None:
        if self.since is None and self.is_here:
            self.subscribing = True
            self.send(Subscribe(packet_id=1, subscriptions=(Subscription("chat/#", qos=self.qos),)))

    def unsubscribe(self) -> None:
        if self.is_here:
            self.since, self.subscribing = None, False
            self.send(Unsubscribe(packet_id=2, topic_filters=("chat/#",)))

    def acknowledge(self, count: int) -> None:
        packets = [self.due.popleft() for _ in range(min(count, len(self.due)))]
        self.send(*packets)

    def come_back(self) -> None:
        self.due.clear()
        self.subscribing = False

    def on_suback(self, packet: Suback) -> None:
        if packet.reason_codes[0] < 0x80 and self.subscribing:
            self.since = len(self.run.ledger)
            self.must_be_present = self.lasts
        self.subscribing = False

    def on_unsuback(self, packet: Unsuback) -> None:
        pass

    def on_publish(self, packet: Publish) -> None:
        entry = self.run.ledger[int(packet.payload)]
        assert packet.topic == entry.topic
        assert packet.qos == min(entry.qos, self.qos)
        if packet.qos == 1:
            self.log.append(entry.number)
            self.due.append(Puback(packet_id=packet.packet_id))
            return
        if packet.packet_id in self.held:
            assert packet.dup, "a new message under an identifier that is in use"
            assert entry.number in self.log
        else:
            self.held.add(packet.packet_id)
            self.log.append(entry.number)
        self.due.append(Pubrec(packet_id=packet.packet_id))

    def on_pubrel(self, packet: Pubrel) -> None:
        if packet.packet_id in self.held and self.lasts and not self.run.may_drop:
            assert self.run.is_released(self.user_id, packet.packet_id), "PUBREL before the disk"
        self.held.discard(packet.packet_id)
        self.due.append(Pubcomp(packet_id=packet.packet_id))

    def must_have(self, entry: Entry) -> bool:
        return entry.is_acknowledged and self.since is not None and entry.number >= self.since


@dataclass
class Limits:
    versions: tuple[int, int, int]
    levels: tuple[int, int]
    receive_maximum: int | None
    max_inflight: int
    max_queued: int


limits = st.builds(
    Limits,
    versions=st.tuples(*[st.sampled_from((5, 5, 4))] * 3),
    levels=st.tuples(*[st.sampled_from((2, 2, 1))] * 2),
    receive_maximum=st.sampled_from((None, None, 1, 3)),
    max_inflight=st.sampled_from((2, 100)),
    max_queued=st.sampled_from((1_000, 1_000, 2)),
)


@dataclass
class Run:
    world: Any
    limits: Limits
    ledger: list[Entry] = field(default_factory=list)
    dropped: int = 0

    def __post_init__(self) -> None:
        first, *others = self.limits.versions
        self.may_drop = self.limits.max_queued < 1_000
        self.publisher = Publisher(self, "alice", first)
        self.receivers = [
            Receiver(self, user_id, version, qos, self.limits.receive_maximum)
            for user_id, version, qos in zip(RECEIVERS, others, self.limits.levels, strict=True)
        ]
        self.people: list[Person] = [self.publisher, *self.receivers]
        self.by_name: dict[str, Any] = {person.user_id: person for person in self.people}

    # What is kept

    def _session(self, client_id: str) -> int:
        """Return the number of a client's session, 0 if there is none that lasts."""
        tenant = self.world.broker.tenants.get(ORG)
        session = tenant.sessions.get(client_id) if tenant is not None else None
        return session.number if session is not None else 0

    def has_ended(self, client_id: str) -> bool:
        """Tell whether a session is kept that is not there any more."""
        number = self._session(client_id)
        return any(
            one.client_id == client_id and one.number != number for one in self.world.kept.all(SessionRecord)
        )

    def is_received(self, client_id: str, packet_id: int) -> bool:
        return (ReceivedRecord, (self._session(client_id), packet_id)) in self.world.kept.records

    def is_released(self, client_id: str, packet_id: int) -> bool:
        record = self.world.kept.records.get((DeliveryRecord, (self._session(client_id), packet_id)))
        return record is not None and record.released

    def kept_for(self, client_id: str) -> set[int]:
        """Return the messages that are on the disk for a client."""
        number, kept = self._session(client_id), self.world.kept.records
        messages = [
            kept.get((MessageRecord, delivery.message))
            for delivery in self.world.kept.all(DeliveryRecord)
            if delivery.session == number and not delivery.released
        ]
        return {int(message.payload) for message in messages if message is not None}

    # Steps

    def step(self, name: str, *arguments: Any) -> None:
        getattr(self, "do_" + name.replace(" ", "_"))(*arguments)
        for person in self.people:
            person.hear()

    def check_kept(self) -> None:
        """What is acknowledged has come, or is on the disk on behalf of each session that lasts."""
        for receiver in self.receivers:
            if receiver.lasts and not self.may_drop:
                owed = {entry.number for entry in self.ledger if receiver.must_have(entry)}
                lacking = owed.difference(receiver.log, self.kept_for(receiver.user_id))
                assert not lacking, f"acknowledged, not kept for {receiver.user_id}: {lacking}"

    def do_publish(self, topic: str, qos: int, count: int) -> None:
        self.publisher.publish(topic, qos, count)

    def do_release(self, count: int) -> None:
        self.publisher.release(count)

    def do_acknowledge(self, who: str, count: int) -> None:
        self.by_name[who].acknowledge(count)

    def do_connect(self, who: str, clean: bool) -> None:
        self.by_name[who].connect(clean=clean)

    def do_leave(self, who: str) -> None:
        self.by_name[who].leave()

    def do_kill(self, who: str) -> None:
        self.by_name[who].lose()

    def do_deafen(self, who: str) -> None:
        self.by_name[who].deaf = True

    def do_hear(self, who: str) -> None:
        self.by_name[who].deaf = False

    def do_subscribe(self, who: str) -> None:
        self.by_name[who].subscribe()

    def do_unsubscribe(self, who: str) -> None:
        self.by_name[who].unsubscribe()

    def do_restart(self) -> None:
        """Kill the process: nothing that was on its way arrives, nothing that waited is kept.

        A session whose end was not kept yet comes back, and its client must not go on with it.
        """
        self.dropped += self.world.broker.counters.dropped
        for person in self.people:
            person.must_begin_anew |= self.has_ended(person.user_id)
            person.gone()
        self.world.restart()

    def do_tick(self) -> None:
        self.world.clock.advance(0.25)
        self.world.tick()

    def do_let_wait(self) -> None:
        self.world.kept.waits = True

    def do_go_on(self) -> None:
        self.world.kept.waits = False
        self.world.kept.go_on()

    def do_keep(self, count: int) -> None:
        self.world.kept.go_on(count)

    def do_fail(self) -> None:
        self.world.kept.fails = True

    def do_recover(self) -> None:
        self.world.kept.fails = False

    # In the end

    def put_right(self) -> None:
        """Let the store work and everybody come back and do what is due, until nothing is."""
        self.do_recover()
        self.step("go on")
        for person in self.people:
            person.deaf = False
            if not person.is_here:
                person.connect(clean=False)
        for _ in range(200):
            self.step("tick")
            self.step("release", 1_000)
            for receiver in self.receivers:
                self.step("acknowledge", receiver.user_id, 1_000)
            if not any(receiver.due for receiver in self.receivers) and not self.publisher.under_way:
                break
        self.dropped += self.world.broker.counters.dropped
        self.do_tick()

    def check(self, *, ordered: bool) -> None:
        assert not self.publisher.under_way, "everything is answered"
        assert not self.publisher.releasing, "everything is completed"
        for receiver in self.receivers:
            self.check_receiver(receiver, ordered=ordered)
        for kind in (DeliveryRecord, MessageRecord, ReceivedRecord):
            assert self.world.kept.all(kind) == [], "nothing is kept that nobody waits for"
        for session in self.world.broker.tenants[ORG].sessions.values():
            under_way = (session.unreleased, session.inflight, session.backlog and session.backlog.deliveries)
            assert not any(under_way), "nothing is under way"

    def check_receiver(self, receiver: Receiver, *, ordered: bool) -> None:
        times = Counter(receiver.log)
        missing = [
            entry.number for entry in self.ledger if receiver.must_have(entry) and not times[entry.number]
        ]
        assert len(missing) <= (self.dropped if self.may_drop else 0), f"lost: {missing}"
        twice = [number for number, count in times.items() if count > 1 and self.ledger[number].qos == 2]
        assert receiver.qos < 2 or not twice, f"more than once: {twice}"
        refused = [
            entry.number
            for entry in self.ledger
            if entry.answer is not None and not entry.is_acknowledged and entry.attempts == 1
        ]
        assert not times.keys() & set(refused), "refused, and delivered"
        # What a full queue has cost may come after all, and late, if the process is killed.
        streams: dict[tuple[str, int], list[int]] = {}
        for number in dict.fromkeys(receiver.log) if ordered and not self.may_drop else ():
            entry = self.ledger[number]
            if receiver.must_have(entry):  # of others it may have got the second attempt alone
                streams.setdefault((entry.topic, entry.session), []).append(number)
        for stream, first in streams.items():
            assert first == sorted(first), f"out of order in {stream}: {first}"


def run_program(world: Any, limit: Limits, program: list[Any]) -> Run:
    note(f"{limit}\n{program}")
    with structlog.testing.capture_logs() as logged:
        run = begun(world, limit)
        for step in program:
            run.step(*step)
            run.check_kept()
        run.put_right()
    assert [entry for entry in logged if entry["event"] == "defect"] == []
    return run


def begun(world: Any, limit: Limits) -> Run:
    """Return a run in which everybody is there and has subscribed."""
    run = Run(world, limit)
    for person in run.people:
        person.connect(clean=False)
    for receiver in run.receivers:
        receiver.subscribe()
        receiver.hear()
    return run


RANDOM = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@RANDOM
@given(limit=limits, program=programs(steps))
def test_n1_nothing_acknowledged_is_lost_and_order_holds(make_world, limit, program):
    world = make_world(max_inflight=limit.max_inflight, max_queued_messages=limit.max_queued)
    run_program(world, limit, program).check(ordered=True)


@RANDOM
@given(limit=limits, program=programs(st.one_of(steps, steps, steps, failures)))
def test_n1_nothing_acknowledged_is_lost_though_the_store_fails(make_world, limit, program):
    """Without order: of two messages under way the first may be refused, and sent again later."""
    world = make_world(max_inflight=limit.max_inflight, max_queued_messages=limit.max_queued)
    run_program(world, limit, program).check(ordered=False)


def taken_from_the_disk(run: Run) -> None:
    kept = run.world.kept
    kept.records = {name: record for name, record in kept.records.items() if name[0] is not DeliveryRecord}
    run.check_kept()


def taken_from_memory(run: Run) -> None:
    """Behind the store's back: what is kept of it stays."""
    run.world.broker.tenants[ORG].sessions["bob"].backlog.forget_all()
    run.put_right()
    run.check(ordered=True)


def taken_from_the_log(run: Run) -> None:
    run.put_right()
    run.receivers[0].log.clear()
    run.check(ordered=True)


@pytest.mark.parametrize("take", [taken_from_the_disk, taken_from_memory, taken_from_the_log])
def test_the_ledger_sees_what_is_lost(make_world, take):
    """The test of the test."""
    run = begun(make_world(), Limits((5, 5, 5), (2, 2), None, 100, 1_000))
    run.step("kill", "bob")
    run.step("publish", "chat/a", 2, 1)
    with pytest.raises(AssertionError, match=r"lost: \[0\]|not kept for bob"):
        take(run)
