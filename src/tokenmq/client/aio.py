"""The client: connect with a token and forget about it."""

from __future__ import annotations

import secrets
import string
from types import TracebackType
from typing import Final, Self, Unpack

from tokenmq.client.addresses import addresses_of
from tokenmq.client.callbacks import Callbacks
from tokenmq.client.engine import Engine
from tokenmq.client.logins import FixedLogin, Login, TokenLogin
from tokenmq.client.messages import Will
from tokenmq.client.options import Options, Settings
from tokenmq.client.origins import ExternalToken, GetToken
from tokenmq.client.presenting import Presenting
from tokenmq.client.recorded import Recorded
from tokenmq.client.source import TokenSource
from tokenmq.client.tokens import Token
from tokenmq.client.wire import LinkOptions
from tokenmq.errors import InvalidRequest

_LETTERS: Final = string.ascii_letters + string.digits
_MADE_UP_LETTERS: Final = 8
# The user of a connection that is made with a key alone.
SERVER: Final = "server"


class Client(Callbacks, Presenting, Recorded):
    """An MQTT client that gets its tokens, renews them in time, and stays connected.

        async with Client(token_service_url="https://auth.example") as client:
            await client.connect_with_token(
                host="wss://mqtt.example/mqtt", organization_id="org_…", get_token=ask_my_backend
            )
            await client.subscribe("chat/#")
            await client.publish("chat/room1", {"hello": "world"})
            async for message in client.messages:
                print(message.topic, message.json())

    It belongs to the event loop that it connects on. Its settings are those of `Options`.
    """

    def __init__(self, **settings: Unpack[Settings]) -> None:
        """Prepare; nothing is sent yet.

        Raises: InvalidRequest for settings that cannot be.
        """
        super().__init__()
        self.options = Options(**settings)
        self._engine: Engine | None = None
        self._source: TokenSource | None = None
        self._login: Login | None = None
        self._client_id = ""
        self._ends_session = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if error is not None and self._engine is not None:
            # The loop has not come to the end of its last message: another client is to get it.
            self._engine.subscriptions.messages.keep_unacknowledged()
        await self.close()

    # Connecting

    async def connect_with_token(
        self,
        host: str,
        *,
        organization_id: str | None = None,
        secret_key: str | None = None,
        user_email: str | None = None,
        user_id: str | None = None,
        external_token: ExternalToken | None = None,
        get_token: GetToken | None = None,
        permissions: list[str] | None = None,
        topics: list[str] | None = None,
        ttl: int | None = None,
        integration_id: str | None = None,
        replace_existing: bool | None = None,
        provider: str | None = None,
        client_id: str | None = None,
        will: Will | None = None,
    ) -> Token | None:
        """Get a token, connect with it, and keep both.

        Args:
            host: mqtt://, mqtts://, ws:// or wss:// with host, and port and path if needed; a bare
                host name is tried with TLS only, unless it is this machine.
            organization_id: needed with `external_token`, and with a key alone.
            secret_key: with `user_email` or `user_id`: a token is made for that user. Alone: this
                is the server's own connection, `server@org_…`, and has no token.
            external_token: of ours or of an identity provider, or a function that returns one.
            get_token: a function, plain or async, that asks your backend for a token: what it
                returns is the answer of `POST /v2/tokens`, a token's text, or a Token.
            permissions, topics, ttl, replace_existing: of the token that is made with a key.
            integration_id, provider: told to the token service.
            client_id: the client's; without one it is made up, and its session ends with `close`.
            will: what the broker publishes when this client is lost.

        Returns: the token; None with a key alone.
        Raises: TokenError, ConnectError, InvalidRequest; then nothing goes on.
        """
        self._begin(client_id)
        if secret_key and not (user_email or user_id or external_token or get_token):
            if not organization_id:
                raise InvalidRequest(("organization_id", "is needed to connect with a key alone"))
            if any(told is not None for told in (permissions, topics, ttl, replace_existing)):
                # It would have more rights than whoever wrote this believes.
                raise InvalidRequest(("user_id", "or user_email is needed to ask for rights with a key"))
            login = FixedLogin(f"{SERVER}@{organization_id}", secret_key)
            await self._connect(host, login, None, will)
            return None
        source = TokenSource(
            token_service_url=self.options.token_service_url,
            organization_id=organization_id,
            secret_key=secret_key,
            user_email=user_email,
            user_id=user_id,
            external_token=external_token,
            get_token=get_token,
            permissions=permissions,
            topics=topics,
            ttl=ttl,
            integration_id=integration_id,
            replace_existing=replace_existing,
            provider=provider,
            tls=self.options.tls,
            clock=self.options.clock,
            transport=self.options.transport,
            chance=self.options.chance,
        )
        source.on_token_expiring(lambda seconds: self._events.tell("token_expiring", seconds))
        source.on_token_refreshed(lambda token: self._events.tell("token_refreshed", token))
        source.on_token_error(lambda error, kind: self._events.tell("token_error", error, kind))
        self._source = source
        try:
            await self._connect(host, TokenLogin(source), source, will)
        except BaseException:
            await source.close()
            raise
        source.start(renews=self.options.auto_refresh)
        return source.newest

    async def connect(
        self,
        host: str,
        *,
        username: str,
        password: str,
        client_id: str | None = None,
        will: Will | None = None,
    ) -> None:
        """Connect with a username and password that nobody renews.

        Raises: TokenError (`auth_failed`), ConnectError, InvalidRequest.
        """
        self._begin(client_id)
        await self._connect(host, FixedLogin(username, password), None, will)

    def _begin(self, client_id: str | None) -> None:
        if self._engine is not None:
            raise InvalidRequest(("", "this client is connected already, or was; make another one"))
        made_up = "".join(secrets.choice(_LETTERS) for _ in range(_MADE_UP_LETTERS))
        self._client_id = client_id or f"{self.options.client_id_prefix}{made_up}"
        self._ends_session = client_id is None or self.options.clean_session

    async def _connect(self, host: str, login: Login, source: TokenSource | None, will: Will | None) -> None:
        options = self.options
        link_options = LinkOptions(
            client_id=self._client_id,
            version=options.protocol_version,
            keep_alive_seconds=options.keepalive_seconds,
            clean_start=options.clean_session,
            session_expiry_seconds=options.session_expiry_seconds,
            receive_maximum=options.receive_maximum,
            timeout_seconds=options.connect_timeout_seconds,
            will=will,
            tls=options.tls,
        )
        engine = Engine(
            addresses_of(host), link_options, login, options=options, events=self._events, source=source
        )
        for callback in self._message_callbacks:
            engine.subscriptions.add_for_all(callback)
        self._engine, self._login = engine, login
        try:
            await engine.start()
        except BaseException:
            self._engine = self._login = None
            raise

    async def close(self) -> None:
        """Disconnect and end everything. What was published and not acknowledged is given up.

        What a loop over `messages` got last is acknowledged, unless the client is left (`async with`)
        by an exception.
        """
        engine, source = self._engine, self._source
        if source is not None:
            await source.close()
        if engine is not None:
            await engine.stop(session_expiry_seconds=0 if self._ends_session else None)
        await self._close_reading()
        await self._events.close()

    # What it is

    @property
    def is_connected(self) -> bool:
        """There is a connection at this moment."""
        return self._engine is not None and self._engine.is_connected

    @property
    def client_id(self) -> str:
        """The client id; empty before the first connection."""
        return self._client_id

    @property
    def token(self) -> Token | None:
        """The newest token; None without one."""
        return self._source.newest if self._source else None

    @property
    def queued(self) -> int:
        """How many messages wait here for a connection."""
        return self._engine.outbox.queued if self._engine else 0

    async def refresh_token(self) -> Token:
        """Renew the token now, and move the connection to it. Raises: TokenError."""
        if self._source is None:
            raise InvalidRequest(("", "this client has no token"))
        return await self._source.renew(self._source.newest)
