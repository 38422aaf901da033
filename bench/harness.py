"""The harness: the servers of one run, and how a generator is run against one of them."""

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.peers import Aedes, Amqtt, Mosquitto, Nats
from bench.servers import Bare, NotMeasurable, Reflector, Server, Tokenmq, Variant, on_core

Side = Literal["ours", "peer", "nats", "aedes", "amqtt"]
OTHERS: tuple[Side, ...] = ("nats", "aedes", "amqtt")
TITLES: dict[Side, str] = {
    "ours": "tokenmq", "peer": "Mosquitto", "nats": "NATS", "aedes": "aedes", "amqtt": "aMQTT",
}  # fmt: skip
BROKERS: dict[Side, type[Server]] = {
    "ours": Tokenmq, "peer": Mosquitto, "nats": Nats, "aedes": Aedes, "amqtt": Amqtt,
}  # fmt: skip
PATIENCE_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure, and how busy the generator and the server were while it was taken (1.0: one core)."""

    value: float
    generator_cpu: float | None = None
    server_cpu: float | None = None


@dataclass(slots=True)
class Bench:
    """The servers of one run, how long to measure, and what rows remember for later rows.

    Attributes:
        pairs: of ours and Mosquitto, for each row.
        scale: of the numbers of connections.
        ceiling: the reflector stands in our place.
        alone: beside Mosquitto no other broker.
    """

    folder: Path
    seconds: float
    warmup_seconds: float
    pairs: int
    scale: float
    server_cpu: int | None
    generator_cpu: int | None
    ceiling: bool = False
    alone: bool = False
    servers: dict[str, Server] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    capacity: dict[Side, float] = field(default_factory=dict)
    fresh: list[tuple[str, str]] = field(default_factory=list)
    decisions: dict[str, float] = field(default_factory=dict)
    recorded: dict[str, float] = field(default_factory=dict)

    def server(self, side: Side, *, variant: Variant = "") -> Server:
        """The running server of a side; it is started when first asked for."""
        broker = Reflector if self.ceiling and side == "ours" else BROKERS[side]
        variant = "" if broker in (Tokenmq, Reflector) else variant
        name = f"{broker.name}-{variant}" if variant else broker.name
        if name in self.missing:
            raise NotMeasurable(self.missing[name])
        if name not in self.servers:
            try:
                self.servers[name] = broker(self.folder, cpu=self.server_cpu, variant=variant)
                self.servers[name].start()
            except NotMeasurable as error:
                self.missing[name] = str(error)
                self.servers.pop(name, None)
                raise
        server = self.servers[name]
        if not server.runs():
            server.restart()
        return server

    def tokenmq(self) -> Tokenmq:
        server = self.server("ours")
        if not isinstance(server, Tokenmq):
            raise NotMeasurable("the reflector knows no tokens")
        return server

    def bare(self) -> Server:
        """Starlette that answers a token request with as many bytes, and does nothing else."""
        if "bare" not in self.servers:
            self.servers["bare"] = Bare(self.folder, cpu=self.server_cpu)
            self.servers["bare"].start()
        return self.servers["bare"]

    def load(
        self,
        server: Server,
        *arguments: str,
        figure: str = "out_per_s",
        port: int = 0,
        credentials: Path | None = None,
    ) -> Sample:
        """Run the generator against a server; `arguments` are global options, the mode and its options.

        Raises: NotMeasurable if it finds a fault, or has nothing to count.
        """
        started = self.generate(server, *arguments, port=port, credentials=credentials)
        result = self.finish(started)
        if not result.get(figure):
            raise NotMeasurable("nothing arrived in the measured time")
        return Sample(result[figure], result["generator_cpu"], result["server_cpu"])

    def generate(
        self, server: Server, *arguments: str, port: int = 0, credentials: Path | None = None
    ) -> "subprocess.Popen[str]":
        """Start the generator against a server; `finish` waits for it."""
        command = [sys.executable, "-m", "bench.load", "--port", str(port or server.port)]
        command += ["--server-pid", str(server.pid())]
        if credentials is not None:
            command += ["--credentials", str(credentials)]
        return self.start([*command, *arguments])

    @contextmanager
    def held(self, server: Server, *, count: int, subscriptions: int = 1) -> Iterator[None]:
        """Meanwhile so many connections stand idle, each with so many subscriptions.

        Afterwards waits until the server is through with their ends.
        """
        options = ("--count", str(count), "--subscriptions", str(subscriptions))
        process = self.generate(server, "idle", *options, credentials=server.credentials(count))
        assert process.stdout is not None
        try:
            if not select.select([process.stdout], [], [], PATIENCE_SECONDS)[0]:
                process.kill()
                raise NotMeasurable(f"{count} connections were not open after {PATIENCE_SECONDS} s")
            told = process.stdout.readline()
            if "held" not in told:
                raise NotMeasurable(json.loads(told)["error"] if told.strip() else "no output")
            yield
        finally:
            process.communicate()  # the end of its input releases them
        server.rest()

    def start(self, command: list[str]) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[1], preexec_fn=on_core(self.generator_cpu),
        )  # fmt: skip

    def finish(
        self, process: "subprocess.Popen[str]", *, patience_seconds: float = PATIENCE_SECONDS
    ) -> dict[str, float]:
        """Wait for a generator; its result, or NotMeasurable with its error."""
        try:
            output, _ = process.communicate(timeout=patience_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise NotMeasurable(f"the generator was not done after {patience_seconds} s") from None
        result = (
            json.loads(output.splitlines()[-1])
            if output.strip()
            else {"error": "the measuring process failed, see above"}
        )
        if "error" in result:
            raise NotMeasurable(str(result["error"]))
        return dict(result)

    def stop(self) -> None:
        for server in self.servers.values():
            server.stop()
        self.servers.clear()
