"""Who is connected: what an authenticator has proven, and all that the core knows of it."""

from __future__ import annotations

from typing import Any

import msgspec

from tokenmq.access.grants import Grant


class Renewal(msgspec.Struct, frozen=True):
    """The newest password of a token family, as far as its connections are concerned.

    Attributes:
        jti: names the password.
        gen: its generation.
        grants: what it was issued with, variables not yet bound.
        issued_at, expires_at: its life, unix seconds.
        attrs: an identity provider's claims that travel with it; None for none.
    """

    jti: str
    gen: int
    grants: tuple[Grant, ...]
    issued_at: float
    expires_at: float
    attrs: dict[str, Any] | None = None


class Identity(msgspec.Struct, frozen=True):
    """A proven user or server of one organization, with the rights it was given.

    Attributes:
        org_id: the organization, also the name of its topic space.
        user_id: the user; "server" for a connection that a key opened.
        username: the MQTT username in full, `user@org_…`.
        grants: what the token or key was issued with, variables not yet bound.
        expires_at: unix seconds at which the connection ends; None: never.
        token_id: the token family; None for a server connection.
        jti: the one password of the family; None for a server connection.
        gen: the generation of that password.
        key_id: the key of a server connection; None for a user.
        client_id: the only client id it may use, or a prefix that ends in "*"; None: any.
        issued_at: unix seconds at which the token or key was made; None: not told.
        attrs: an identity provider's claims that the organization lets through; None for none.
        shown_gen: the generation that the connection showed, where that is a former one; None: `gen`.
    """

    org_id: str
    user_id: str
    username: str
    grants: tuple[Grant, ...]
    expires_at: float | None
    token_id: str | None
    jti: str | None
    gen: int
    key_id: str | None
    client_id: str | None
    issued_at: float | None = None
    attrs: dict[str, Any] | None = None
    shown_gen: int | None = None

    @property
    def is_server(self) -> bool:
        """Whether a key opened this connection, not a token."""
        return self.key_id is not None

    @property
    def owner(self) -> tuple[str, str]:
        """Whose sessions these are: ("user", user id) or ("key", key id)."""
        return ("user", self.user_id) if self.key_id is None else ("key", self.key_id)

    def admits_client_id(self, client_id: str) -> bool:
        """Tell whether the token lets a connection use a client id."""
        pattern = self.client_id
        if pattern is None:
            return True
        return client_id.startswith(pattern[:-1]) if pattern.endswith("*") else client_id == pattern

    @property
    def only_client_id(self) -> str | None:
        """The one client id that the token is bound to; None where there may be several."""
        pattern = self.client_id
        return None if pattern is None or pattern.endswith("*") else pattern

    def names_client_id(self, client_id: str) -> bool:
        """Tell whether the token is bound to exactly this client id, not to a prefix of it."""
        return self.only_client_id == client_id

    def has_rights_of(self, other: Identity) -> bool:
        """Tell whether the two differ by nothing but their passwords: what they may do is the same then."""
        return self == msgspec.structs.replace(
            other,
            expires_at=self.expires_at,
            token_id=self.token_id,
            jti=self.jti,
            gen=self.gen,
            client_id=self.client_id,
            issued_at=self.issued_at,
        )

    def is_superseded_by(self, other: Identity) -> bool:
        """Tell whether the other one is a later password of the same family."""
        mine, others = (self.gen, self.expires_at or 0.0), (other.gen, other.expires_at or 0.0)
        return self.token_id == other.token_id and mine < others

    def ending(self, expires_at: float) -> Identity:
        """Return the same user or server, whose connection ends at another moment."""
        return msgspec.structs.replace(self, expires_at=expires_at)

    def renewed(self, renewal: Renewal) -> Identity:
        """Return the same user under the newest password of the same family."""
        return msgspec.structs.replace(
            self,
            jti=renewal.jti,
            gen=renewal.gen,
            grants=renewal.grants,
            issued_at=renewal.issued_at,
            expires_at=renewal.expires_at,
            attrs=renewal.attrs,
        )
