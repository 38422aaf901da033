"""The life of sessions: what finds them again, and the timers that end them.

    open ──> connected ──leave──> away ──resume──> connected
                 │                  │
                 └─ expiry of 0 ─> end <─ its time, revocation, clean start

A session that does not outlive its connection ends as it leaves. One that does waits for its
client, within limits, under its last rights; what is kept of it follows each step.

With a token family the store drops the sessions that it has under it. One that has gone on
under another family may not be known there yet; then all of it is kept once more.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from tokenmq.access.identity import Identity
from tokenmq.broker import pacing, sharing, suspending, watching, wills
from tokenmq.broker.events import warn_at
from tokenmq.broker.outbox import Outbox
from tokenmq.broker.records import ReceivedRecord, SessionRecord
from tokenmq.broker.session import Session
from tokenmq.broker.wheel import Wheel

if TYPE_CHECKING:
    from tokenmq.broker.broker import Broker

Name = TypeVar("Name", str, tuple[str, str])


class Lives:
    """All sessions of all tenants, by what they stand for and by when something of theirs is due."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._made = 0
        self._families: dict[str, dict[Session, None]] = {}
        self._keys: dict[str, dict[Session, None]] = {}
        # By family: sessions that the store may still have under it, and which move that was.
        self._former: dict[str, dict[Session, int]] = {}
        self._moves = 0
        self._expiries: Wheel[Session] = Wheel()
        self._warnings: Wheel[Session] = Wheel()
        self._leavings: Wheel[Session] = Wheel()
        self._wills: Wheel[Session] = Wheel()

    # What finds them

    def of_families(self, token_ids: Collection[str]) -> list[Session]:
        """Return the sessions of these token families."""
        return [session for token_id in token_ids for session in self._families.get(token_id, ())]

    def of_key(self, key_id: str) -> list[Session]:
        """Return the sessions of a key."""
        return list(self._keys.get(key_id, ()))

    # Their life

    def open(self, session: Session, expiry_seconds: int) -> None:
        """Begin a session that has a connection."""
        session.tenant.sessions[session.client_id] = session
        if expiry_seconds:
            self._made += 1
            self._name(session, self._made, expiry_seconds)
            self._broker.keeping.put(session.record)
        self._enter(session)

    def resume(self, session: Session, outbox: Outbox, identity: Identity, expiry_seconds: int) -> None:
        """Go on with a session over a new connection, under the rights that came with it."""
        self._come_back(session)
        self._leave_indexes(session)
        former = session.identity.token_id
        session.attach(outbox, identity)
        session.expiry_seconds = expiry_seconds
        self._enter(session)
        self._keep_under(session, former)
        self._broker.keeping.flush()  # until then a crash takes it for away, and counts on
        suspending.apply(self._broker, (session,))  # CONNACK tells of it, and nothing was sent before
        if session.backlog is not None:
            session.backlog.resume()

    def renew(self, session: Session, identity: Identity) -> bool:
        """Have a connected session go on under another password of its user, and another end.

        Returns: whether its rights are others now; `suspending` has that felt.
        """
        self._stop_timers(session)
        self._leave_indexes(session)
        former = session.identity.token_id
        has_changed = session.renew(identity)
        self._index(session)
        self._await_expiry(session)
        if session.listens:
            self.warn(session)
        if session.number:
            self._keep_under(session, former)
        return has_changed

    def keep_those_that_left(self, token_ids: Collection[str]) -> None:
        """Have kept what the store may have dropped with families that these sessions have left."""
        for session in [session for token_id in token_ids for session in self._former.get(token_id, ())]:
            if not session.ended:
                self._keep_all(session)
                self._broker.keeping.flush()

    def restore(self, session: Session, record: SessionRecord) -> None:
        """Take in a session out of the store, which has no connection."""
        self._made = max(self._made, record.number)
        session.tenant.sessions[session.client_id] = session
        self._name(session, record.number, record.expiry_seconds)
        session.will = record.will
        session.is_kept = True
        self._index(session)

    def wait_for_client(self, session: Session) -> None:
        """Let a restored session wait for its client, when all others are there, too.

        One whose client id is another's by now had ended; the store did not get to know.
        """
        if session.tenant.sessions.get(session.client_id) is not session:
            self._end(session)
            return
        if session.left_at is None:
            session.left_at = self._broker.moment.now
            self._broker.keeping.put(session.record)
        self._go_away(session)
        self._bound_away(session)

    def follow(self, session: Session) -> None:
        """Let a revocation find a session that was never open, until nothing of it waits any more."""
        self._index(session)

    def forget(self, session: Session) -> None:
        """Forget a session that has ended, as nothing of it waits for the store any more.

        Until then a revocation must find it: its will, or what it published last, may wait.
        """
        if session.ended:
            self._leave_indexes(session)

    def end(self, session: Session) -> None:
        """End a session without a connection, for good; of one that has ended nothing is left to end."""
        if session.ended:
            return
        self._come_back(session)
        if session.will is not None:  # [MQTT-3.1.3-9]
            wills.publish(self._broker, session)
        self._end(session)

    def _keep_under(self, session: Session, former: str | None) -> None:
        """Have a session kept under the rights that it has now, and under its family, if that is another."""
        if former is None or former == session.identity.token_id:
            self._broker.keeping.put(session.record)
        else:
            self._moves += 1
            self._move(session, former, self._moves)

    def _move(self, session: Session, former: str, move: int) -> None:
        """Have a session kept under its new family, at once."""
        self._former.setdefault(former, {})[session] = move
        self._broker.keeping.put(session.record)
        self._broker.keeping.when_kept(partial(self._moved, session, former, move))

    def _moved(self, session: Session, former: str, move: int, *, kept: bool) -> None:
        if self._former.get(former, {}).get(session) != move:  # it was back there since
            return
        if kept or session.ended:
            self._forget(self._former, former, session)
        else:
            self._broker.keeping.try_again(partial(self._move_again, session, former, move))

    def _move_again(self, session: Session, former: str, move: int) -> None:
        if self._former.get(former, {}).get(session) != move:
            return
        if session.ended:
            self._forget(self._former, former, session)
        else:
            self._move(session, former, move)

    def _keep_all(self, session: Session) -> None:
        """Have everything of a session kept once more."""
        keeping = self._broker.keeping
        session.is_kept = False  # until something that hangs on it is
        keeping.put(session.record)
        for subscription in session.subscriptions.values():
            keeping.put(subscription.record)
        if session.backlog is not None:
            session.backlog.keep_all()
        for packet_id in session.unreleased:
            keeping.put(ReceivedRecord(session.number, packet_id))

    def _name(self, session: Session, number: int, expiry_seconds: int) -> None:
        """Make a session one that outlives its connection."""
        session.number = number
        session.expiry_seconds = expiry_seconds
        session.tenant.kept += 1
        self._broker.give_backlog(session)

    def _enter(self, session: Session) -> None:
        """Enter a session that has a connection into everything that finds it again."""
        session.outbox.session = session
        session.outbox.pace = pacing.pace_of(session, self._broker.settings)
        self._index(session)
        self._await_expiry(session)
        session.tenant.connected += 1
        self._broker.counters.connected += 1

    def _await_expiry(self, session: Session) -> None:
        expires_at = session.identity.expires_at
        if expires_at is not None:
            session.expiry_second = self._expiries.add(expires_at, session)

    def _index(self, session: Session) -> None:
        identity = session.identity
        if identity.token_id is not None:
            self._families.setdefault(identity.token_id, {})[session] = None
        elif identity.key_id is not None:
            self._keys.setdefault(identity.key_id, {})[session] = None

    def _leave_indexes(self, session: Session) -> None:
        self._forget(self._families, session.identity.token_id, session)
        self._forget(self._keys, session.identity.key_id, session)

    def leave(self, session: Session, reason: str, *, waits: bool = True, **fields: Any) -> None:
        """Part a session from its connection; what does not outlive it ends.

        Args:
            waits: if it goes on it waits for its client; else that is here.
        """
        self._stop_timers(session)
        session.outbox.session = None
        session.tenant.connected -= 1
        self._broker.report(
            "disconnected",
            org_id=session.tenant.org_id,
            client_id=session.client_id,
            user_id=session.identity.user_id,
            reason=reason,
            **fields,
        )
        watching.parted(session, fields.get("code"))
        session.detach(self._broker.nowhere)
        if session.expiry_seconds and not session.disowned:  # [MQTT-3.1.2-23] [MQTT311-4.1.0-1]
            self._go_away(session)
            self._broker.keeping.put(session.record)
            if waits:
                self._bound_away(session)
        else:
            if session.will is not None:
                wills.publish(self._broker, session)
            self._end(session)

    def _go_away(self, session: Session) -> None:
        """Let a session wait for its client."""
        left_at = session.left_at or self._broker.moment.now
        session.leaving_second = self._leavings.add(left_at + session.expiry_seconds, session)
        if session.will is not None:
            if session.will.delay_seconds:
                session.will_second = self._wills.add(left_at + session.will.delay_seconds, session)
            else:
                wills.publish(self._broker, session)
        session.tenant.away.setdefault(session.identity.owner, {})[session] = None

    def _bound_away(self, session: Session) -> None:
        """Let one user have so many sessions that wait; the one away longest ends."""
        away = session.tenant.away[session.identity.owner]
        if len(away) > self._broker.settings.max_sessions_per_user:
            self.end(next(iter(away)))

    def _come_back(self, session: Session) -> None:
        """Take a session out of those that wait for their clients."""
        if session.leaving_second is not None:  # [MQTT-4.1.0-1] [MQTT311-4.1.0-2]
            self._leavings.remove(session.leaving_second, session)
            session.leaving_second = None
        if session.will_second is not None:
            self._wills.remove(session.will_second, session)
            session.will_second = None
        self._forget(session.tenant.away, session.identity.owner, session)

    def _end(self, session: Session) -> None:
        tenant = session.tenant
        session.end()
        if tenant.sessions.get(session.client_id) is session:
            del tenant.sessions[session.client_id]
        subscriptions, session.subscriptions = session.subscriptions, {}
        for subscription in subscriptions.values():
            tenant.routes.unsubscribe(subscription)
        if not session.arriving:
            self._leave_indexes(session)
        if session.number:
            tenant.kept -= 1
            self._broker.keeping.drop(SessionRecord, session.number)
            # Its client begins anew under the same packet identifiers: it must not come back.
            self._broker.keeping.flush()
        if session.backlog is not None:
            sharing.pass_on(self._broker, tenant, session.backlog.forget_all())
            session.backlog = None  # they hold each other: only the garbage collector would free them

    def _stop_timers(self, session: Session) -> None:
        if session.expiry_second is not None:
            self._expiries.remove(session.expiry_second, session)
            session.expiry_second = None
        if session.warning_second is not None:
            self._warnings.remove(session.warning_second, session)
            session.warning_second = None

    # What is due

    def warn(self, session: Session) -> None:
        """Have a connection told of its end before it comes."""
        moment = warn_at(session.identity, session.renewed_at)
        if moment is not None and session.warning_second is None:
            session.warning_second = self._warnings.add(moment, session)

    def tick(self, now: float) -> None:
        """Do what time asks for: wills, sessions whose client stayed away, warnings, expiries."""
        broker = self._broker
        for session in self._wills.due(now):
            session.will_second = None
            wills.publish(broker, session)
        for session in self._leavings.due(now):  # [MQTT-4.1.0-2]
            session.leaving_second = None
            self.end(session)
        for session in self._warnings.due(now):
            session.warning_second = None
            broker.events.expiring(session, now)
        for session in self._expiries.due(now):
            session.expiry_second = None
            broker.expire(session)

    @staticmethod
    def _forget(
        index: dict[Name, dict[Session, None]] | dict[Name, dict[Session, int]],
        key: Name | None,
        session: Session,
    ) -> None:
        if key is not None and key in index:
            index[key].pop(session, None)
            if not index[key]:
                del index[key]
