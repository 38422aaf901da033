"""From the credentials of a CONNECT, or the token of a renewal, to an identity, without any I/O.

The only maker of `Identity` values. Keys, keyring, organizations and families are all in
memory, so `connect` is a plain function: it may be called, and `Families.check` and
`broker.connect` after it, in one step of the event loop.

Each way to prove who one is either gives an identity or raises; there is no next one to
try, and no outcome of an error is "let in" (SECURITY, rulings 7 and 12).
"""

from __future__ import annotations

import hmac

import msgspec

from tokenmq.access.identity import Identity, Renewal
from tokenmq.errors import BadCredentials, ClientIdNotPermitted, InvalidKey, InvalidToken, UnknownMethod
from tokenmq.services.families import Families
from tokenmq.services.keys import Keys
from tokenmq.services.organizations import Organizations
from tokenmq.services.servers import server_identity
from tokenmq.services.verifier import Verifier
from tokenmq.tokens.claims import Claims
from tokenmq.tokens.jwt import LapsedClaims
from tokenmq.tokens.records import KeyKind, KeyRecord, OrganizationRecord, OrganizationSettings
from tokenmq.tokens.subjects import SERVER, split_username, username

METHODS = frozenset({"JWT", "OAUTH2-JWT", "CUSTOM-JWT"})

# Identities that are remembered, about 0.5 KiB each: as many as tokens are (`verifier`).
MAX_REMEMBERED = 20_000

_SERVER_PREFIX = f"{SERVER}@"
_MQTT_SCOPE = "mqtt"


class Credentials(msgspec.Struct, frozen=True):
    """What a CONNECT shows.

    Attributes:
        username: the MQTT username; None when absent.
        password: the MQTT password; None when absent.
        method: MQTT 5 Authentication Method; None when absent.
        data: MQTT 5 Authentication Data; None when absent.
        client_id: the client id, or the one assigned to a client that sent none.
        origin: the `Origin` of the WebSocket upgrade; None when there was none.
        trusted_link: the connection came over TLS or from loopback.
    """

    username: str | None
    password: bytes | None
    method: str | None
    data: bytes | None
    client_id: str
    origin: str | None
    trusted_link: bool

    def __repr__(self) -> str:
        """Show nothing that opens anything."""
        return f"Credentials(username={self.username!r}, client_id={self.client_id!r})"


