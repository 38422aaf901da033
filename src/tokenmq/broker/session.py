"""One MQTT session: who it is, what it may do, what it subscribed to.

How messages reach it is `receiver`'s affair, and `backlog`'s where they come one by one.
A session that outlives its connection has a number, which names it in the store, and a
backlog; any other has neither and pays nothing for those that do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tokenmq.access.decide import Scope
from tokenmq.access.identity import Identity
from tokenmq.broker.barrier import Barrier
from tokenmq.broker.moment import Moment
from tokenmq.broker.outbox import Outbox
from tokenmq.broker.presence import member_id
from tokenmq.broker.records import SessionRecord, Will
from tokenmq.broker.remembering import Remembering
from tokenmq.config import BrokerSettings

if TYPE_CHECKING:
    from tokenmq.broker.backlog import Backlog
    from tokenmq.broker.publication import Arriving
    from tokenmq.broker.reading import Reading
    from tokenmq.broker.retaining import Replay
    from tokenmq.broker.subscription import Subscription
    from tokenmq.broker.tenant import Tenant
    from tokenmq.broker.watching import Watcher


class Session(Remembering):
    """A session, and the connection that it has or has not.

    Attributes:
        tenant: the organization that it belongs to.
        identity: who owns it, with the rights of its newest connection.
        scope: what that identity may do.
        number: its name in the store; 0 for one that ends with its connection.
        backlog: messages that it is to get one by one; None where all come as runs, and at the end.
        expiry_seconds: how long it outlives its connection.
        is_kept: the store has it; nothing may hang on it there before.
        will: what is published if its connection is lost.
        unreleased: packet identifiers of QoS 2 messages taken in, until their PUBREL.
        releasing: those whose PUBREL has come, but that is not kept yet, and the connection that
            it came by last; None where that was never.
        receive_maximum: how many messages its client may have unacknowledged.
        arriving: publications that wait for the store, or behind one that does.
        joining: new filters that wait for the store.
        waiting: bytes that SUBSCRIBE and UNSUBSCRIBE take which wait for the store, about.
        watchers: by filter, for the subscriptions by which it watches who is present; or None.
        replays: subscriptions whose retained messages it is still to get, by filter.
        readings: what it is still to get of the history; the first is under way.
        missed: its queue has lost something while it was sent older messages.
        disowned: its owner's rights were revoked; nothing of it goes on.
        listens: this connection has subscribed to its own events.
        events_identifier: the Subscription Identifier of that, 0 for none.
        denied_told_at: when it was last told of a refusal, unix seconds.
        expiry_second: its place in the wheel of expiries, None if it does not expire.
        warning_second: likewise in the wheel of warnings.
        leaving_second: likewise in the wheel of sessions without a connection.
        will_second: likewise in the wheel of delayed wills.
        opened_at: when its connection was, unix seconds.
        renewed_at: when it came under its token, unix seconds.
        tokens_at: when tokens were published on this connection, of late, unix seconds.
        left_at: when its connection ended; None while it has one.
    """

    __slots__ = (
        "_member_id",
        "arriving",
        "backlog",
        "client_id",
        "denied_told_at",
        "disowned",
        "events_identifier",
        "expiry_second",
        "expiry_seconds",
        "identity",
        "is_kept",
        "joining",
        "leaving_second",
        "left_at",
        "listens",
        "missed",
        "number",
        "opened_at",
        "readings",
        "receive_maximum",
        "releasing",
        "renewed_at",
        "replays",
        "scope",
        "subscriptions",
        "tenant",
        "tokens_at",
        "unreleased",
        "waiting",
        "warning_second",
        "watchers",
        "will",
        "will_second",
    )

    def __init__(
        self,
        tenant: Tenant,
        outbox: Outbox,
        identity: Identity,
        client_id: str,
        *,
        settings: BrokerSettings,
        moment: Moment,
    ) -> None:
        super().__init__(
            outbox,
            max_inflight=settings.max_inflight,
            topic_alias_maximum=settings.topic_alias_maximum,
            max_queued_messages=settings.max_queued_messages,
            max_queued_bytes=settings.max_queued_bytes,
            dirty=tenant.dirty,
            overflowed=tenant.overflowed,
            share=tenant.share,
            counters=tenant.counters,
            moment=moment,
        )
        self.tenant = tenant
        self.client_id = client_id
        self.number = 0
        self.backlog: Backlog | None = None
        self.expiry_seconds = 0
        self.is_kept = False
        self.will: Will | None = None
        self.unreleased: set[int] = set()
        self.releasing: dict[int, Outbox] | None = None
        self.receive_maximum = settings.receive_maximum
        self.arriving: Arriving | None = None
        self.joining: set[str] = set()
        self.waiting = 0
        self.replays: dict[str, Replay] | None = None
        self.watchers: dict[str, Watcher] | None = None
        self._member_id = ""
        self.readings: list[Reading] | None = None
        self.missed = False
        self.disowned = False
        self.expiry_second: int | None = None
        self.warning_second: int | None = None
        self.leaving_second: int | None = None
        self.will_second: int | None = None
        self.subscriptions: dict[str, Subscription] = {}
        self._begin(identity)

    def _begin(self, identity: Identity) -> None:
        """Go on under an identity, over the connection that was taken."""
        self.identity = identity
        self.scope = self._scope()
        self.opened_at = self.renewed_at = self._moment.now
        self.tokens_at: tuple[float, ...] = ()
        self.left_at: float | None = None
        self.listens = False
        self.events_identifier = 0
        self.denied_told_at = 0.0
        self.remember_nothing()

    def _scope(self) -> Scope:
        policy = None if self.identity.is_server else self.tenant.rules.policy
        return Scope(self.identity, policy=policy, client_id=self.client_id)

    # Its life

    def renew(self, identity: Identity) -> bool:
        """Go on under another password over the connection that there is; tell whether rights differ."""
        former, self.identity = self.identity, identity
        self.renewed_at = self._moment.now
        if identity.has_rights_of(former):
            return False
        self.judge_anew()
        return True

    def judge_anew(self) -> None:
        """Ask for rights again: they are others now; `suspending` has that felt."""
        self.scope = self._scope()
        self.judgements.clear()
        self.lanes.clear()

    def attach(self, outbox: Outbox, identity: Identity) -> None:
        """Go on over a new connection, under the rights that came with it.

        Nothing is sent yet: `resume` does that, behind the CONNACK.
        """
        self._take(outbox)
        self._begin(identity)
        if self.arriving is not None:  # they are answered over the connection that they came by
            self.arriving.unanswered = 0

    def detach(self, nowhere: Outbox) -> None:
        """Be without a connection, and wait; `nowhere` is the outbox of all that do."""
        self._leave()
        self.outbox, self.chunks = nowhere, nowhere.chunks
        self.inflight = set()
        self.left_at = self._moment.now
        self.listens = False
        self.lanes.clear()
        self.replays = None
        self._stop_reading()
        self.blocks = {}

    def end(self) -> None:
        """Be over."""
        super().end()
        self._stop_reading()
        self.lanes.clear()

    def _stop_reading(self) -> None:
        for reading in self.readings or ():
            reading.leave()
        self.readings = None
        self.missed = False
        if self.backlog is not None:
            self.backlog.due.let_all_through()

    @property
    def record(self) -> SessionRecord:
        """What the store keeps of it."""
        return SessionRecord(
            number=self.number,
            client_id=self.client_id,
            identity=self.identity,
            expiry_seconds=self.expiry_seconds,
            left_at=self.left_at,
            will=self.will,
        )

    @property
    def now(self) -> float:
        """The time, unix seconds."""
        return self._moment.now

    @property
    def member_id(self) -> str:
        """What others know it by who watch where it is present."""
        if not self._member_id:
            tenant = self.tenant
            self._member_id = member_id(tenant.salt, tenant.org_id, self.identity.owner, self.client_id)
        return self._member_id

    # What of it waits for the store

    @property
    def waiting_bytes(self) -> int:
        """What came from its client and waits for the store, bytes, about."""
        return self.waiting if self.arriving is None else self.waiting + self.arriving.size

    def wait(self, size: int) -> None:
        """Have a packet wait for the store."""
        self.waiting += size
        self.tenant.unstored.bytes += size

    def go_on(self, size: int) -> None:
        """Have it wait no longer; its link may read on."""
        self.waiting -= size
        self.tenant.unstored.bytes -= size
        if self.connected and self.outbox.held:
            self.touch()

    # What reaches it

    @property
    def is_behind(self) -> bool:
        """Whether a message that goes to it now would have to wait."""
        if self.backlog is not None and len(self.backlog.due):
            return True
        return not self.ready and (bool(self.queue) or not self.connected or self.outbox.paused)

    def append(self, packet: bytes) -> None:
        """Write a packet."""
        if not self.chunks:
            self._dirty.append(self.outbox)
        self.chunks.append(packet)

    def append_publish(self, packet: bytes) -> None:
        """Write a PUBLISH that came one by one."""
        self.append(self._shortened(packet))

    def touch(self) -> None:
        """Have its link looked at, though there may be nothing to write."""
        if not self.chunks:
            self._dirty.append(self.outbox)

    def acknowledged(self, packet_ids: Iterable[int]) -> None:
        """Take in PUBACKs, PUBCOMPs, and PUBRECs that refuse."""
        super().acknowledged(packet_ids)
        if self.backlog is not None:
            self.backlog.acknowledged(packet_ids)
        if self.replays or self.readings:
            self.tenant.unfinished[self] = None

    def taken(self, packet_ids: Iterable[int]) -> None:
        """Take in PUBRECs."""
        if self.backlog is None:
            super().taken(packet_ids)
        else:
            self.backlog.taken(packet_ids)

    def resume(self) -> None:
        """Send again: the link takes bytes."""
        super().resume()
        if self.backlog is not None:
            self.backlog.pump()
        if self.replays or self.readings or self.watchers:
            self.tenant.unfinished[self] = None

    def hold_up(self, barrier: Barrier) -> None:
        """Have what comes from now on wait until the barrier is taken away."""
        super().hold_up(barrier)
        if self.backlog is not None:
            self.backlog.due.hold_up(barrier)

    def stands_at(self, barrier: Barrier) -> bool:
        """Tell whether everything before a barrier has gone out."""
        return super().stands_at(barrier) and (self.backlog is None or self.backlog.due.stands_at(barrier))

    def let_through(self, barrier: Barrier, *, flows: bool = True) -> None:
        """Take a barrier away."""
        if self.backlog is not None:
            self.backlog.due.let_through(barrier)
        if self.missed and not self.readings:  # that was the last one
            self.missed = False
            if not self.mark_queued(_any):
                self.mark_next(None, _any)
        super().let_through(barrier, flows=flows)

    def flow(self) -> None:
        """Send what may go."""
        super().flow()
        if self.backlog is not None:
            self.backlog.pump()

    def note_lost(self, count: int) -> None:
        """Count messages that a full queue cost."""
        super().note_lost(count)
        if self.readings:
            self.missed = True

    def count_expired(self) -> None:
        """Count a message whose time was over before it could go out."""
        self._counters.expired += 1

    def count_withheld(self) -> None:
        """Count a message that it had lost the right to receive."""
        self._counters.withheld += 1

    def count_too_large(self) -> None:
        """Count a message that its peer does not take."""
        self._counters.dropped += 1


def _any(topic: str) -> bool:  # noqa: ARG001
    return True
