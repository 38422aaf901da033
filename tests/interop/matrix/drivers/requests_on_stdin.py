"""What the drivers of Python's clients share: requests come as lines on stdin, answers go to stdout.

A request is `{"as": NAME, "do": VERB, ...}`, one JSON object a line: `connect`, `publish`
or `disconnect`; NAME names a connection, which subscribes at once if that is wanted. It is
answered by `{"as": NAME, "answer": ...}` when the broker has, or by `{"as": NAME, "failed":
...}`. What a connection receives is told as it comes, `{"as": NAME, "message": ...}`.
Payloads are base64.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class Refused(Exception):
    """CONNECT was refused, with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"refused with {code:#x}")
        self.code = code


@dataclass(frozen=True)
class Wanted:
    """A connection as it is asked for.

    Attributes:
        version: 4 is 3.1.1, 5 is 5.0.
        authority: file of the certificate authority; None is without TLS.
        expiry: seconds that the session outlives its connection, in 5.0.
        subscribe: filter and QoS.
        will: its topic and payload; it is sent at QoS 1.
    """

    host: str
    port: int
    version: int
    is_websocket: bool
    authority: str | None
    username: str
    password: str
    client_id: str
    clean: bool
    expiry: int
    subscribe: tuple[str, int] | None
    will: tuple[str, str] | None

    def tls(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=self.authority) if self.authority else None


class Connection(Protocol):
    """A connection by one of the clients; each call ends when the broker has answered."""

    async def connect(self) -> bool | None:
        """Return whether a session was present, None where the client does not tell; raises Refused."""

    async def subscribe(self, topic_filter: str, qos: int) -> int:
        """Return the code of SUBACK."""

    async def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool) -> None: ...

    async def disconnect(self) -> None: ...


# Tells what was received: topic, payload, QoS, retained.
Tell = Callable[[str, bytes, int, bool], None]


def tell(name: str, **what: Any) -> None:
    sys.stdout.write(json.dumps({"as": name, **what}) + "\n")
    sys.stdout.flush()


def teller(name: str) -> Tell:
    """Return the callback of a connection for what it receives."""

    def tell_message(topic: str, payload: bytes, qos: int, retain: bool) -> None:
        text = base64.b64encode(payload).decode()
        tell(name, message={"topic": topic, "payload": text, "qos": qos, "retain": bool(retain)})

    return tell_message


async def _perform(
    make: Callable[[Wanted, Tell], Connection], connections: dict[str, Connection], request: dict[str, Any]
) -> Any:
    name, verb = request.pop("as"), request.pop("do")
    if verb == "connect":
        connection = make(Wanted(**request), teller(name))
        try:
            present = await connection.connect()
        except Refused as refused:
            return {"code": refused.code}
        connections[name] = connection
        granted = None if request["subscribe"] is None else await connection.subscribe(*request["subscribe"])
        return {"code": 0, "session_present": present, "granted": granted}
    if verb == "publish":
        payload = base64.b64decode(request["payload"])
        return await connections[name].publish(
            request["topic"], payload, request["qos"], retain=request["retain"]
        )
    return await connections.pop(name).disconnect()


async def follow(make: Callable[[Wanted, Tell], Connection]) -> None:
    """Do what stdin asks for, one request after the other, until it ends."""
    connections: dict[str, Connection] = {}
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        request = json.loads(line)
        name = request["as"]
        try:
            tell(name, answer=await _perform(make, connections, request))
        except Exception:
            tell(name, failed=traceback.format_exc())
