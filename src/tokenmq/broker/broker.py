"""The broker's core: one owner of all sessions, driven with packets and the time.

Theory of operation. Whoever carries bytes (`server.hub` and its links) calls in with
what arrived and the time; the core changes its state, appends what goes out to the
outgoing lists of the links concerned (noting them in `dirty`) and adds the rest to
`effects`. After every call the caller writes the dirty links and performs the effects
in order. Nothing here waits, so nothing here is ever half done: a revocation that was
told before a CONNECT was admitted has already been obeyed.

A CONNECT comes in with an `Identity` that `services.authenticate` has proven. The
steps that a packet takes are in `connecting`, `subscribing` and `publishing`; this
module holds the state that they share and everything that ends a session.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from tokenmq.access.identity import Identity
from tokenmq.broker import connecting, publishing, subscribing
from tokenmq.broker.counters import Counters
from tokenmq.broker.effects import Close, Effect, Report
from tokenmq.broker.events import Events, warn_at
from tokenmq.broker.outbox import Outbox
from tokenmq.broker.session import Session
from tokenmq.broker.tenant import Tenant, TenantRules
from tokenmq.broker.wheel import Wheel
from tokenmq.config import BrokerSettings
from tokenmq.errors import ProtocolError
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.mqtt.packets import Connect, Disconnect, Packet, Publish, Subscribe, Unsubscribe
from tokenmq.timestamps import rfc3339


class Broker:
    """All sessions of all tenants.

    Attributes:
        settings: limits, as configured.
        counters: totals since the start.
        dirty: outboxes with something to write; the caller writes and clears it.
        effects: what else is to be done, in order; the caller performs and clears it.
        events: tells connections about themselves.
        tenants: by organization id.
    """

    def __init__(self, settings: BrokerSettings) -> None:
        self.settings = settings
        self.counters = Counters()
        self.dirty: list[Outbox] = []
        self.effects: list[Effect] = []
        self.events = Events()
        self.tenants: dict[str, Tenant] = {}
        self._families: dict[str, dict[Session, None]] = {}
        self._keys: dict[str, dict[Session, None]] = {}
        self._expiries: Wheel[Session] = Wheel()
        self._warnings: Wheel[Session] = Wheel()

    # Tenants

    def set_rules(self, org_id: str, rules: TenantRules) -> None:
        """Put a tenant's rules in force for new sessions; its routes and lanes end.

        The scope of a session that is connected stays as it was made.
        """
        tenant = self.tenants.get(org_id)
        if tenant is None:
            self.tenants[org_id] = Tenant(org_id, rules, self.dirty, self.counters)
            return
        tenant.rules = rules
        tenant.routes.end_all()
        for session in tenant.sessions.values():
            session.judgements.clear()
            session.lanes.clear()

    # Packets, in the order of a connection's life

    def connect(
        self,
        outbox: Outbox,
        packet: Connect,
        identity: Identity,
        client_id: str,
        *,
        assigned: bool,
        now: float,
    ) -> Session | None:
        """Open a session for a proven identity and answer CONNACK.

        Args:
            client_id: the client's own, or the one that was made for it.
            assigned: whether it was made for it [MQTT-3.1.3-6].
            now: unix seconds.

        Returns: the session, None if the CONNECT was refused.
        """
        return connecting.connect(self, outbox, packet, identity, client_id, assigned=assigned, now=now)

    def refuse(self, outbox: Outbox, code: ReasonCode, text: str, **fields: Any) -> None:
        """Answer a CONNECT with a refusal and close [MQTT-3.2.2-7] [MQTT311-3.2.2-5]."""
        connecting.refuse(self, outbox, code, text, **fields)

    def publish(self, session: Session, packet: Publish, now: float) -> None:
        """Take in a PUBLISH."""
        publishing.publish(self, session, packet, now)

    def subscribe(self, session: Session, packet: Subscribe) -> None:
        """Take in a SUBSCRIBE."""
        subscribing.subscribe(self, session, packet)

    def unsubscribe(self, session: Session, packet: Unsubscribe) -> None:
        """Take in an UNSUBSCRIBE."""
        subscribing.unsubscribe(self, session, packet)

    def goodbye(self, outbox: Outbox) -> None:
        """Take in a client's DISCONNECT: close without a word [MQTT-3.14.4-1]."""
        self.lost(outbox, "client disconnected")
        outbox.closed = True
        self.effects.append(Close(outbox, "client disconnected", peer_left=True))

    def lost(self, outbox: Outbox, reason: str) -> None:
        """End the session of a connection that is gone."""
        session = outbox.session
        if session is not None and not session.ended:
            self._end(session, reason)

    # Everything that ends a connection from our side

    def fail(self, outbox: Outbox, error: ProtocolError) -> None:
        """Answer a violation of the protocol and close [MQTT-4.13.1-1]."""
        code = ReasonCode(error.reason_code)
        if outbox.session is None and outbox.connection.version:
            self.refuse(outbox, code, str(error))
        else:
            self.disconnect(outbox, code, str(error))

    def disconnect(self, outbox: Outbox, code: ReasonCode, text: str) -> None:
        """Close a connection from our side, with DISCONNECT where the protocol has it [MQTT-4.13.2-1].

        Effects: its session ends at once; nothing is delivered to it any more [MQTT-3.14.4-2].
        """
        if outbox.closed:
            return
        outbox.closed = True
        session = outbox.session
        if session is not None:
            self._end(session, text, code=int(code))
            if session.version == 5:
                self.send(outbox, Disconnect(reason_code=code, reason_string=text))
        self.effects.append(Close(outbox, text))

    def close_families(self, token_ids: Collection[str], code: ReasonCode, text: str) -> int:
        """Close every connection of these token families; return how many there were."""
        return self._disconnect_all(
            [session for token_id in token_ids for session in self._families.get(token_id, ())], code, text
        )

    def close_key(self, key_id: str, code: ReasonCode, text: str) -> int:
        """Close the server connections of a key; return how many there were."""
        return self._disconnect_all(list(self._keys.get(key_id, ())), code, text)

    def end_tenant(self, org_id: str, code: ReasonCode, text: str) -> int:
        """Close every connection of an organization and forget it; return how many there were."""
        tenant = self.tenants.pop(org_id, None)
        return self._disconnect_all(list(tenant.sessions.values()), code, text) if tenant else 0

    def close_all(self, code: ReasonCode, text: str) -> int:
        """Close every connection, as at shutdown; return how many there were."""
        sessions = [session for tenant in self.tenants.values() for session in tenant.sessions.values()]
        return self._disconnect_all(sessions, code, text)

    def connected_families(self, token_ids: Collection[str]) -> set[str]:
        """Return those of these families that have a connection now."""
        return {token_id for token_id in token_ids if self._families.get(token_id)}

    def tick(self, now: float) -> None:
        """Do what time asks for: warn of expiry, close what has expired.

        To be called several times a second.
        """
        for session in self._warnings.due(now):
            session.warning_second = None
            self.events.expiring(session, now)
        for session in self._expiries.due(now):
            session.expiry_second = None
            self.expire(session)
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

    def listen(self, session: Session) -> None:
        """Let a session hear of itself: it subscribed to its own events."""
        session.listens = True
        moment = warn_at(session.identity, session.opened_at)
        if moment is not None and session.warning_second is None:
            session.warning_second = self._warnings.add(moment, session)

    def admit(self, session: Session) -> None:
        """Enter a session into everything that finds it again."""
        identity = session.identity
        session.tenant.sessions[session.client_id] = session
        session.outbox.session = session
        if identity.token_id is not None:
            self._families.setdefault(identity.token_id, {})[session] = None
        elif identity.key_id is not None:
            self._keys.setdefault(identity.key_id, {})[session] = None
        if identity.expires_at is not None:
            session.expiry_second = self._expiries.add(identity.expires_at, session)
        self.counters.connected += 1

    def _end(self, session: Session, reason: str, **fields: Any) -> None:
        session.end()
        tenant = session.tenant
        if tenant.sessions.get(session.client_id) is session:
            del tenant.sessions[session.client_id]
        for subscription in session.subscriptions.values():
            tenant.routes.unsubscribe(subscription)
        session.subscriptions.clear()
        session.lanes.clear()
        self._forget(self._families, session.identity.token_id, session)
        self._forget(self._keys, session.identity.key_id, session)
        if session.expiry_second is not None:
            self._expiries.remove(session.expiry_second, session)
        if session.warning_second is not None:
            self._warnings.remove(session.warning_second, session)
        self.report(
            "disconnected",
            org_id=tenant.org_id,
            client_id=session.client_id,
            user_id=session.identity.user_id,
            reason=reason,
            **fields,
        )

    @staticmethod
    def _forget(index: dict[str, dict[Session, None]], key: str | None, session: Session) -> None:
        if key is not None and key in index:
            index[key].pop(session, None)
            if not index[key]:
                del index[key]

    def _disconnect_all(self, sessions: Iterable[Session], code: ReasonCode, text: str) -> int:
        count = 0
        for session in sessions:
            self.disconnect(session.outbox, code, text)
            count += 1
        return count
