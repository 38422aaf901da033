"""The harness: the servers of one run, and how a generator is run against one of them."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.servers import Bare, Mosquitto, NotMeasurable, Reflector, Server, Tokenmq

Side = Literal["ours", "peer"]
PATIENCE_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure, and how busy the generator and the server were while it was taken (1.0: one core)."""

    value: float
    generator_cpu: float | None = None
    server_cpu: float | None = None


@dataclass(slots=True)
class Bench:
    """The servers of one run, how long to measure, and what rows remember for later rows."""

    folder: Path
    seconds: float
    warmup_seconds: float
    pairs: int
    scale: float
    server_cpu: int | None
    generator_cpu: int | None
    ceiling: bool = False
    servers: dict[str, Server] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    capacity: dict[Side, float] = field(default_factory=dict)
    fresh: list[tuple[str, str]] = field(default_factory=list)
    decisions: dict[str, float] = field(default_factory=dict)

    def server(self, side: Side, *, max_inflight: int | None = None) -> Server:
        """The running server of a side; it is started when first asked for."""
        kind = ("reflector" if self.ceiling else "tokenmq") if side == "ours" else "mosquitto"
        name = f"{kind}-{max_inflight}" if max_inflight and kind == "mosquitto" else kind
        if name in self.missing:
            raise NotMeasurable(self.missing[name])
        if name not in self.servers:
            try:
                self.servers[name] = self._started(kind, max_inflight)
            except NotMeasurable as error:
                self.missing[name] = str(error)
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
        """Run the generator against a server; `arguments` are global options, the mode and its options."""
        command = [sys.executable, "-m", "bench.load", "--port", str(port or server.port)]
        command += ["--server-pid", str(server.pid())]
        if credentials is not None:
            command += ["--credentials", str(credentials)]
        result = self.finish(self.start([*command, *arguments]))
        return Sample(result[figure], result["generator_cpu"], result["server_cpu"])

    def start(self, command: list[str]) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
        )
        if self.generator_cpu is not None:
            os.sched_setaffinity(process.pid, {self.generator_cpu})
        return process

    def finish(self, process: "subprocess.Popen[str]") -> dict[str, float]:
        """Wait for a generator; its result, or NotMeasurable with its error."""
        try:
            output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise NotMeasurable(f"the generator was not done after {PATIENCE_SECONDS} s") from None
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

    def _started(self, kind: str, max_inflight: int | None) -> Server:
        if kind == "mosquitto":
            server: Server = Mosquitto(self.folder, cpu=self.server_cpu, max_inflight=max_inflight)
        else:
            server = (Reflector if kind == "reflector" else Tokenmq)(self.folder, cpu=self.server_cpu)
        server.start()
        return server
