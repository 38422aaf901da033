"""What all tests share: the event loop, the real service, a PostgreSQL server of our own."""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import json
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import settings

from tokenmq.config import Secret, database_address
from tokenmq.stores.folder import prepare_folder
from tokenmq.stores.sql import SqlStore
from tokenmq.stores.sql.dialect import DATABASE_NAME
from tokenmq.stores.sql.postgresql import open_postgresql
from tokenmq.stores.sql.tables import metadata

# A busy machine is no failure: no test may depend on how long an example takes.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Time that a start or an end may take on a machine that is busy with other things.
PATIENCE_SECONDS = 30


def _is_required(node: pytest.Item | pytest.Collector) -> bool:
    """Whether it may not be skipped: tests with other programs, where those are required."""
    if os.environ.get("TOKENMQ_REQUIRE_INTEROP") != "1":
        return False
    return node.get_closest_marker("interop") is not None or "interop" in node.path.parts


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a required test fail that is skipped, whoever skips it."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and _is_required(item):
        report.outcome = "failed"
        report.longrepr = f"it is required and was skipped: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Let a required file fail that is skipped as a whole."""
    report = yield
    if report.skipped and _is_required(collector):
        report.outcome = "failed"
        report.longrepr = f"it is required and was skipped: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run `async def` tests on uvloop, which is what the service runs on."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def collected() -> Callable[[], AbstractContextManager[Counter[str]]]:
    """Return what counts, by class, which objects of ours only the garbage collector finds to be of no use.

    Whatever is made within is to be let go of within; the count is there at the end.
    """

    @contextmanager
    def count() -> Iterator[Counter[str]]:
        found: Counter[str] = Counter()
        gc.collect()
        gc.freeze()  # it is asked about what comes now
        gc.disable()
        try:
            yield found
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            ours = (
                type(one) for one in gc.garbage if type(one).__module__.startswith(("tokenmq.", "uvicorn."))
            )
            found.update(kind.__name__ for kind in ours)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
            gc.unfreeze()

    return count


