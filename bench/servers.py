"""The servers that are measured, each a process of its own on free loopback ports; other brokers: `peers`.

tokenmq runs as `tokenmq serve` does: its defaults, SQLite, tokens enforced, logs into a file.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from bench.issuing import Requests
from bench.ours import HOST, Refused, call, environment, free_port
from bench.processor import memory_of, seconds_of

START_SECONDS = 20.0
TOKEN_TTL_SECONDS = 43200
QUIET_SHARE = 0.05

# How a broker is set up: as it comes; with a window of 100 at QoS 2; with sessions kept on disk.
Variant = Literal["", "inflight", "durable"]


class NotMeasurable(Exception):
    """This row has no figure for this side, and why."""


def on_core(cpu: int | None) -> Callable[[], None] | None:
    """What a new process does first, so that all its threads have this core; None leaves it as it is."""
    return None if cpu is None else lambda: os.sched_setaffinity(0, {cpu})


class Server:
    """A process that listens; `port` is MQTT over TCP, `websocket_port` over WebSocket.

    Attributes:
        name: what it is called, in file names too.
        versions: protocol versions it speaks (4 is MQTT 3.1.1).
        durable: what it promises of sessions that outlive connections; "" if it keeps nothing on disk.
    """

    name = ""
    versions: tuple[int, ...] = (4, 5)
    durable = ""

    def __init__(self, folder: Path, *, cpu: int | None, variant: Variant = "") -> None:
        self.folder = folder
        self.variant = variant
        self.port = free_port()
        self.websocket_port = free_port()
        self._cpu = cpu
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def version(self) -> str:
        raise NotImplementedError

    def credentials(self, count: int) -> Path | None:
        """A file with at least `count` credentials; None where access is anonymous."""
        del count
        return None

    def store(self) -> Path:
        """A folder of its own for what it keeps."""
        path = self.folder / f"{self.name}-{self.port}"
        path.mkdir(exist_ok=True)
        return path

    def start(self) -> None:
        log = (self.folder / f"{self.name}.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                self.command(), env=self.environment(), cwd=self.folder, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, preexec_fn=on_core(self._cpu),
            )  # fmt: skip
        for port in self.ports():
            self._await(port)

    def ports(self) -> tuple[int, ...]:
        return (self.port, self.websocket_port)

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def pid(self) -> int:
        """Its process; NotMeasurable if that has ended."""
        if self._process is None or not self.runs():
            raise NotMeasurable(f"{self.name} has ended: {self._log()}")
        return self._process.pid

    def rest(self, *, at_most_seconds: float = 20.0) -> None:
        """Wait until it has nothing left to do, such as the ends of many connections."""
        deadline = time.monotonic() + at_most_seconds
        used = seconds_of(self.pid())
        while time.monotonic() < deadline:
            time.sleep(0.4)
            before, used = used, seconds_of(self.pid())
            if used - before < 0.4 * QUIET_SHARE:
                return

    def memory_bytes(self) -> int:
        return memory_of(self.pid())

    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _log(self) -> str:
        """The end of what it said."""
        said = (self.folder / f"{self.name}.log").read_text(errors="replace").strip()
        return said[-400:].replace("\n", " / ") or "it said nothing"

    def _await(self, port: int) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection((HOST, port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        self.stop()
        raise NotMeasurable(f"{self.name} does not listen on port {port}: {self._log()}")


class Reflector(Server):
    """`bench.reflector` in the place of a broker: the generator's ceiling."""

    name = "reflector"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "bench.reflector", "--port", str(self.port)]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}

    def ports(self) -> tuple[int, ...]:
        return (self.port,)

    def version(self) -> str:
        return "of this checkout"


class Bare(Server):
    """`bench.bare`: what HTTP alone costs."""

    name = "bare"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "bench.bare", "--port", str(self.port)]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}

    def ports(self) -> tuple[int, ...]:
        return (self.port,)

    def version(self) -> str:
        return "of this checkout"


