"""The server under test: `tokenmq serve` in a process of its own, on free ports that stay its own."""

import asyncio
import http.client
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from bench.ours import environment, free_port, post
from bench.processor import memory_of, seconds_of

import tokenmq

# Time that a start or an end may take on a machine that is busy with other things.
START_SECONDS = 60.0
TOKEN_TTL_SECONDS = 43_200


class Pass(NamedTuple):
    """What a client shows, and the family that it stands for."""

    username: str
    password: bytes
    token_id: str


class Broken(Exception):
    """The server does not do what the run needs: it does not start, it does not end."""


class Server:
    """One data folder, and the process that serves it now.

    Attributes:
        port: MQTT over TCP.
        log: where its log goes.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "server.log"
        self.port = free_port()
        self._http_port = free_port()
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._key = ""

    async def prepare(self) -> None:
        """Make the data folder; the server must run for `make_key`."""
        made = self._spawn("init", pipe=False)
        if await asyncio.to_thread(made.wait):
            raise Broken(f"tokenmq init failed:\n{self._said()}")

    def launch(self) -> None:
        """Begin to start."""
        self._process = self._spawn("serve", "--json", pipe=True)

    async def ready(self) -> None:
        """Return when it listens."""
        process = self._running()
        assert process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            line = await asyncio.to_thread(process.stdout.readline)
        if not line:
            raise Broken(f"it does not start:\n{self._said()}")

    async def kill(self) -> None:
        """End it as it stands: SIGKILL."""
        self._running().kill()
        await self._gone()

    async def stop(self) -> None:
        """End it as an operator does: SIGTERM."""
        self._running().terminate()
        code = await self._gone()
        if code:
            raise Broken(f"SIGTERM ended it with exit code {code}:\n{self._said()}")

    async def close(self) -> None:
        """Leave nothing running."""
        if self._process is not None:
            self._process.kill()
            await self._gone()

    async def make_key(self) -> None:
        """Make an organization and the key that everything else is made with."""
        admin = json.loads((self.data / "admin.json").read_text())["key"]
        organization = await self._post("/v2/organizations", {"name": "chaos"}, key=admin)
        fields = {"kind": "sk", "name": "chaos", "organization_id": organization["id"]}
        self._key = str((await self._post("/v2/keys", fields, key=admin))["key"])

    async def mint(self, user_id: str, *, ttl_seconds: int = TOKEN_TTL_SECONDS) -> Pass:
        """Make a token for the topics of a run."""
        body = {
            "user_id": user_id,
            "permissions": ["publish", "subscribe"],
            "topics": ["load/#", "kept/#", "wills/#"],
            "ttl": ttl_seconds,
        }
        made = await self._post("/v2/tokens", body)
        return Pass(str(made["mqtt_username"]), str(made["token"]).encode(), str(made["token_id"]))

    async def revoke(self, token_id: str) -> bool:
        """Revoke a token; return whether that was answered."""
        try:
            await self._post("/v2/tokens/revoke", {"token_id": token_id})
        except (OSError, http.client.HTTPException):
            return False
        return True

    def cpu_seconds(self) -> float:
        """Return the processor time that the process has had (Linux, proc(5))."""
        return seconds_of(self._running().pid)

    def memory_bytes(self) -> int:
        """Return the anonymous memory that the process has (Linux, proc(5))."""
        return memory_of(self._running().pid)

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    async def _gone(self) -> int:
        process, self._process = self._running(), None
        code = await asyncio.to_thread(process.wait, START_SECONDS)
        if process.stdout is not None:
            process.stdout.close()
        return code

    def _said(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]

    def _spawn(self, *arguments: str, pipe: bool) -> subprocess.Popen[bytes]:
        variables = environment(
            DATA_FOLDER=str(self.data),
            HTTP_PORT=str(self._http_port),
            MQTT_PORT=str(self.port),
            WEBSOCKET_ENABLED="false",
        )
        variables |= self._settings
        variables["PYTHONPATH"] = str(Path(tokenmq.__file__).parents[1])  # the sources of this process
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tokenmq", *arguments], env=variables, cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if pipe else log, stderr=log,
            )  # fmt: skip

    async def _post(self, path: str, body: dict[str, object], *, key: str = "") -> dict[str, object]:
        key = key or self._key
        return await asyncio.to_thread(post, self._http_port, path, body, key=key, seconds=START_SECONDS)