def environment(folder: Path, **changes: str) -> dict[str, str]:
    """Return the variables of a service in a data folder, on free ports; nothing of ours leaks in."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TOKENMQ_")}
    return {
        **inherited,
        "TOKENMQ_DATA_FOLDER": str(folder),
        "TOKENMQ_HTTP_PORT": "0",
        "TOKENMQ_MQTT_PORT": "0",
        "TOKENMQ_WEBSOCKET_PORT": "0",
        **changes,
    }


class Service:
    """`tokenmq serve --demo` in a process of its own.

    Attributes:
        folder: its data folder.
        http_url, websocket_url: where it listens.
        ready: the line that says so, with all of its addresses.
        mqtt: host and port of MQTT over TCP.
        organization_id, secret_key: of the demo.
        admin_key: the instance administrator's key.
        started_in: seconds from the start to the line that says it is ready.
    """

    def __init__(self, folder: Path, command: list[str], changes: dict[str, str]) -> None:
        self.folder = folder
        self._command = command
        self._changes = changes
        self._http = httpx2.Client(timeout=PATIENCE_SECONDS)
        self.start()

    def start(self) -> None:
        """Start, or start again, and return when everything listens."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._command, "serve", "--demo", "--json"],
                env=environment(self.folder, **self._changes),
                cwd=self.folder.parent,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self.ready = ready = self._first_line()
        self.started_in = time.monotonic() - began
        self.http_url: str = ready["http_url"]
        self.websocket_url: str = ready.get("websocket_url", "")
        self.organization_id: str = ready["organization_id"]
        self.secret_key: str = ready["secret_key"]
        mqtt = urlsplit(ready.get("mqtt_url", ""))
        self.mqtt: tuple[str, int] = (str(mqtt.hostname), mqtt.port or 0)
        self.admin_key: str = json.loads((self.folder / "admin.json").read_bytes())["key"]

    def _first_line(self) -> dict[str, str]:
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], PATIENCE_SECONDS)
        line = self.process.stdout.readline() if readable else b""
        if not line:
            self.kill()
            pytest.fail(f"the service did not start:\n{self.log_path.read_text()}")
        ready: dict[str, str] = json.loads(line)
        return ready

    @property
    def log_path(self) -> Path:
        """Where its log lines go."""
        return self.folder.with_suffix(".log")

    def stop(self) -> int:
        """End it as Ctrl-C does, and return its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self._wait()

    def kill(self) -> None:
        """End it as a power failure of the process does: kill -9."""
        if self.process.poll() is None:
            self.process.kill()
        self._wait()

    def _wait(self) -> int:
        code = self.process.wait(PATIENCE_SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def restart(self) -> None:
        """Stop it and start it on the same folder; ports change."""
        assert self.stop() == 0
        self.start()

    def close(self) -> None:
        """End everything that this object holds."""
        self._http.close()
        self.kill()

    def call(self, method: str, path: str, *, key: str | None = "", **request: Any) -> httpx2.Response:
        """Send a request; `key` "" is the demo's, None is none."""
        headers = {} if key is None else {"Authorization": f"Bearer {key or self.secret_key}"}
        headers |= request.pop("headers", {})
        return self._http.request(method, f"{self.http_url}{path}", headers=headers, **request)

    def create_token(self, user_id: str = "user-123", *, key: str = "", **fields: Any) -> dict[str, Any]:
        """Make a token that may publish to and subscribe to chat/# unless `fields` say otherwise."""
        body = {"user_id": user_id, "permissions": ["publish", "subscribe"], "topics": ["chat/#"], **fields}
        answer = self.call("POST", "/v2/tokens", key=key, json=body)
        assert answer.status_code == 200, answer.text
        token: dict[str, Any] = answer.json()
        return token

    def revoke(self, **fields: Any) -> dict[str, int]:
        """Revoke tokens of the demo's organization."""
        answer = self.call("POST", "/v2/tokens/revoke", json=fields)
        assert answer.status_code == 200, answer.text
        result: dict[str, int] = answer.json()
        return result

    def is_active(self, token: str) -> bool:
        """Ask whether a token is good."""
        answer = self.call("POST", "/v2/tokens/introspect", json={"token": token})
        assert answer.status_code == 200, answer.text
        return bool(answer.json()["active"])

    def create_organization(self, name: str) -> tuple[str, str]:
        """Make another organization: its id and a secret key of it."""
        made = self.call("POST", "/v2/organizations", key=self.admin_key, json={"name": name})
        assert made.status_code in (200, 201), made.text
        org_id: str = made.json()["id"]
        fields = {"kind": "sk", "name": "test", "organization_id": org_id}
        key = self.call("POST", "/v2/keys", key=self.admin_key, json=fields)
        assert key.status_code in (200, 201), key.text
        return org_id, key.json()["key"]


MakeService = Callable[..., Service]


@pytest.fixture(scope="session")
def serve_command() -> list[str]:
    """How this checkout's program is started."""
    return [sys.executable, "-m", "tokenmq"]


@pytest.fixture(scope="session")
def start_service(
    tmp_path_factory: pytest.TempPathFactory, serve_command: list[str]
) -> Iterator[MakeService]:
    """Start services, each in a folder of its own; all are ended with the session."""
    started: list[Service] = []

    def start_service(*, command: list[str] | None = None, **changes: str) -> Service:
        folder = tmp_path_factory.mktemp("service") / "data"
        started.append(Service(folder, command or serve_command, changes))
        return started[-1]

    yield start_service
    for service in started:
        service.close()


@pytest.fixture(scope="session")
def service(start_service: MakeService) -> Service:
    """The service that all tests share that neither end it nor set it up in their own way."""
    return start_service()


@pytest.fixture(scope="session")
def secure_service(start_service: MakeService, server_certificate: Path) -> Service:
    """A service with TLS listeners beside the others."""
    listening = {
        f"TOKENMQ_{table}_{key}": value
        for table in ("HTTPS", "MQTTS", "WSS")
        for key, value in (("HOST", "127.0.0.1"), ("PORT", "0"))
    }
    return start_service(
        TOKENMQ_TLS_CERTIFICATE=str(server_certificate), TOKENMQ_HTTPS_ENABLED="true", **listening
    )


