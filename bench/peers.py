"""The brokers that ours is held against, each in its best case: anonymous, no rules, nothing kept.

Mosquitto runs as Debian ships it, everything else at its default (`set_tcp_nodelay true` was tried and made
it slower). Its default `max_inflight_messages` of 20 makes 2.0.11 drop QoS 2 messages of a 3.1.1 client
that has more than 20 under way, so for QoS 2 alone it is raised to our own window of 100 (measured without
effect on its QoS 0 and 1 figures). NATS, aedes and aMQTT come out of environments of their own
(`installing`).

For the row with sessions that outlive their connections a broker that can keep them on disk is told to.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

from bench import installing
from bench.servers import NotMeasurable, Server, Variant


class Mosquitto(Server):
    """The peer of every row. Kept on disk is what a snapshot every half hour, and a clean stop, write."""

    name = "mosquitto"
    durable = "a snapshot every 30 minutes, so that a PUBACK promises nothing"

    def __init__(self, folder: Path, *, cpu: int | None, variant: Variant = "") -> None:
        super().__init__(folder, cpu=cpu, variant=variant)
        found = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        if found is None:
            raise NotMeasurable("mosquitto is not installed (apt-get install mosquitto)")
        self._program = found
        more = {
            "": "persistence false\n",
            "inflight": "persistence false\nmax_inflight_messages 100\n",
            "durable": f"persistence true\npersistence_location {self.store()}/\n",
        }
        self._config = folder / f"mosquitto-{self.port}.conf"
        self._config.write_text(
            f"user {os.environ.get('USER', 'root') if os.getuid() else 'root'}\n"
            f"listener {self.port} 127.0.0.1\nlistener {self.websocket_port} 127.0.0.1\nprotocol websockets\n"
            f"allow_anonymous true\n{more[variant]}"
        )

    def command(self) -> list[str]:
        return [self._program, "-c", str(self._config)]

    def version(self) -> str:
        told = subprocess.run([self._program, "-h"], capture_output=True, text=True, check=False).stdout
        return told.splitlines()[0].removeprefix("mosquitto version ") if told else "?"


class Nats(Server):
    """The NATS server with its MQTT listener; sessions and QoS 1 go through JetStream."""

    name = "nats"
    versions = (4,)
    durable = "JetStream, flushed at every write"

    def __init__(self, folder: Path, *, cpu: int | None, variant: Variant = "") -> None:
        super().__init__(folder, cpu=cpu, variant=variant)
        self._program = installing.python_program("nats", "nats-server")
        always = ', sync_interval: "always"' if variant == "durable" else ""
        self._config = folder / f"nats-{self.port}.conf"
        self._config.write_text(
            "server_name: bench\nlisten: 127.0.0.1:-1\n"
            f'jetstream {{ store_dir: "{self.store()}"{always} }}\n'
            f"mqtt {{ listen: 127.0.0.1:{self.port} }}\n"
            f"websocket {{ listen: 127.0.0.1:{self.websocket_port}, no_tls: true }}\n"
        )

    def command(self) -> list[str]:
        return [str(self._program), "--config", str(self._config)]

    def version(self) -> str:
        return _told(str(self._program), "--version").removeprefix("nats-server: v")


class Aedes(Server):
    """aedes on Node; what it keeps, it keeps in memory."""

    name = "aedes"
    versions = (4,)
    durable = ""

    def __init__(self, folder: Path, *, cpu: int | None, variant: Variant = "") -> None:
        super().__init__(folder, cpu=cpu, variant=variant)
        self._node, self._script = installing.node_script("aedes", "broker.mjs")

    def command(self) -> list[str]:
        return [self._node, str(self._script), str(self.port), str(self.websocket_port)]

    def version(self) -> str:
        package = json.loads((self._script.parent / "node_modules" / "aedes" / "package.json").read_text())
        return f"{package['version']} on Node {_told(self._node, '--version').removeprefix('v')}"


class Amqtt(Server):
    """aMQTT on asyncio, without the plugins that log packets; what it keeps, it keeps in memory."""

    name = "amqtt"
    versions = (4,)
    durable = ""

    def __init__(self, folder: Path, *, cpu: int | None, variant: Variant = "") -> None:
        super().__init__(folder, cpu=cpu, variant=variant)
        self._program = installing.python_program("amqtt", "amqtt")
        self._config = folder / f"amqtt-{self.port}.yaml"
        self._config.write_text(
            f"listeners:\n  default:\n    type: tcp\n    bind: 127.0.0.1:{self.port}\n"
            f"  websocket:\n    type: ws\n    bind: 127.0.0.1:{self.websocket_port}\n"
            "plugins:\n  amqtt.plugins.authentication.AnonymousAuthPlugin:\n    allow_anonymous: true\n"
        )

    def command(self) -> list[str]:
        return [str(self._program), "-c", str(self._config)]

    def version(self) -> str:
        return _told(str(self._program), "--version")


def _told(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "?"
