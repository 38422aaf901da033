"""The owner of the core: writes what goes out, performs effects, keeps the timer.

Every way into the core (a link's bytes, a tick, a call by a service through `Live`) ends
with `settle`: dirty links are written, each once, and effects are performed in order.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import partial

import structlog

from tokenmq import clock
from tokenmq.access.identity import Identity
from tokenmq.broker import restoring, revoking
from tokenmq.broker.broker import Broker
from tokenmq.broker.effects import Close, Load, Report, Reserve
from tokenmq.broker.keeping import Batch
from tokenmq.broker.outbox import Outbox
from tokenmq.broker.reading import Answer
from tokenmq.broker.reasons import reason_code
from tokenmq.broker.recording import Taken
from tokenmq.broker.records import Kept
from tokenmq.broker.tenant import TenantRules
from tokenmq.broker.wheel import Wheel
from tokenmq.config import BrokerSettings
from tokenmq.errors import InvalidToken, ProtocolError, TokenmqError, Unavailable
from tokenmq.histogram import Histogram
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.mqtt.connection import ConnectionLimits
from tokenmq.mqtt.packets import Connect
from tokenmq.server.link import Link
from tokenmq.server.operating import Operating
from tokenmq.server.peer import Peer
from tokenmq.server.reading import Reader, Saves
from tokenmq.server.refusals import Refusals
from tokenmq.server.reporting import Reporter
from tokenmq.server.telling import Telling
from tokenmq.services.auditing import Trace, superseded
from tokenmq.services.authenticate import Authenticator
from tokenmq.services.families import Families
from tokenmq.services.organizations import Organizations
from tokenmq.services.refused_keys import RefusedKeys
from tokenmq.services.remembered import Stay
from tokenmq.services.tarpit import Tarpit
from tokenmq.stores.audit import AuditStore
from tokenmq.stores.history import HistoryStore
from tokenmq.stores.kept import KeptStore
from tokenmq.tracebacks import told

_log = structlog.get_logger("tokenmq.hub")

# How often the timer looks: a token's end is noticed this much late at most, and nobody
# can tell a quarter of a second from its NumericDate of whole seconds.
_TICK_SECONDS = 0.25


class Hub(Operating, Telling):
    """All links, the core and the timer of one process; the services' `Live`.

    Attributes:
        broker: the core.
        authenticator: makes identities out of what a CONNECT shows.
        connection_limits: what every connection is held to.
        lag_seconds: how late the timer was, each time: so long others had kept the loop.
        reader: asks the history for the core.

    Args:
        history: where messages are recorded; None: nowhere.
        tarpit: says how long the answer to failed credentials waits; None: not at all.
        refused_keys: told of every refusal; None: nobody is.
        trail: where passwords are noted that open a connection though later ones exist; None: nowhere.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        authenticator: Authenticator,
        families: Families,
        organizations: Organizations,
        kept: KeptStore,
        *,
        history: HistoryStore | None = None,
        tarpit: Tarpit | None = None,
        refused_keys: RefusedKeys | None = None,
        trail: AuditStore | None = None,
    ) -> None:
        self.broker = Broker(settings, self._identify)
        self.authenticator = authenticator
        self.connection_limits = ConnectionLimits(
            connect_timeout_seconds=settings.connect_timeout_seconds,
            max_connect_bytes=settings.max_connect_bytes,
            max_packet_bytes=settings.max_packet_bytes,
            max_user_properties=settings.max_user_properties,
            max_user_property_bytes=settings.max_user_property_bytes,
            topic_alias_maximum=settings.topic_alias_maximum,
            max_topic_bytes=settings.max_topic_bytes,
        )
        self.lag_seconds = Histogram()
        self._reporter = Reporter()
        self._families = families
        self._organizations = organizations
        self._kept = kept
        self._saves = Saves()
        self._loads: list[Load] = []
        self.reader = Reader(history, self._loaded, self._reserved)
        self._going_on = False
        self._deadlines: Wheel[Link] = Wheel()
        self._tarpit = tarpit
        self._refused_keys = refused_keys
        self._trail = trail
        self._refusals: Refusals[Link] = Refusals()
        # Of connections that a token opened, what their families are to know of their end.
        self._stays: dict[Link, Stay] = {}

    def restore(self, kept: Kept) -> None:
        """Take in what the store has kept; to be called before anybody connects."""
        broker = self.broker
        broker.moment.now = clock.now()
        for org_id in {session.identity.org_id for session in kept.sessions} | {
            retained.org_id for retained in kept.retained
        }:
            broker.set_rules(org_id, self.rules_of(org_id))
        restoring.restore(broker, kept)
        self.settle()

    def make_link(self, peer: Peer) -> Link:
        """Make the link of a new network connection."""
        return Link(self, peer)

    async def run(self) -> None:
        """Keep the timer until cancelled."""
        while True:
            due = clock.mono() + _TICK_SECONDS
            await asyncio.sleep(_TICK_SECONDS)
            self.lag_seconds.observe(clock.mono() - due)
            try:
                self.tick(clock.now(), clock.mono())
            except Exception as error:  # a defect of ours must not keep tokens from ending
                _log.error("defect", **told(error))

    def tick(self, now: float, mono: float) -> None:
        """Do what time asks for: expiries, keep alive, CONNECT that does not come."""
        self.broker.moment.now = now
        self.broker.tick()
        for link in self._deadlines.due(mono):
            self._look_at(link, mono)
        self._refusals.answer(mono)
        self.settle()
        self._reporter.turn()

    def settle(self) -> None:
        """Write dirty links, then perform effects, until neither is left; have kept what is to be."""
        broker = self.broker
        dirty, effects = broker.dirty, broker.effects
        while dirty or effects:
            for outbox in dirty:
                outbox.owner.write()
            dirty.clear()
            if effects:
                todo = effects.copy()
                effects.clear()
                for effect in todo:
                    if type(effect) is Close:  # isinstance() takes a long way around a metaclass
                        self._close(effect)
                    elif type(effect) is Report:
                        self._reporter.tell(effect)
                    elif type(effect) is Load:
                        self._loads.append(effect)
                    elif type(effect) is Reserve:
                        self.reader.reserve(effect.count)
        batch = broker.keeping.take()
        if batch is not None:
            self._save(batch)
        if broker.recorder.due or self._loads:
            self._record()
        if broker.unfinished and not self._going_on:
            self._going_on = True
            asyncio.get_running_loop().call_soon(self.go_on)

    def go_on(self) -> None:
        """Let those have their next page who are to get more than one."""
        self._going_on = False
        self.come_in()
        self.broker.go_on()
        self.settle()

    def _record(self) -> None:
        """Have recorded what waits; ask the history when all of it is there."""
        taken = self.broker.recorder.take()
        if taken is not None:
            self._save(taken)
        loads, self._loads = self._loads, []
        for load in loads:
            self._saves.after(partial(self.reader.load, load))

    def _save(self, batch: Batch | Taken) -> None:
        self._saves.given()
        changes = batch.changes
        self._kept.save(changes, partial(self._settled_batch, batch, len(changes)))

    def _settled_batch(self, batch: Batch | Taken, changes: int, error: Unavailable | None) -> None:
        """Go on with what waited for the store."""
        if error is not None:
            _log.error("not_stored", reason=str(error), changes=changes)
        self.come_in()
        batch.settled(kept=error is None)
        self._saves.settled()
        self.settle()

    async def begin_history(self) -> None:
        """Reserve the first ids of messages; to be called before anybody connects. Raises: Unavailable."""
        await self.reader.begin()

    def _loaded(self, load: Load, answer: Answer) -> None:
        """Give the core what the history has said."""
        self.come_in()
        self.broker.loaded(load, answer)
        self.settle()

    def _reserved(self, first: int | None, count: int) -> None:
        """Give the core numbers for ids."""
        if first is None:
            self.broker.recorder.ids.asked = False  # the next tick asks again
        else:
            self.broker.recorder.ids.add(first, count)

    def after_saves(self, step: Callable[[], None]) -> None:
        """Do something when everything recorded so far is in the store, or could not be stored."""
        self.broker.recorder.flush()
        self.settle()
        self._saves.after(step)

    # What links ask for

    def watch(self, link: Link) -> None:
        """Hold a link to its next deadline."""
        deadline = link.connection.expires_at_mono
        if deadline is not None:
            link.deadline_second = self._deadlines.add(deadline, link)

    def unwatch(self, link: Link) -> None:
        """Forget a link that is gone."""
        self._refusals.forget(link)
        self._forget_stay(link)
        if link.deadline_second is not None:
            self._deadlines.remove(link.deadline_second, link)
            link.deadline_second = None

    def admit(
        self,
        outbox: Outbox,
        packet: Connect,
        identity: Identity,
        client_id: str,
        *,
        assigned: bool,
        now: float,
    ) -> None:
        """Let an identity in, in the step in which it was last checked.

        Raises: InvalidToken, ExpiredToken: revoked or expired meanwhile.
        """
        self._families.check(identity, now)
        self._ensure_tenant(identity.org_id)
        session = self.broker.connect(outbox, packet, identity, client_id, assigned=assigned)
        # A short keep alive ends before the deadline that CONNECT had.
        link: Link = outbox.owner
        deadline = outbox.connection.expires_at_mono
        if deadline is not None and link.deadline_second is not None and deadline < link.deadline_second:
            self.unwatch(link)
            self.watch(link)
        if session is not None:
            self.note(link, identity, client_id)

    def report(self, event: str, **fields: object) -> None:
        """Write of a connection that has no link yet, as much as there may be of one kind."""
        self._reporter.tell(Report(event, fields))

    def refuse(self, link: Link, error: TokenmqError, client_id: str) -> None:
        """Answer a CONNECT that is not let in; after a time, if its credentials are one more that fail."""
        mono = clock.mono()
        if self._refused_keys is not None:
            self._refused_keys.note(error, now=clock.now(), trace=Trace(link.peer.address))
        delay = self._tarpit.delay(error, link.peer.address, mono) if self._tarpit is not None else 0.0
        # Not the error itself: its traceback would hold what the peer has sent.
        fields = {"client_id": client_id, "address": link.peer.address, "error": error.code}
        answer = partial(self._refuse, link, reason_code(error), str(error), fields)
        if delay:
            self.unwatch(link)
            link.wait()
            self._refusals.hold(link, mono + delay, answer)
        else:
            answer()

    def note(self, link: Link, identity: Identity, client_id: str) -> None:
        """Take note of a connection that was let in, for what its family may do later.

        Again when it goes on under a token that its client has shown.
        """
        self._forget_stay(link)
        stay = self._families.connected(identity, client_id)
        if stay is None:
            return
        self._stays[link] = stay
        if identity.shown_gen is not None:
            if self._trail is not None:
                self._trail.note((superseded(identity, Trace(link.peer.address), clock.now()),))
            self.report(
                "superseded_password",
                org_id=identity.org_id,
                user_id=identity.user_id,
                client_id=client_id,
                token_id=identity.token_id,
                shown=identity.shown_gen,
                generation=identity.gen,
            )

    def _forget_stay(self, link: Link) -> None:
        stay = self._stays.pop(link, None)
        if stay is not None:
            self._families.left(stay, clock.now())

    def _refuse(self, link: Link, code: ReasonCode, text: str, fields: dict[str, str]) -> None:
        link.outbox.closed = False
        self.broker.refuse(link.outbox, code, text, **fields)

    def shut_down(self) -> None:
        """Tell every connection that the server goes, and close it."""
        self.come_in()
        self.broker.keeping.flush()
        self.broker.recorder.flush()
        self._refusals.answer(math.inf)
        revoking.close_all(self.broker, ReasonCode.SERVER_SHUTTING_DOWN, "server shutting down")
        self.settle()

    def _identify(self, identity: Identity, client_id: str, token: bytes, now: float) -> Identity:
        """Tell who a connection is under another token.

        Raises: InvalidToken, ExpiredToken, ClientIdNotPermitted.
        """
        size, limit = len(token), self.broker.settings.max_password_bytes
        if size > limit:
            raise InvalidToken(f"token has {size} bytes, at most {limit} are accepted")
        renewed = self.authenticator.renew(identity, client_id, token, now)
        link: Link = self.broker.tenants[identity.org_id].sessions[client_id].outbox.owner
        self.note(link, renewed, client_id)
        return renewed

    def enter(self, org_id: str) -> None:
        """Tell the core what time it is, and have it know an organization."""
        self.come_in()
        self._ensure_tenant(org_id)

    def come_in(self) -> None:
        """Tell the core what time it is."""
        self.broker.moment.now = clock.now()

    def _ensure_tenant(self, org_id: str) -> None:
        if org_id not in self.broker.tenants:
            self.broker.set_rules(org_id, self.rules_of(org_id))

    def rules_of(self, org_id: str) -> TenantRules:
        """Return what an organization has set that the core obeys."""
        settings = self._organizations.settings_of(org_id)
        return TenantRules(
            policy=self._organizations.policy_of(org_id),
            dollar_trees=tuple(settings.dollar_trees),
            close_on_refused_publish=settings.refused_publish_311 == "close",
            default_session_expiry_seconds=settings.default_session_expiry_seconds,
            max_connections=settings.max_connections,
            max_sessions=settings.max_sessions,
            max_retained_messages=settings.max_retained_messages,
            history=self._organizations.history_rules_of(org_id),
        )

    def _look_at(self, link: Link, mono: float) -> None:
        """Close a link whose deadline has passed; packets since may have moved it."""
        link.deadline_second = None
        deadline = link.connection.expires_at_mono
        if deadline is not None and mono >= deadline:
            self.broker.fail(
                link.outbox, ProtocolError(link.connection.timeout_code, link.connection.timeout_text)
            )
        else:
            self.watch(link)

    def _close(self, effect: Close) -> None:
        link: Link = effect.outbox.owner
        self.unwatch(link)
        link.close(peer_left=effect.peer_left)
