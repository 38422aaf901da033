"""How a client behaves: its settings, with the names of the published JavaScript client."""

from __future__ import annotations

import dataclasses
import random
import ssl
from collections.abc import Callable
from typing import TypedDict

import httpx2

from tokenmq.client.clocks import Clock
from tokenmq.errors import InvalidRequest


class Settings(TypedDict, total=False):
    """The settings of a `Client` by name, for its constructor; `Options` says what they mean."""

    token_service_url: str | None
    auto_refresh: bool
    protocol_version: int
    keepalive_seconds: int
    clean_session: bool
    session_expiry_seconds: int
    connect_timeout_seconds: float
    auto_reconnect: bool
    max_reconnect_attempts: int
    enable_offline_queue: bool
    max_offline_queue_size: int
    drop_oldest_on_queue_full: bool
    receive_maximum: int
    default_publish_qos: int
    default_subscribe_qos: int
    request_timeout_seconds: float
    response_topic_pattern: str
    client_id_prefix: str
    tls: ssl.SSLContext | None
    clock: Clock
    transport: httpx2.AsyncBaseTransport | None
    chance: Callable[[], float]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The settings of a `Client`; every one has a default.

    Attributes:
        token_service_url: as https://auth.example; needed by all of `connect_with_token` but
            `get_token` and a key alone.
        auto_refresh: renew tokens in time; without it `token_expiring` is told and nothing done.
        protocol_version: 5, or 4, which is MQTT 3.1.1.
        keepalive_seconds: longest silence before a ping.
        clean_session: begin the first connection with a new session, and end it with `close`.
            A client id that was made up here always does.
        session_expiry_seconds: how long the broker keeps the session of a lost connection (MQTT 5).
        connect_timeout_seconds: for opening a connection.
        auto_reconnect: open lost connections again.
        max_reconnect_attempts: failed ones in a row after which it gives up; 0: never.
        enable_offline_queue: keep messages that are published without a connection.
        max_offline_queue_size: so many of them.
        drop_oldest_on_queue_full: then the oldest makes room; else the new one is refused.
        receive_maximum: how many messages the broker may send that were not taken yet (MQTT 5).
        default_publish_qos, default_subscribe_qos: 0, 1 or 2.
        request_timeout_seconds: for replies to requests, and answers to subscriptions.
        response_topic_pattern: where replies are asked for.
        client_id_prefix: before eight random letters, where no client id is given.
        tls: for mqtts://, wss:// and https://; None checks against the system's roots.
        clock, transport, chance: stand in for clocks, HTTP and chance in tests.
    """

    token_service_url: str | None = None
    auto_refresh: bool = True
    protocol_version: int = 5
    keepalive_seconds: int = 60
    clean_session: bool = False
    session_expiry_seconds: int = 3600
    connect_timeout_seconds: float = 30.0
    auto_reconnect: bool = True
    max_reconnect_attempts: int = 0
    enable_offline_queue: bool = True
    max_offline_queue_size: int = 1000
    drop_oldest_on_queue_full: bool = True
    receive_maximum: int = 1000
    default_publish_qos: int = 1
    default_subscribe_qos: int = 1
    request_timeout_seconds: float = 30.0
    response_topic_pattern: str = "response/{client_id}"
    client_id_prefix: str = "tmq_"
    tls: ssl.SSLContext | None = None
    clock: Clock = dataclasses.field(default_factory=Clock)
    transport: httpx2.AsyncBaseTransport | None = None
    chance: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        problems = [
            (name, wanted)
            for name, is_right, wanted in (
                ("protocol_version", self.protocol_version in (4, 5), "is 5 or 4"),
                ("default_publish_qos", self.default_publish_qos in (0, 1, 2), "is 0, 1 or 2"),
                ("default_subscribe_qos", self.default_subscribe_qos in (0, 1, 2), "is 0, 1 or 2"),
                ("receive_maximum", 0 < self.receive_maximum < 65536, "is from 1 to 65,535"),
                ("keepalive_seconds", 0 <= self.keepalive_seconds < 65536, "is from 0 to 65,535"),
                ("max_offline_queue_size", self.max_offline_queue_size >= 0, "is 0 or more"),
            )
            if not is_right
        ]
        if problems:
            raise InvalidRequest(*problems)
