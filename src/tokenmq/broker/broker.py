"""The broker's core: one owner of all sessions, driven with packets and the time.

Theory of operation. Whoever carries bytes (`server.hub` and its links) calls in with
what arrived and the time; the core changes its state, appends what goes out to the
outgoing lists of the links concerned (noting them in `dirty`) and adds the rest to
`effects`. After every call the caller writes the dirty links and performs the effects
in order. Nothing here waits, so nothing here is ever half done: a revocation that was
told before a CONNECT was admitted has already been obeyed.

A CONNECT comes in with an `Identity` that `services.authenticate` has proven. The
steps that a packet takes are in `connecting`, `subscribing` and `publishing`; this
module holds the state that they share; `lives` has the life of each session.

What outlives a connection is kept in the store: `keeping` notes it, the owner of the
broker has it kept after each entry and tells when it is.
"""

from __future__ import annotations

from typing import Any

from tokenmq.access.identity import Identity
from tokenmq.broker import (
    connecting,
    pacing,
    publishing,
    renewing,
    replaying,
    retaining,
    subscribing,
    suspending,
    watching,
)
from tokenmq.broker.backlog import Backlog
from tokenmq.broker.counters import Counters
from tokenmq.broker.effects import Close, Effect, Load, Report
from tokenmq.broker.events import Events
from tokenmq.broker.keeping import Keeping
from tokenmq.broker.lives import Lives
from tokenmq.broker.message import Message
from tokenmq.broker.moment import Moment
from tokenmq.broker.outbox import Outbox
from tokenmq.broker.reading import Answer
from tokenmq.broker.recording import Recorder
from tokenmq.broker.records import MessageRecord
from tokenmq.broker.renewing import Identify
from tokenmq.broker.session import Session
from tokenmq.broker.subscription import Subscription
from tokenmq.broker.tenant import Tenant, TenantRules
from tokenmq.broker.waiting import Queues, Unstored
from tokenmq.broker.watch import Watch
from tokenmq.broker.wheel import Wheel
from tokenmq.config import BrokerSettings
from tokenmq.errors import ProtocolError
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.mqtt.connection import Connection, ConnectionLimits
from tokenmq.mqtt.packets import (
    Auth,
    Connect,
    Disconnect,
    Packet,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
    Unsubscribe,
)
from tokenmq.timestamps import rfc3339

# Looked up once: a member is found through its class at ten times the cost of a name.
_SUCCESS = ReasonCode.SUCCESS