@pytest.fixture(scope="session")
def service_environment() -> Callable[..., dict[str, str]]:
    """Return `environment`, for tests that start the program themselves."""
    return environment


class Authority:
    """A certificate authority of the tests, for servers on loopback and for clients.

    Attributes:
        path: file of its own certificate.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._revoked: list[int] = []
        self.path = folder / f"{name}.pem"
        certificate = self._signed(self._name, self._key.public_key(), days=30, is_authority=True)
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *, days: int = 30) -> Path:
        """Make a certificate; returns one file with it and its key. `days` below 0: it has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = self._signed(subject, key.public_key(), days=days, is_authority=False)
        path = self._folder / f"{name}.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return path

    def revocations(self, *revoked: Path) -> bytes:
        """Revoke certificates, and return the list of all that are, in PEM."""
        now = datetime.now(UTC)
        self._revoked += [x509.load_pem_x509_certificate(path.read_bytes()).serial_number for path in revoked]
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._name)
            .last_update(now - timedelta(days=1))
            .next_update(now + timedelta(days=30))
        )
        for serial in self._revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int, is_authority: bool
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=is_authority,
            crl_sign=is_authority,
            encipher_only=False,
            decipher_only=False,
        )
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=60))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )


@pytest.fixture(scope="session")
def make_authority(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Authority]:
    """Make a certificate authority with files of its own."""
    return lambda name: Authority(tmp_path_factory.mktemp("authority"), name)


@pytest.fixture(scope="session")
def authority(make_authority: Callable[[str], Authority]) -> Authority:
    """The certificate authority that servers of tests have their certificate from."""
    return make_authority("authority")


@pytest.fixture(scope="session")
def server_certificate(authority: Authority) -> Path:
    """One file with a certificate for loopback, and its key."""
    return authority.issue("server")


