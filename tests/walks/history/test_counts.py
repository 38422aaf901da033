"""Random programs against a count from nothing: what waits is counted as it is, whatever happens to it.

Readers of every kind: with sessions that end with their connections and such that do not, of both
versions, with small windows and queues, that ask for history while messages come live, so that there are
barriers in their queues and marks to go with what comes next. All queues together hold little, so
that whoever holds most has to give in the middle of whatever goes on.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tokenmq.access.permission import Permission
from tokenmq.access.policy import Policy
from tokenmq.access.recording import HistoryRule
from tokenmq.access.rules import Effect, Rule
from tokenmq.broker import due, queued
from tokenmq.broker.barrier import Barrier
from tokenmq.mqtt.packets import Disconnect, Puback, Pubcomp, Publish, Pubrec, Pubrel, Subscribe, Unsubscribe
from tokenmq.mqtt.packets.subscribe import Subscription

# By client: its version, and how long its session outlives its connection.
READERS = {"run-4": (4, 0), "run-5": (5, 0), "kept-4": (4, 600), "kept-5": (5, 600)}
TOPICS = ("chat/a", "chat/b", "chat/durable")
FILTERS = ("chat/#", "chat/a", "$history/3/chat/#", "$history/9/chat/b", "$share/all/chat/#")
EVERYTHING = Rule("*", tuple(Permission), ("#",))
POLICIES = (
    Policy((EVERYTHING,)),
    Policy((Rule("*", (Permission.HISTORY,), ("chat/b",), Effect.DENY), EVERYTHING)),
    Policy((Rule("*", (Permission.SUBSCRIBE,), ("chat/a",), Effect.DENY), EVERYTHING)),
)

readers = st.sampled_from(tuple(READERS))


def publications() -> Any:
    return st.tuples(
        st.just("publish"),
        st.sampled_from(TOPICS),
        st.sampled_from((0, 1, 1, 2)),
        st.sampled_from((5, 50, 400)),
        st.sampled_from((None, 3, 60)),
        st.integers(1, 4),
        st.booleans(),
    )


def subscribing() -> Any:
    return st.tuples(
        st.just("subscribe"),
        readers,
        st.sampled_from(FILTERS),
        st.sampled_from((0, 1, 2)),
        st.sampled_from((None, "tokenmq-history", "tokenmq-history-after")),
    )


# What is named twice comes more often.
steps = st.one_of(
    publications(),
    publications(),
    publications(),
    subscribing(),
    subscribing(),
    st.tuples(st.just("unsubscribe"), readers, st.sampled_from(FILTERS)),
    st.tuples(st.just("acknowledge"), readers, st.integers(1, 4)),
    st.tuples(st.just("acknowledge"), readers, st.integers(1, 4)),
    st.tuples(st.sampled_from(("pause", "pause", "resume", "resume", "lose", "leave")), readers),
    st.tuples(st.just("come back"), readers),
    st.tuples(st.just("policy"), st.sampled_from(POLICIES)),
    st.tuples(st.just("clock"), st.sampled_from((1, 3, 5))),
    st.tuples(st.sampled_from(("read slowly", "go on", "store slowly", "store"))),
    st.tuples(st.sampled_from(("turn", "tick", "read slowly", "go on", "go on", "turn", "restart"))),
)


class Program:
    """Carries out steps; what cannot be done now is left out."""

    def __init__(self, make_history: Any) -> None:
        self.history = make_history(
            HistoryRule("chat/durable", 600, 3, durable=True),
            HistoryRule("chat/#", 600, 20),
            max_all_queued_bytes=12_000,
            max_queued_messages=6,
            max_queued_bytes=4_000,
            max_inflight=3,
            max_inflight_bytes=800,
        )
        self.history.obey(POLICIES[0])
        self.world = self.history.world
        self.numbers = itertools.count(1)
        self.packet_ids = itertools.cycle(range(1, 60_000))
        self.begin()

    def begin(self) -> None:
        self.clients: dict[str, Any] = {}
        self.alice = self.history.joined("alice")
        for name in READERS:
            self.connect(name)
            self.subscribe(name, "chat/#", 1, "tokenmq-history")
            self.subscribe(name, "$history/3/chat/#", 2, None)

    def do(self, what: str, *more: Any) -> None:
        getattr(self, what.replace(" ", "_"))(*more)

    # What publishers and readers do

    def publish(self, topic: str, qos: int, size: int, expiry: int | None, count: int, retain: bool) -> None:
        if self.alice.transport.closed:  # its keep alive was over
            self.alice = self.history.joined("alice")
        for _ in range(count):
            self.publish_one(topic, qos, size, expiry, retain=retain)

    def publish_one(self, topic: str, qos: int, size: int, expiry: int | None, *, retain: bool) -> None:
        payload = b"%d " % next(self.numbers) + bytes(size)
        packet_id = next(self.packet_ids) if qos else 0
        self.alice.send(
            Publish(topic, payload, qos, retain, packet_id=packet_id, message_expiry_interval=expiry)
        )
        self.alice.received()
        if qos == 2:
            self.alice.send(Pubrel(packet_id=packet_id))

    def connect(self, name: str) -> None:
        version, lasts = READERS[name]
        client = self.world.client(version)
        password = self.world.person(name, permissions=("publish", "subscribe", "history"))
        more = {"session_expiry_interval": lasts} if version == 5 else {}
        client.connect(password, name, clean_start=not lasts, **more)
        self.clients[name] = client
        # Who listens stays, whatever it has lost the right to.
        client.subscribe("$auth/events")

    def come_back(self, name: str) -> None:
        if self.clients[name].transport.closed or self.session(name) is None:
            self.connect(name)

    def subscribe(self, name: str, topic_filter: str, qos: int, asks: str | None) -> None:
        client = self.clients[name]
        told = ((asks, "4"),) if asks and client.version == 5 else ()
        self.send(
            client,
            Subscribe(next(self.packet_ids), (Subscription(topic_filter, qos=qos),), user_properties=told),
        )

    def unsubscribe(self, name: str, topic_filter: str) -> None:
        self.send(self.clients[name], Unsubscribe(next(self.packet_ids), (topic_filter,)))

    def acknowledge(self, name: str, count: int) -> None:
        client = self.clients[name]
        for packet in client.received():
            if isinstance(packet, Publish) and packet.qos == 1 and count:
                count -= 1
                self.send(client, Puback(packet.packet_id))
            elif isinstance(packet, Publish) and packet.qos == 2 and count:
                count -= 1
                self.send(client, Pubrec(packet.packet_id))
            elif isinstance(packet, Pubrel):
                self.send(client, Pubcomp(packet.packet_id))

    def pause(self, name: str) -> None:
        if self.session(name) is not None:
            self.clients[name].link.writing_paused()

    def resume(self, name: str) -> None:
        if self.session(name) is not None:
            self.clients[name].link.writing_resumed()

    def lose(self, name: str) -> None:
        self.clients[name].link.lost()

    def leave(self, name: str) -> None:
        self.send(self.clients[name], Disconnect())
        self.clients[name].link.lost()

    def send(self, client: Any, packet: Any) -> None:
        if not client.transport.closed:
            client.send(packet)

    def session(self, name: str) -> Any:
        return self.clients[name].link.outbox.session

    # What happens to the broker

    def policy(self, policy: Policy) -> None:
        self.history.obey(policy)

    def clock(self, seconds: int) -> None:
        self.world.clock.advance(seconds)

    def read_slowly(self) -> None:
        self.history.waits = True

    def go_on(self) -> None:
        self.history.waits = False
        self.history.go_on()

    def store_slowly(self) -> None:
        self.world.kept.waits = True

    def store(self) -> None:
        self.world.kept.waits = False
        self.world.kept.go_on()

    def turn(self) -> None:
        self.history.turn()

    def tick(self) -> None:
        self.history.tick()

    def restart(self) -> None:
        self.history.restart()
        self.begin()

    # What must hold

    def check(self) -> None:
        """Hold all counts against what there is."""
        broker = self.world.broker
        total = 0
        for tenant in broker.tenants.values():
            held: dict[int, tuple[int, int]] = {}  # by object: its bytes, and how many entries have it
            own = 0
            for session in tenant.sessions.values():
                own += _check_runs(session, held)
                if session.backlog is not None:
                    own += _check_due(session.backlog, held)
            assert tenant.share.bytes == own + sum(size for size, _ in held.values())
            assert tenant.share._held == {key: count for key, (_, count) in held.items()}
            total += tenant.share.bytes
        assert broker.queues.bytes == total
        assert total <= broker.queues.limit


def _hold(held: dict[int, tuple[int, int]], one: object, size: int) -> None:
    _, count = held.get(id(one), (size, 0))
    held[id(one)] = size, count + 1


def _check_runs(session: Any, held: dict[int, tuple[int, int]]) -> int:
    runs = [one for one in session.queue if not isinstance(one, Barrier)]
    for one in runs:
        assert one.bytes_left
        _hold(held, one.run, len(one.run))
    own = len(runs) * queued._ENTRY_BYTES
    assert session.weight == own + sum(len(one.run) for one in runs)
    assert session.size_class == session.weight.bit_length()
    assert session.queued_messages == sum(one.messages_left for one in runs) <= 6
    assert session._queued_bytes == sum(one.bytes_left for one in runs) <= 4_000
    assert not (session.ready and session.queue)
    assert session.connected or not (session.queue or session.marks or session.readings)
    barriers = [one for one in session.queue if isinstance(one, Barrier)]
    assert barriers == [one.barrier for one in session.readings or ()]
    return own


def _check_due(backlog: Any, held: dict[int, tuple[int, int]]) -> int:
    entries = list(backlog.due)
    for _, message in entries:
        _hold(held, message, message.size + due.MESSAGE_BYTES)
    own = len(entries) * due.ENTRY_BYTES
    assert len(backlog.due) == len(entries)
    assert backlog.due.bytes == sum(message.size for _, message in entries)
    assert backlog.due.weight == own + sum(message.size + due.MESSAGE_BYTES for _, message in entries)
    assert backlog.due.size_class == backlog.due.weight.bit_length()
    barriers = [one for one in backlog.due._items if isinstance(one, Barrier)]
    assert barriers == [one.barrier for one in backlog.session.readings or ()]
    if backlog.session.connected:
        assert backlog._inflight_bytes == sum(one.under_way for one in backlog.deliveries.values())
    return own


@pytest.fixture(autouse=True)
def quiet():
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=st.lists(steps, min_size=10, max_size=60))
def test_whatever_happens_to_queues_they_are_counted_as_they_are(make_history, program):
    carried = Program(make_history)
    for step in program:
        note(f"{step}")
        carried.do(*step)
        carried.check()
    carried.go_on()
    carried.store()
    for client in (carried.alice, *carried.clients.values()):
        client.link.lost()
        carried.check()
    carried.world.clock.advance(carried.world.settings.max_session_expiry_seconds + 1)
    carried.tick()
    assert carried.world.broker.queues.bytes == 0
    for tenant in carried.world.broker.tenants.values():
        assert not tenant.sessions
        assert not tenant.share._held
        assert not tenant.history.asking
