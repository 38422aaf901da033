"""Our own server as a process: what it is started with, and a call of its HTTP API."""

import http.client
import json
import os
import socket

HOST = "127.0.0.1"


def free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


def environment(**settings: str) -> dict[str, str]:
    """The variables of a process of ours with these settings: `MQTT_PORT` is `TOKENMQ_MQTT_PORT`.

    Whatever else the environment says of tokenmq is left out.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOKENMQ_")}
    return kept | {f"TOKENMQ_{name}": value for name, value in settings.items()}


def call(
    method: str, port: int, path: str, body: dict[str, object], *, key: str, seconds: float
) -> dict[str, object]:
    """Send a request with a key, wait for the answer, and return what it says.

    Raises: OSError and HTTPException without an answer; Refused for one that is not 200 or 201.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=seconds)
    try:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status not in (200, 201):
        raise Refused(f"{method} {path} was answered {answer.status}: {content[:200]!r}")
    found: dict[str, object] = json.loads(content)
    return found


def post(port: int, path: str, body: dict[str, object], *, key: str, seconds: float) -> dict[str, object]:
    """`call` with POST."""
    return call("POST", port, path, body, key=key, seconds=seconds)


class Refused(Exception):
    """An answer that is none of those hoped for."""