class Broker:
    """All sessions of all tenants.

    Attributes:
        settings: limits, as configured.
        identify: who a connection is under another token.
        counters: totals since the start.
        queues: what waits for receivers.
        unstored: what waits for the store.
        dirty: outboxes with something to write; the caller writes and clears it.
        effects: what else is to be done, in order; the caller performs and clears it.
        events: tells connections about themselves.
        tenants: by organization id.
        lives: the sessions of all of them.
        moment: the time, set by the caller before each entry.
        keeping: what is to be kept; the caller takes it after each entry.
        recorder: what is to be recorded; the caller takes it likewise.
        nowhere: the outbox of all sessions without a connection.
        unfinished: sessions that are to get more than one page of older messages; the
            caller calls `go_on` soon, and lets others have their turn before.
        turn: how much more may be done for these before that.
        due: watches that have something to tell; the caller calls `flush` some time after the
            first of it (`watching.COLLECT_SECONDS`).
        holds: sessions whose former presence is over then, unless they have subscribed again.
        salt: keeps what sessions are called in presence from being guessed.
        retained_ends: when retained messages are over, by organization and topic.
    """

    def __init__(self, settings: BrokerSettings, identify: Identify, *, salt: bytes) -> None:
        self.settings = settings
        self.identify = identify
        self.counters = Counters()
        self.queues = Queues(settings.max_all_queued_bytes, self.counters)
        self.unstored = Unstored(settings.max_unstored_bytes)
        self.dirty: list[Outbox] = []
        self.effects: list[Effect] = []
        self.events = Events()
        self.tenants: dict[str, Tenant] = {}
        self.moment = Moment()
        self.keeping = Keeping()
        self.recorder = Recorder(self)
        self.nowhere = Outbox(Connection(ConnectionLimits(), 0.0), None)
        self.nowhere.closed = True
        self.unfinished: dict[Session, None] = {}
        self.turn = retaining.TURN
        self.due: dict[Watch, None] = {}
        self.holds: Wheel[Session] = Wheel()
        self.salt = salt
        self.retained_ends: Wheel[tuple[str, str]] = Wheel()
        self._messages_made = 0
        self._position = 0
        self.lives = Lives(self)

    # Tenants

    def set_rules(self, org_id: str, rules: TenantRules) -> None:
        """Put a tenant's rules in force, for the sessions that there are, too."""
        tenant = self.tenants.get(org_id)
        if tenant is None:
            self.tenants[org_id] = Tenant(
                org_id,
                rules,
                dirty=self.dirty,
                unfinished=self.unfinished,
                counters=self.counters,
                queues=self.queues,
                unstored=self.unstored,
                due=self.due,
                salt=self.salt,
            )
            return
        former, tenant.rules = tenant.rules, rules
        if former.publish_rates != rules.publish_rates:
            pacing.apply(tenant, self.settings)
        if former.history != rules.history:
            tenant.routes.recording = rules.history
            tenant.routes.end_all()
        if (former.policy, former.dollar_trees) == (rules.policy, rules.dollar_trees):
            return
        tenant.routes.end_all()
        sessions = list(tenant.sessions.values())
        for session in sessions:
            session.judge_anew()
        suspending.tell(self, suspending.apply(self, sessions))

    # Packets, in the order of a connection's life

    def connect(
        self,
        outbox: Outbox,
        packet: Connect,
        identity: Identity,
        client_id: str,
        *,
        assigned: bool,
    ) -> Session | None:
        """Open a session for a proven identity, or go on with its own, and answer CONNACK.

        Args:
            client_id: the client's own, or the one that was made for it.
            assigned: whether it was made for it [MQTT-3.1.3-6].

        Returns: the session, None if the CONNECT was refused.
        """
        return connecting.connect(self, outbox, packet, identity, client_id, assigned=assigned)

    def refuse(self, outbox: Outbox, code: ReasonCode, text: str, **fields: Any) -> None:
        """Answer a CONNECT with a refusal and close [MQTT-3.2.2-7] [MQTT311-3.2.2-5]."""
        connecting.refuse(self, outbox, code, text, **fields)

    def publish(self, session: Session, packet: Publish) -> None:
        """Take in a PUBLISH."""
        publishing.publish(self, session, packet)

    def acknowledged(self, session: Session, packet: Puback | Pubrec | Pubcomp) -> None:
        """Take in what a receiver says of a message that it got."""
        if type(packet) is Pubrec and packet.reason_code < ReasonCode.UNSPECIFIED_ERROR:
            session.taken((packet.packet_id,))
        else:  # a PUBREC that refuses ends the delivery [MQTT-4.3.3-4] [MQTT-4.4.0-2]
            session.acknowledged((packet.packet_id,))  # [MQTT-4.8.2-6]

    def release(self, session: Session, packet: Pubrel) -> None:
        """Take in a PUBREL."""
        publishing.release(self, session, packet.packet_id)

    def subscribe(self, session: Session, packet: Subscribe) -> None:
        """Take in a SUBSCRIBE."""
        subscribing.subscribe(self, session, packet)

    def unsubscribe(self, session: Session, packet: Unsubscribe) -> None:
        """Take in an UNSUBSCRIBE."""
        subscribing.unsubscribe(self, session, packet)

    def authenticate(self, session: Session, packet: Auth) -> None:
        """Take in an AUTH. Raises: ProtocolError 0x87."""
        renewing.authenticate(self, session, packet)

    def goodbye(self, outbox: Outbox, packet: Disconnect) -> None:
        """Take in a client's DISCONNECT: close without a word [MQTT-3.14.4-1]."""
        session = outbox.session
        outbox.closed = True
        self.effects.append(Close(outbox, "client disconnected", peer_left=True))
        if session is not None:
            if packet.reason_code == _SUCCESS:  # [MQTT-3.14.4-3] [MQTT311-3.14.4-3]
                session.will = None
            if packet.session_expiry_interval is not None and session.number:
                longest = self.settings.max_session_expiry_seconds
                session.expiry_seconds = min(packet.session_expiry_interval, longest)
            self.lives.leave(session, "client disconnected")

    def lost(self, outbox: Outbox, reason: str) -> None:
        """Part the session of a connection that is gone from it."""
        session = outbox.session
        outbox.closed = True
        if session is not None:
            self.lives.leave(session, reason)

    # Everything that ends a connection from our side

    def fail(self, outbox: Outbox, error: ProtocolError) -> None:
        """Answer a violation of the protocol and close [MQTT-4.13.1-1]."""
        code = ReasonCode(error.reason_code)
        if outbox.session is None and outbox.connection.version:
            self.refuse(outbox, code, str(error))
        else:
            self.disconnect(outbox, code, str(error))

    def disconnect(self, outbox: Outbox, code: ReasonCode, text: str, *, waits: bool = True) -> None:
        """Close a connection from our side, with DISCONNECT where the protocol has it [MQTT-4.13.2-1].

        Args:
            waits: its session, if it goes on, waits for its client; else that is here.

        Effects: its session is parted from it at once; nothing is written any more [MQTT-3.14.4-2].
        """
        if outbox.closed:
            return
        outbox.closed = True
        self.effects.append(Close(outbox, text))  # first: whatever fails from here on, it is closed
        session = outbox.session
        if session is not None:
            self.lives.leave(session, text, waits=waits, code=int(code))
            if session.version == 5:
                self.send(outbox, Disconnect(reason_code=code, reason_string=text))

    def reauthenticate(self, session: Session, identity: Identity) -> None:
        """Move a connection to another password of its user, perhaps of another family."""
        renewing.reauthenticate(self, session, identity)

    def go_on(self) -> None:
        """Send the next page to those who are to get more, as far as that goes in one turn."""
        self.turn = retaining.TURN
        for session in list(self.unfinished):
            if self.turn <= 0:
                return
            del self.unfinished[session]
            replaying.go_on(self, session)
            retaining.go_on(self, session)
            watching.go_on(self, session)

    def flush(self) -> None:
        """Tell those who watch who has come and gone."""
        for watch in list(self.due):
            watch.flush()

    def loaded(self, load: Load, answer: Answer) -> None:
        """Take in what the history has."""
        replaying.loaded(self, load, answer)

    def tick(self) -> None:
        """Do what time asks for: warn of expiry, close and end what has expired.

        To be called several times a second.
        """
        now = self.moment.now
        self.keeping.tick()
        self.recorder.tick()
        self.lives.tick(now)
        for session in self.holds.due(now):
            if session.tenant.presence is not None:
                session.tenant.presence.release(session)
        for org_id, topic in self.retained_ends.due(now):
            retaining.expire(self, org_id, topic)
        for tenant in self.tenants.values():
            for session in list(tenant.overflowed):
                if self.events.dropped(session):
                    del tenant.overflowed[session]

    def expire(self, session: Session) -> None:
        """Close a connection whose token's or key's life is over."""
        what = "key" if session.identity.is_server else "token"
        text = f"{what} expired at {rfc3339(session.identity.expires_at or 0)}"
        self.disconnect(session.outbox, ReasonCode.MAXIMUM_CONNECT_TIME, text)

    # For the modules that hold the steps

    def send(self, outbox: Outbox, packet: Packet) -> None:
        """Append a packet, within the peer's maximum packet size, at once [MQTT-3.3.4-10] [MQTT-4.9.0-3]."""
        encoded = outbox.connection.send(packet)
        if encoded is not None:
            if not outbox.chunks:
                self.dirty.append(outbox)
            outbox.chunks.append(encoded)

    def report(self, event: str, **fields: Any) -> None:
        """Add something to tell to the log."""
        self.effects.append(Report(event, fields))

    def listen(self, session: Session, identifier: int) -> None:
        """Let a session hear of itself: it subscribed to its own events, under an identifier or 0."""
        session.listens = True
        session.events_identifier = identifier
        if session.lost:
            session.tenant.overflowed[session] = None
        self.lives.warn(session)

    def next_message(self) -> int:
        """Return a number for a message that is to be kept."""
        self._messages_made += 1
        return self._messages_made

    def next_position(self) -> int:
        """Return the place of a delivery behind all others."""
        self._position += 1
        return self._position

    def keep_message(self, tenant: Tenant, message: Message, *, owned: bool) -> None:
        """Have a message kept, for sessions that wait for it."""
        if not message.number:
            message.number = self.next_message()
        record = MessageRecord(
            number=message.number,
            org_id=tenant.org_id,
            topic=message.topic,
            payload=message.payload,
            forward=message.forward,
            expires_at=message.expires_at,
            stamp=message.stamp,
        )
        self.keeping.put(record, owned=owned)

    def keep_session(self, session: Session) -> None:
        """Have a session kept along with what hangs on it, if it may not have been yet."""
        if not session.is_kept:
            self.keeping.put(session.record, owned=True)

    def count_from(self, *, messages: int, position: int) -> None:
        """Give numbers that are not in use: these are the highest that are."""
        self._messages_made = max(self._messages_made, messages)
        self._position = max(self._position, position)

    def enter_subscription(self, subscription: Subscription) -> None:
        """Put a subscription in force."""
        session = subscription.session
        session.subscriptions[subscription.topic_filter] = subscription
        tenant = session.tenant
        tenant.routes.subscribe(subscription)
        if tenant.presence is not None:
            tenant.presence.entered(subscription)

    def leave_subscription(self, subscription: Subscription) -> None:
        """Put a subscription out of force that its session has no more, or has another in its place."""
        tenant = subscription.session.tenant
        tenant.routes.unsubscribe(subscription)
        if tenant.presence is not None:
            tenant.presence.left(subscription)

    def give_backlog(self, session: Session) -> None:
        """Let a session get messages at QoS 1 and 2 one by one from now on."""
        if session.backlog is None:
            settings = self.settings
            session.backlog = Backlog(
                session,
                self.keeping,
                max_messages=settings.max_queued_messages,
                max_bytes=settings.max_queued_bytes,
                max_inflight_bytes=settings.max_inflight_bytes,
            )
            for reading in session.readings or ():
                session.backlog.due.hold_up(reading.barrier)
            session.tenant.routes.end_of(session.subscriptions.values())
