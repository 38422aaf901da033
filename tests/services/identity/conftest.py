"""Identity providers on loopback: endpoints that behave, and endpoints that do not."""

import asyncio
import contextlib
import datetime
import ipaddress
import json
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tokenmq.tokens import algorithms, base64url, jwk

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def reply(body: Any, *, status: int = 200, **headers: str) -> Answer:
    """Answer with a body, as JSON unless it is bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {
        "Content-Type": "application/json",
        **{name.replace("_", "-"): headers[name] for name in headers},
    }
    head = f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(content)}\r\n"
    raw = (
        head + "".join(f"{name}: {value}\r\n" for name, value in named.items()) + "\r\n"
    ).encode() + content

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return answer


async def silent(_: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.Event().wait()


async def drip(writer: asyncio.StreamWriter) -> None:
    """Answer a byte at a time, for ever."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    # Who has enough of it may be gone at any moment, and nothing can be written to who is.
    while not writer.is_closing():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def endless(writer: asyncio.StreamWriter) -> None:
    """Answer ten megabytes without saying how many."""
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    for _ in range(160):
        writer.write(b" " * 65_536)
        await writer.drain()


class Endpoint:
    """A web server with one answer for every path, or one by path.

    Attributes:
        asked: the requests that came, head by head.
        answer: what it says.
        by_path: what it says on single paths.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.connections = 0
        self.was_asked = asyncio.Event()
        self.answer: Answer = reply({})
        self.by_path: dict[str, Answer] = {}
        self.scheme = "http"
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self.scheme = "https" if tls else "http"
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)

    @property
    def port(self) -> int:
        assert self._server is not None
        return self._server.sockets[0].getsockname()[1]

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.asked.append(head)
            self.was_asked.set()
            await self.by_path.get(head.split()[1], self.answer)(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._server.wait_closed()
        self._server = None


@pytest.fixture
async def open_endpoint():
    """Start endpoints: `await open_endpoint(tls=…)`."""
    opened: list[Endpoint] = []

    async def start(tls: ssl.SSLContext | None = None) -> Endpoint:
        endpoint = Endpoint()
        await endpoint.start(tls)
        opened.append(endpoint)
        return endpoint

    yield start
    for endpoint in opened:
        await endpoint.stop()


@pytest.fixture
async def endpoint(open_endpoint) -> Endpoint:
    return await open_endpoint()


@pytest.fixture(scope="session")
def answers():
    """Ways to answer."""

    class Answers:
        reply = staticmethod(reply)
        silent = staticmethod(silent)
        drip = staticmethod(drip)
        endless = staticmethod(endless)

    return Answers


class IdpKey:
    """A key of a fake provider."""

    def __init__(self, algorithm: str, kid: str) -> None:
        private = algorithms.generate(algorithm)
        self.algorithm, self.kid = algorithm, kid
        self.public = {**jwk.write(private.public_key()), "kid": kid}
        self._signer = algorithms.signer(private)

    def token(self, **claims: Any) -> str:
        header = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT"}
        parts = [base64url.encode(json.dumps(part).encode()) for part in (header, claims)]
        message = b".".join(parts)
        return (message + b"." + base64url.encode(self._signer.sign(message))).decode()


@pytest.fixture(scope="session")
def new_key() -> Callable[[str, str], IdpKey]:
    return IdpKey


@pytest.fixture(scope="session")
def first_key() -> IdpKey:
    return IdpKey("RS256", "first")


@pytest.fixture(scope="session")
def second_key() -> IdpKey:
    return IdpKey("ES256", "second")


class Certificate:
    """A self-signed certificate for some names."""

    def __init__(self, folder: Path, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        try:
            alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            alternative = x509.DNSName(name)
        start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + datetime.timedelta(days=3))
            .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.file = folder / f"{name}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.file.write_bytes(made.public_bytes(Encoding.PEM) + private)

    @property
    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file)
        return context

    @property
    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.file)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> Callable[[str], Certificate]:
    folder = tmp_path_factory.mktemp("certificates")
    return lambda name: Certificate(folder, name)