class Postgresql:
    """A PostgreSQL server on a free loopback port, in a folder of its own, that really writes to the disk.

    Attributes:
        port: where it listens, on 127.0.0.1.
        password: of the user `postgres`.
    """

    password = "hunter2/@:"

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="tokenmq-postgresql-"))
        self._databases = itertools.count(1)
        # It refuses to run as root.
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self._folder, user.pw_uid, user.pw_gid)
            self._as_user = ["--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
        secret = self._folder / "password"
        secret.write_text(self.password)
        self._program("initdb", "-D", str(self._data), "-U", "postgres", "--pwfile", str(secret), *INITDB)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.start()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def start(self) -> None:
        """Start, or start again, and return when it takes connections.

        To be called in the main thread: the server ends with the thread that started it,
        so also when these tests are killed.
        """
        command = ["setpriv", "--pdeathsig", "INT", *self._as_user, str(self._programs / "postgres")]
        settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", f"port={self.port}")
        self.process = subprocess.Popen(
            [*command, "-D", str(self._data), *(word for one in settings for word in ("-c", one))],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: list[str] = []
        is_ready = threading.Event()
        self._reading = threading.Thread(target=self._read, args=(is_ready,))
        self._reading.start()
        if not is_ready.wait(PATIENCE_SECONDS) or self.process.poll() is not None:
            pytest.fail("PostgreSQL did not start:\n" + "".join(self._lines))

    def stop(self) -> None:
        """End it, and every session, at once but in order."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it as a power failure of the process does."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """End it and remove what it wrote."""
        self._end(signal.SIGQUIT)
        shutil.rmtree(self._folder)

    def database(self, options: str = "TEMPLATE template0") -> str:
        """Make an empty database, and return its URL."""
        name = f"tokenmq_{next(self._databases)}"
        self.ask(f"CREATE DATABASE {name} {options}")
        return self.url(name)

    @functools.cached_property
    def _prepared(self) -> str:
        url = self.database()
        asyncio.run(_open_and_close(open_url(url)))
        return url

    def emptied(self) -> str:
        """Return the URL of a database with empty tables, the same for every test that asks.

        It is for one test at a time. To make one costs a second, to empty one nearly nothing.
        """
        # A TRUNCATE would make new files, and wait for the disk for each of them.
        statements = [f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables)]
        self.ask("; ".join(statements), self._prepared.rpartition("/")[2])
        return self._prepared

    def url(self, name: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres:{quote(self.password, safe='')}@127.0.0.1:{self.port}/{name}"

    def ask(self, statement: str, database: str = "postgres") -> str:
        """Do a statement, and return what it says."""
        return self._program(
            *("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement),
            *("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", database),
        ).strip()

    def _program(self, name: str, *words: str) -> str:
        ended = subprocess.run(
            ["setpriv", *(self._as_user or ["--pdeathsig", "keep"]), str(self._programs / name), *words],
            env={"PATH": os.environ["PATH"], "PGPASSWORD": self.password},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def _read(self, is_ready: threading.Event) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self._lines.append(line)
                if "ready to accept connections" in line:
                    is_ready.set()
        is_ready.set()

    def _end(self, how: signal.Signals) -> None:
        if self.process.poll() is None:
            self.process.send_signal(how)
        self.process.wait(PATIENCE_SECONDS)
        self._reading.join(PATIENCE_SECONDS)


# Text sorts by the rules of a language, as it does where nobody thought of it.
INITDB = ("--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US", "--no-sync")
INITDB = (*INITDB, "--auth=scram-sha-256")


def postgresql_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, the newest there is."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    """The server that all tests share; who ends it starts it again."""
    programs = postgresql_programs()
    if programs is None:
        reason = "PostgreSQL is missing; scripts/install-interop.sh installs it"
        if os.environ.get("TOKENMQ_REQUIRE_INTEROP") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    server = Postgresql(programs)
    yield server
    server.close()


def on_lost(error: Exception) -> None:
    """Nobody may take a database of these tests."""
    raise error


def open_url(url: str, **options: Any) -> Awaitable[SqlStore]:
    """Open the store in a PostgreSQL database."""
    return open_postgresql(
        database_address(Secret(url)), **{"max_outage_seconds": 60, "on_lost": on_lost, **options}
    )


async def _open_and_close(opening: Awaitable[SqlStore]) -> None:
    store = await opening
    await store.close()


@pytest.fixture(scope="session")
def open_database() -> Callable[..., Awaitable[SqlStore]]:
    """Return `open_url`."""
    return open_url


@pytest.fixture(scope="session")
def open_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Awaitable[SqlStore]]:
    """Open the SQLite store of a data folder; where there is none yet, it begins with empty tables.

    Migrating takes ten times as long as opening, so it is done once, and the file copied. Tests
    of migrating call `SqlStore.open_folder` itself, and every service of the tests does.
    """
    migrated = tmp_path_factory.mktemp("migrated") / "data"
    asyncio.run(_open_and_close(SqlStore.open_folder(migrated)))
    empty = (migrated / DATABASE_NAME).read_bytes()

    async def open_folder(folder: Path) -> SqlStore:
        prepare_folder(folder)
        if not (folder / DATABASE_NAME).exists():
            (folder / DATABASE_NAME).write_bytes(empty)
        return await SqlStore.open_folder(folder)

    return open_folder


# The databases that everything about the store is tested on.
DATABASES = ("sqlite", pytest.param("postgresql", marks=pytest.mark.interop))


@pytest.fixture(params=DATABASES)
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Awaitable[SqlStore]]:
    """Open the store of a test; what is in it stays when it is opened again."""
    if request.param == "sqlite":
        return functools.partial(request.getfixturevalue("open_folder"), tmp_path / "data")
    server: Postgresql = request.getfixturevalue("postgresql")
    return functools.partial(open_url, server.emptied())


@pytest.fixture(params=DATABASES)
def database_variables(request: pytest.FixtureRequest) -> dict[str, str]:
    """The variables that a service needs for a database of its own."""
    if request.param == "sqlite":
        return {}
    return {"TOKENMQ_DATABASE_URL": request.getfixturevalue("postgresql").database()}
