"""The callbacks of a client: `on_…` adds one, `set_…_callback` sets the one of that setter.

Both ways stand beside each other: setting one never unsets another. Callbacks are plain or
async; an exception in one is logged and harms nobody.
"""

from __future__ import annotations

from typing import TypeVar

from tokenmq.client.engine import Engine
from tokenmq.client.events import Callback, Events
from tokenmq.client.inbox import MessageCallback

C = TypeVar("C", bound=Callback)


class Callbacks:
    """Everything that a client tells by callback. `on_…` returns the callback, so it can decorate."""

    _engine: Engine | None

    def __init__(self) -> None:
        self._events = Events()
        self._message_callbacks: list[MessageCallback] = []

    def on_token_expiring(self, callback: C) -> C:
        """Call it with the seconds that are left when a token is about to be renewed."""
        return self._add("token_expiring", callback)

    def on_token_refreshed(self, callback: C) -> C:
        """Call it with each Token after the first."""
        return self._add("token_refreshed", callback)

    def on_token_error(self, callback: C) -> C:
        """Call it with a TokenError and its kind when a renewal fails.

        The kind is `refresh_failed` when it will not be tried again by itself.
        """
        return self._add("token_error", callback)

    def on_auth_error(self, callback: C) -> C:
        """Call it with the TokenError by which the client has ended."""
        return self._add("auth_error", callback)

    def on_connected(self, callback: C) -> C:
        """Call it with whether the session is that of before, on each connection."""
        return self._add("connected", callback)

    def on_disconnected(self, callback: C) -> C:
        """Call it with the broker's reason, or None, when a connection is lost."""
        return self._add("disconnected", callback)

    def on_reconnecting(self, callback: C) -> C:
        """Call it with the number of the attempt."""
        return self._add("reconnecting", callback)

    def on_connection_status_change(self, callback: C) -> C:
        """Call it with whether there is a connection, and a word.

        The word is `connected`, `disconnected`, `reconnecting` or `error`.
        """
        return self._add("status", callback)

    def on_narrowed(self, callback: C) -> C:
        """Call it with the filters of subscriptions that the token no longer covers."""
        return self._add("narrowed", callback)

    def on_denied(self, callback: C) -> C:
        """Call it with a Denied that nobody gets raised: QoS 0, MQTT 3.1.1, queued messages."""
        return self._add("denied", callback)

    def on_dropped(self, callback: C) -> C:
        """Call it with how many messages for this client were dropped, because a queue was full."""
        return self._add("dropped", callback)

    def on_message(self, callback: MessageCallback) -> MessageCallback:
        """Call it with every message, whatever it was subscribed by; once, however often it is given."""
        if callback not in self._message_callbacks:
            self._message_callbacks.append(callback)
        if self._engine is not None:
            self._engine.subscriptions.add_for_all(callback)
        return callback

    def off_message(self, callback: MessageCallback) -> None:
        """Call it no more."""
        if callback in self._message_callbacks:
            self._message_callbacks.remove(callback)
        if self._engine is not None:
            self._engine.subscriptions.remove_for_all(callback)

    def set_token_expiring_callback(self, callback: Callback | None) -> None:
        """Set what `on_token_expiring` adds."""
        self._events.put("token_expiring", callback)

    def set_token_refreshed_callback(self, callback: Callback | None) -> None:
        """Set what `on_token_refreshed` adds."""
        self._events.put("token_refreshed", callback)

    def set_token_error_callback(self, callback: Callback | None) -> None:
        """Set what `on_token_error` adds."""
        self._events.put("token_error", callback)

    def set_auth_error_callback(self, callback: Callback | None) -> None:
        """Set what `on_auth_error` adds."""
        self._events.put("auth_error", callback)

    def set_connection_status_callback(self, callback: Callback | None) -> None:
        """Set what `on_connection_status_change` adds."""
        self._events.put("status", callback)

    def set_online_callback(self, callback: Callback | None) -> None:
        """Set what `on_connected` adds."""
        self._events.put("connected", callback)

    def set_offline_callback(self, callback: Callback | None) -> None:
        """Set what `on_disconnected` adds."""
        self._events.put("disconnected", callback)

    def set_reconnecting_callback(self, callback: Callback | None) -> None:
        """Set what `on_reconnecting` adds."""
        self._events.put("reconnecting", callback)

    def _add(self, event: str, callback: C) -> C:
        self._events.add(event, callback)
        return callback