class Authenticator:
    """Decides whose a connection is."""

    def __init__(
        self, verifier: Verifier, families: Families, keys: Keys, organizations: Organizations
    ) -> None:
        self._verifier = verifier
        self._families = families
        self._keys = keys
        self._organizations = organizations
        self._users: dict[str, Identity] = {}

    def connect(self, credentials: Credentials, now: float) -> Identity:
        """Return who this is, or raise; never awaits anything.

        With a method the token stands in `data`, a password beside it must be equal, the
        username may be empty or absent. Without, the token is the password and the
        username must be the canonical spelling for its user and organization.
        `server@org_…` takes an `sk_` key, or an `rk_` key with the scope `mqtt`.
        A superseded or expired token may give an identity with the newest scope and expiry
        of its family (`Families.connect`).

        Raises:
            UnknownMethod: a method that is not in `METHODS`.
            BadCredentials: username wrong or missing, key unknown, wrong or expired.
            InvalidToken, ExpiredToken: token (or link, or origin, for it) not accepted.
            FamilyLapsed: the client is to try again.
            ClientIdNotPermitted: the token is bound to another client id.
        """
        if credentials.method is not None:
            return self._by_method(credentials, now)
        if not credentials.username:
            raise BadCredentials("username is missing")
        if credentials.username.startswith(_SERVER_PREFIX):
            return self._by_key(credentials, now)
        if credentials.password is None:
            raise InvalidToken("password is missing: it must be a token")
        return self._by_token(credentials.password, credentials, now)

    def renew(self, identity: Identity, client_id: str, token: bytes, now: float) -> Identity:
        """Return who a connection is under another token of its user, or raise; never awaits anything.

        Organization, user and client id stay as they are; the token's family may be another one.

        Args:
            identity: whose connection it is.
            client_id: that it is connected with.

        Raises:
            InvalidToken, ExpiredToken: token not accepted, another user's, or nothing to renew.
            ClientIdNotPermitted: the token is bound to another client id.
        """
        if identity.is_server:
            raise InvalidToken("a key opened this connection: there is nothing to renew")
        claims = self._verifier.read(token, now)
        self._existing(claims.org)
        newest = self._families.require_current(claims, now)
        renewed = self._identity(claims, newest, client_id)
        if (renewed.org_id, renewed.user_id) != (identity.org_id, identity.user_id):
            raise InvalidToken("token is another user's")
        return renewed

    def whose(self, token: str, org_id: str, now: float) -> Identity:
        """Return whose a token of an organization is, for those who only ask about it.

        Raises: InvalidToken, ExpiredToken.
        """
        claims = self._verifier.read(token, now)
        if claims.org != org_id:
            raise InvalidToken("token is of another organization")
        self._families.require_current(claims, now)
        return _user(claims)

    def bearer(self, token: str, now: float) -> Identity:
        """Return whose a token is that stands for its user over HTTP, under its family's newest password.

        Raises: InvalidToken, ExpiredToken.
        """
        claims = self._verifier.read(token, now)
        self._existing(claims.org)
        newest = self._families.require_current(claims, now)
        identity = _user(claims)
        return identity if newest is None else identity.renewed(newest)

    def _by_method(self, credentials: Credentials, now: float) -> Identity:
        if credentials.method not in METHODS:  # [MQTT-4.12.0-1]
            raise UnknownMethod("authentication method is none of JWT, OAUTH2-JWT, CUSTOM-JWT")
        if credentials.data is None:
            raise InvalidToken("authentication data is missing: it must be a token")
        # MQTT 5 leaves the password free beside a method; two tokens would be two claims.
        if credentials.password is not None and not hmac.compare_digest(
            credentials.password, credentials.data
        ):
            raise InvalidToken("password and authentication data differ")
        return self._by_token(credentials.data, credentials, now)

    def _by_token(self, token: bytes, credentials: Credentials, now: float) -> Identity:
        identity = self._identify(token, credentials.client_id, now)
        if credentials.username and credentials.username != identity.username:
            self._refuse_username(credentials.username, identity)
        origin = credentials.origin
        if origin is not None and not self._organizations.admits_origin(origin, identity.org_id):
            raise InvalidToken("the organization does not allow this page's origin")
        return identity

    def _identify(self, token: bytes, client_id: str, now: float) -> Identity:
        shown = self._verifier.read_lapsed(token, now)
        claims = shown.claims if isinstance(shown, LapsedClaims) else shown
        settings = self._existing(claims.org).settings
        newest = self._families.connect(shown, client_id, settings, now)
        return self._identity(claims, newest, client_id)

    def _existing(self, org_id: str) -> OrganizationRecord:
        organization = self._organizations.find(org_id)
        if organization is None:
            raise InvalidToken("token is of an organization that is not there")
        return organization

    def _identity(self, claims: Claims, newest: Renewal | None, client_id: str) -> Identity:
        identity = self._users.get(claims.jti) or self._keep(claims)
        if newest is not None:
            identity = msgspec.structs.replace(identity.renewed(newest), shown_gen=claims.gen)
        if not identity.admits_client_id(client_id):
            raise ClientIdNotPermitted("token is bound to another client id")
        return identity

    def _keep(self, claims: Claims) -> Identity:
        """Make the identity of a password, and remember it: a password says the same each time."""
        if len(self._users) >= MAX_REMEMBERED:
            del self._users[next(iter(self._users))]
        identity = self._users[claims.jti] = _user(claims)
        return identity

    def _refuse_username(self, shown: str, identity: Identity) -> None:
        """Say what is wrong with a username that is not the token's.

        Raises: BadCredentials, InvalidToken (the username names another organization).
        """
        _, org_id = split_username(shown)
        if org_id != identity.org_id:
            raise InvalidToken("token is of another organization than the username")
        raise BadCredentials("username is not that of the token's user")

    def _by_key(self, credentials: Credentials, now: float) -> Identity:
        # Before the key is looked at: whoever may not try learns nothing by trying.
        if credentials.origin is not None:
            raise InvalidToken("a server's connection does not come from a web page")
        if not credentials.trusted_link:
            raise InvalidToken("a server's connection needs TLS, or to come from loopback")
        _, org_id = split_username(credentials.username or "")
        if credentials.password is None:
            raise BadCredentials("password is missing: it must be a key")
        try:
            key = self._keys.authenticate(credentials.password, now)
        except InvalidKey as error:
            raise BadCredentials(str(error), key_id=error.key_id) from error
        organization = self._organizations.find(org_id)
        if key.org_id != org_id or organization is None:
            raise BadCredentials("key is of another organization than the username")
        return _server(key, org_id, organization.settings)


def _user(claims: Claims) -> Identity:
    return Identity(
        org_id=claims.org,
        user_id=claims.sub,
        username=username(claims.sub, claims.org),
        grants=claims.grants,
        expires_at=claims.exp,
        token_id=claims.fam,
        jti=claims.jti,
        gen=claims.gen,
        key_id=None,
        client_id=claims.client_id,
        issued_at=claims.iat,
        attrs=claims.attrs,
    )


def _server(key: KeyRecord, org_id: str, settings: OrganizationSettings) -> Identity:
    opens = key.kind is KeyKind.SECRET or (key.kind is KeyKind.RESTRICTED and _MQTT_SCOPE in key.scopes)
    if not opens:
        raise InvalidToken("this kind of key opens no connection")
    return server_identity(key, org_id, settings)
