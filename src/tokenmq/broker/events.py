"""What a connection is told about itself on `$auth/events` (the wire contract, section 3).

Never routed, never queued, never seen by anyone else: an event goes to the connection
that it is about, if that connection listens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from tokenmq.access.identity import Identity
from tokenmq.broker.judging import EVENTS_TOPIC
from tokenmq.broker.message import Message
from tokenmq.timestamps import rfc3339

if TYPE_CHECKING:
    from tokenmq.broker.session import Session

# `expiring` comes this long before the end, or this part of the life if that is shorter.
_WARN_SECONDS = 60.0
_WARN_PART = 0.1
# At most one `denied` a second (the wire contract).
_DENIED_EVERY_SECONDS = 1.0


class Events:
    """Tells connections about themselves."""

    def denied(self, session: Session, action: str, topic: str, reason: str, now: float) -> None:
        """Tell that something was refused which its protocol has no answer for."""
        # A clock that was set back makes it negative: then it is told too soon, not too late.
        if not session.listens or 0 <= now - session.denied_told_at < _DENIED_EVERY_SECONDS:
            return
        session.denied_told_at = now
        self._tell(session, {"event": "denied", "action": action, "topic": topic, "reason": reason})

    def dropped(self, session: Session) -> bool:
        """Tell how many messages its own queue has lost since it was last told.

        Returns: whether that is settled; False while the link takes no bytes. Who has no
            connection is told when there is one that listens.
        """
        if not session.connected:
            return True
        if session.listens:
            if session.outbox.paused:
                return False
            self._tell(session, {"event": "dropped", "count": session.lost})
        session.lost = 0
        return True

    def expiring(self, session: Session, now: float) -> None:
        """Tell that its token ends soon."""
        expires_at = session.identity.expires_at
        if session.listens and expires_at is not None:
            self._tell(
                session,
                {
                    "event": "expiring",
                    "token_id": session.identity.token_id,
                    "expires_at": rfc3339(expires_at),
                    "seconds_left": max(0, int(expires_at - now)),
                },
            )

    def refreshed(self, session: Session) -> None:
        """Tell that it goes on under another password, and until when."""
        identity = session.identity
        if session.listens and identity.expires_at is not None:
            event = {"event": "refreshed", "token_id": identity.token_id}
            self._tell(session, {**event, "expires_at": rfc3339(identity.expires_at)}, waits=True)

    def narrowed(self, session: Session, suspended: Sequence[str]) -> bool:
        """Tell which subscriptions it has lost, in as many events as its maximum packet size asks for.

        Returns: whether all could be told.
        """
        event = {"event": "narrowed", "suspended": suspended}
        if self._tell(session, event, waits=True):
            return True
        half = len(suspended) // 2
        return half > 0 and all(self.narrowed(session, part) for part in (suspended[:half], suspended[half:]))

    def _tell(self, session: Session, event: dict[str, Any], *, waits: bool = False) -> bool:
        """Send an event; return whether it could be.

        Args:
            waits: it goes out later to a link that takes no bytes now; else it is left out.
        """
        if session.outbox.paused and not waits:
            return False
        message = Message(EVENTS_TOPIC, msgspec.json.encode(event), 0, 0, b"")
        identifiers = (session.events_identifier,) if session.events_identifier else ()
        packet = message.form(session.version, 0, identifiers).packet
        if len(packet) > session.max_packet_bytes:
            return False
        if not session.chunks:
            session.tenant.dirty.append(session.outbox)
        session.chunks.append(packet)
        return True


def warn_at(identity: Identity, since: float) -> float | None:
    """Return when to tell that a token ends soon, unix seconds; None if it does not end.

    Args:
        since: unix seconds at which the connection came under it.
    """
    if identity.expires_at is None:
        return None
    remaining = identity.expires_at - since
    life = remaining if identity.issued_at is None else identity.expires_at - identity.issued_at
    before = min(_WARN_SECONDS, _WARN_PART * life)
    # Who comes later than that is told at half of what remains.
    return identity.expires_at - (before if before < remaining else remaining / 2)
