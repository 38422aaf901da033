"""What is remembered of one token family, and what follows for whoever shows a password of it.

Plain state of `services.families`, which owns it; synchronous, told the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenmq.errors import ExpiredToken, FamilyLapsed, InvalidToken
from tokenmq.tokens.claims import Claims
from tokenmq.tokens.family import MAX_CLIENTS, FamilyUsage, is_repeatable

if TYPE_CHECKING:
    from tokenmq.access.identity import Renewal
    from tokenmq.tokens.settings import OrganizationSettings

# The wire contract: how long a client of a lapsed family is told to try again.
TRY_AGAIN_SECONDS = 60


class Stay:
    """One connection of a family under one client id.

    Attributes:
        token_id: the family.
        client_id: the client id.
        left_at: unix seconds when it ended; None while it lasts.
    """

    __slots__ = ("client_id", "left_at", "token_id")

    def __init__(self, token_id: str, client_id: str, left_at: int | None = None) -> None:
        self.token_id = token_id
        self.client_id = client_id
        self.left_at = left_at


class Remembered:
    """What is known of one family.

    Attributes:
        expires_at: expiry of its newest password, as far as it is known, unix seconds.
        newest: its newest password; None while it was never refreshed: then a password of
            it is as its claims say.
        superseded_at: when that took the place of the one before.
        presented: the newest generation that was shown anywhere.
        connected: the newest generation that a connection has shown; None = none has.
        was_connected: counts as having been connected, whatever `connected` says: it is
            older than this process, and what it was then may not have been stored.
        clients: its latest connection under each client id that it was connected with, the
            latest last; most have one, and a tuple of one takes a quarter of a dict.
        renewable, ends_at, is_replaced: as in its record; of a family that is only known by
            its connections they come with the next writing.
        tried_since: when a client of it was first told to try again, since it lapsed.
    """

    __slots__ = (
        "clients",
        "connected",
        "ends_at",
        "expires_at",
        "is_replaced",
        "newest",
        "presented",
        "renewable",
        "superseded_at",
        "tried_since",
        "was_connected",
    )

    def __init__(self, expires_at: float) -> None:
        self.expires_at = expires_at
        self.newest: Renewal | None = None
        self.superseded_at: int | None = None
        self.presented = 0
        self.connected: int | None = None
        self.was_connected = False
        self.clients: tuple[Stay, ...] = ()
        self.renewable = True
        self.ends_at: int | None = None
        self.is_replaced = False
        self.tried_since: float | None = None

    def require_current(self, claims: Claims, now: float) -> bool:
        """Let an unexpired password pass that is good outside of CONNECT.

        The newest, or the one before as long as that may still be refreshed.

        Returns: whether the newest was shown for the first time.
        Raises: InvalidToken.
        """
        if self.newest is None:
            return False
        gen = self.newest.gen
        if claims.gen == gen:
            is_first = self.presented < gen
            self.presented = gen
            return is_first
        if claims.gen == gen - 1 and is_repeatable(gen, self.superseded_at, self.presented, now):
            return False
        raise _superseded()

    def connect(
        self, claims: Claims, client_id: str, settings: OrganizationSettings, now: float
    ) -> Renewal | None:
        """Judge a CONNECT with a genuine password, expired or not.

        Returns: the password under whose scope and expiry it is let in; None = the one shown.
        Raises: InvalidToken, ExpiredToken, FamilyLapsed (let it try again).
        """
        newest = self.newest
        expired = now >= claims.exp
        if not expired and (newest is None or claims.gen == newest.gen):
            return None
        if newest is not None and now < newest.expires_at:
            if settings.superseded_reconnect and self._comes_back(claims, client_id, settings, now):
                return newest
            if not expired:
                raise _superseded()
        elif self._may_try_again(claims, client_id, settings, now):
            raise FamilyLapsed("token has expired; once it is refreshed, this client may come back")
        raise ExpiredToken("token has expired", claims.exp)

    def usage(self, token_id: str) -> FamilyUsage:
        """Return what is to be stored of this."""
        clients = tuple((stay.client_id, stay.left_at) for stay in self.clients)
        return FamilyUsage(token_id, self.presented, self.connected, clients)

    def note_client(self, stay: Stay) -> None:
        """Remember a connection; of too many client ids the one longest ago is forgotten."""
        others = [other for other in self.clients if other.client_id != stay.client_id]
        self.clients = (*others[-(MAX_CLIENTS - 1) :], stay)

    def _comes_back(self, claims: Claims, client_id: str, settings: OrganizationSettings, now: float) -> bool:
        """Tell whether a superseded or expired password of a living family opens a connection."""
        if self.newest is None or claims.gen > self.newest.gen:
            return False
        if self.connected is not None and self.connected > claims.gen:
            return False
        if self._knows(claims, client_id, settings, now):
            return True
        return now < claims.exp and self.connected is None and not self.was_connected

    def _knows(self, claims: Claims, client_id: str, settings: OrganizationSettings, now: float) -> bool:
        """Tell whether the family was connected with this client id not long ago."""
        stay = next((stay for stay in self.clients if stay.client_id == client_id), None)
        if stay is None:
            return False
        window = max(settings.reconnect_window_seconds, claims.exp - claims.iat)
        return stay.left_at is None or now - stay.left_at <= window

    def _may_try_again(
        self, claims: Claims, client_id: str, settings: OrganizationSettings, now: float
    ) -> bool:
        """Tell whether the family has lapsed, and this client of it may wait for its refresh."""
        over = now - self.expires_at > settings.refresh_grace_seconds
        over = over or (self.ends_at is not None and now >= self.ends_at)
        if over or self.is_replaced or not self.renewable:
            return False
        if not self._knows(claims, client_id, settings, now):
            return False
        if self.tried_since is None:
            self.tried_since = now
        return now - self.tried_since < TRY_AGAIN_SECONDS


def _superseded() -> InvalidToken:
    return InvalidToken("token is not the newest of its family any more")