class Tokenmq(Server):
    """Our own server, with an organization, a secret key and as many tokens as a row asks for."""

    name = "tokenmq"
    durable = "committed and flushed to disk before its PUBACK"

    def __init__(self, folder: Path, *, cpu: int | None, variant: Variant = "") -> None:
        super().__init__(folder, cpu=cpu, variant=variant)
        self._program = Path(sys.executable).parent / "tokenmq"
        if not self._program.exists():
            raise NotMeasurable(f"{self._program} is not installed")
        self.http_port = free_port()
        self.key = ""
        self._organization = ""
        self._data = folder / "data"
        self._tokens: list[tuple[str, str]] = []

    def command(self) -> list[str]:
        return [str(self._program), "serve"]

    def environment(self) -> dict[str, str]:
        return environment(
            DATA_FOLDER=str(self._data),
            HTTP_PORT=str(self.http_port),
            MQTT_PORT=str(self.port),
            WEBSOCKET_PORT=str(self.websocket_port),
        )

    def ports(self) -> tuple[int, ...]:
        return (self.port, self.websocket_port, self.http_port)

    def version(self) -> str:
        told = subprocess.run(
            [str(self._program), "version"], capture_output=True, text=True, check=False,
            env=self.environment(),
        )  # fmt: skip
        return told.stdout.strip().removeprefix("tokenmq ") or "?"

    def start(self) -> None:
        if not self._data.exists():
            made = subprocess.run(
                [str(self._program), "init"], env=self.environment(), cwd=self.folder, capture_output=True,
                text=True, check=False,
            )  # fmt: skip
            if made.returncode:
                raise NotMeasurable(f"tokenmq init failed: {(made.stderr or made.stdout)[-400:]}")
        super().start()
        if not self.key:
            admin = self._admin()
            self._organization = str(self._post("/v2/organizations", admin, {"name": "bench"})["id"])
            self._make_key("bench")

    def credentials(self, count: int) -> Path:
        if len(self._tokens) < count:
            self._tokens += self.mint(count - len(self._tokens))
        return self.write(self._tokens, "clients.tsv")

    def mint(self, count: int) -> list[tuple[str, str]]:
        """Make `count` new tokens: (username, password) of each."""
        requests = Requests(
            HOST, self.http_port, self.key, concurrency=min(64, count), ttl_seconds=TOKEN_TTL_SECONDS
        )  # fmt: skip
        try:
            return requests.collect(count)
        finally:
            requests.close()

    def expendable(self, count: int) -> tuple[Path, str]:
        """A file with `count` new tokens that another key has made, and its id: to be revoked."""
        kept, key_id = self.key, self._make_key("revoked")
        try:
            return self.write(self.mint(count), "expendable.tsv"), key_id
        finally:
            self.key = kept

    def write(self, tokens: list[tuple[str, str]], name: str) -> Path:
        """Put tokens into a file that the load generator reads."""
        path = self.folder / name
        path.write_text("".join(f"{username}\t{password}\n" for username, password in tokens))
        return path

    def record(self, *rules: dict[str, object]) -> None:
        """Say what is recorded from now on; none: nothing is, and what was is dropped."""
        body: dict[str, object] = {"rules": list(rules), "organization_id": self._organization}
        self._call("PUT", "/v2/history/rules", self.key, body)
        self.rest()

    def key_file(self) -> Path:
        path = self.folder / "key"
        path.write_text(self.key)
        path.chmod(0o600)
        return path

    def _admin(self) -> str:
        return str(json.loads((self._data / "admin.json").read_text())["key"])

    def _make_key(self, name: str) -> str:
        """Make another secret key, and make tokens with it from now on; its id."""
        body: dict[str, object] = {"kind": "sk", "name": name, "organization_id": self._organization}
        made = self._post("/v2/keys", self._admin(), body)
        self.key = str(made["key"])
        return str(made["id"])

    def _post(self, path: str, key: str, body: dict[str, object]) -> dict[str, object]:
        return self._call("POST", path, key, body)

    def _call(self, method: str, path: str, key: str, body: dict[str, object]) -> dict[str, object]:
        try:
            return call(method, self.http_port, path, body, key=key, seconds=10)
        except Refused as error:
            raise NotMeasurable(str(error)) from error
