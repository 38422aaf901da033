"""Web pages in headless Chromium, served from origins of their own; an identity provider for them."""

from __future__ import annotations

import base64
import http.server
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).parent
ROOT = HERE.parents[3]
PATIENCE_MS = 30_000
# Names of loopback, as far as this browser is told.
NAMES = "MAP *.example 127.0.0.1"


class Site(http.server.BaseHTTPRequestHandler):
    """Serves the page and its scripts under every name of loopback."""

    files: dict[str, bytes]

    def do_GET(self) -> None:
        body = self.files.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Type", "text/html" if self.path == "/" else "text/javascript")
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *words: object) -> None:
        """Say nothing."""


class Window:
    """A page, open at one origin."""

    def __init__(self, page: Page, failed: type[Exception]) -> None:
        self._page = page
        self._failed = failed

    def make(self, clock: dict[str, float], **options: Any) -> None:
        """Make the stand-in with the options of the official client."""
        self._page.evaluate("([options, clock]) => make(options, clock)", [options, clock])

    def ask(self, verb: str, *words: Any) -> Any:
        """Call a method of the stand-in and return its answer.

        Raises: `Failed` of the conftest above.
        """
        script = """async ([verb, words]) => {
            try { return { answer: await client[verb](...words) }; }
            catch ({ type, status, message }) { return { failed: { type, status, message } }; }
        }"""
        told = self._page.evaluate(script, [verb, words])
        if "failed" in told:
            raise self._failed(**told["failed"])
        return told["answer"]

    def upgrade(self, url: str) -> str:
        """Tell how an attempt to open a WebSocket ends: `open` or `refused`."""
        ended: str = self._page.evaluate("upgrade", url)
        return ended

    def told(self, event: str) -> list[dict[str, Any]]:
        """Return all events of a name so far."""
        return [told for told in self._page.evaluate("events") if told["event"] == event]

    def wait_for(self, event: str, count: int = 1) -> dict[str, Any]:
        """Wait until so many events of a name were told, and return the last of them."""
        self._page.wait_for_function(
            "([event, count]) => events.filter((told) => told.event === event).length >= count",
            arg=[event, count],
            timeout=PATIENCE_MS,
        )
        return self.told(event)[count - 1]


@pytest.fixture(scope="session")
def site(node: Callable[[], tuple[str, dict[str, str]]]) -> Iterator[int]:
    """Serve the page; returns the port."""
    modules = Path(node()[1]["NODE_PATH"])
    files = {
        "/": HERE / "page.html",
        "/client.cjs": HERE.with_name("client.cjs"),
        "/mqtt.min.js": modules / "mqtt" / "dist" / "mqtt.min.js",
    }
    handler = type("Filled", (Site,), {"files": {name: path.read_bytes() for name, path in files.items()}})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Run Chromium, for a module: its loop must be gone when other tests run theirs."""
    program = shutil.which("chromium") or missing()
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=[f"--host-resolver-rules={NAMES}", *as_root]
        )
        yield browser
        browser.close()


def missing() -> NoReturn:
    reason = "Chromium is missing; scripts/install-interop.sh installs it"
    if os.environ.get("TOKENMQ_REQUIRE_INTEROP") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def visit(chromium: Browser, site: int, failed: type[Exception]) -> Iterator[Callable[[str], Window]]:
    """Open the page at a host name of loopback; its origin has the site's port."""
    context = chromium.new_context()

    def visit(host: str) -> Window:
        page = context.new_page()
        page.goto(f"http://{host}:{site}/")
        return Window(page, failed)

    yield visit
    context.close()


@pytest.fixture(scope="session")
def origin_of(site: int) -> Callable[[str], str]:
    """Return the origin of the page at a host name."""
    return lambda host: f"http://{host}:{site}"


@pytest.fixture(scope="session")
def slower(start_fast: Callable[..., Any]) -> Any:
    """A service where a minute lasts six seconds: a page that stalls for half a second loses nothing."""
    return start_fast(10, TOKENMQ_PROVIDERS_INSECURE_UPSTREAMS="127.0.0.1")


class IdentityProvider:
    """An identity provider on loopback: it publishes keys, and signs with the one that it says.

    Attributes:
        issuer: what it is called; its address.
        asked: when its keys were fetched, monotonic seconds.
    """

    def __init__(self) -> None:
        self._keys: dict[str, Signing] = {}
        self.asked: list[float] = []
        handler = type("Bound", (Publishing,), {"provider": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"

    def rotate(self, kid: str, alg: str) -> None:
        """Make a key, RS256 or ES256, in place of all that were."""
        self._keys = {kid: Signing(alg)}

    def sign(self, **claims: Any) -> str:
        """Make a token of its user `sub`, with an hour to live by the clock of `iat`."""
        ((kid, key),) = self._keys.items()
        claims = {"iss": self.issuer, "aud": "app", "exp": claims["iat"] + 3600, **claims}
        signed = f"{_part({'alg': key.alg, 'kid': kid})}.{_part(claims)}"
        return f"{signed}.{_base64url(key.sign(signed.encode()))}"

    def document(self, path: str) -> dict[str, Any] | None:
        """Return what it publishes at a path."""
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"}
        if path == "/keys":
            self.asked.append(time.monotonic())
            return {"keys": [{"kid": kid, "use": "sig", **key.public()} for kid, key in self._keys.items()]}
        return None

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Publishing(http.server.BaseHTTPRequestHandler):
    """Answers for an identity provider."""

    provider: IdentityProvider

    def do_GET(self) -> None:
        body = self.provider.document(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *words: object) -> None:
        """Say nothing."""


class Signing:
    """A key of an identity provider, by what the standards say of it: RFC 7518 §3.3, §3.4, §6."""

    def __init__(self, alg: str) -> None:
        self.alg = alg
        self._rsa = rsa.generate_private_key(65_537, 2_048) if alg == "RS256" else None
        self._ec = ec.generate_private_key(ec.SECP256R1())

    def sign(self, data: bytes) -> bytes:
        if self._rsa is not None:
            return self._rsa.sign(data, padding.PKCS1v15(), hashes.SHA256())
        r, s = decode_dss_signature(self._ec.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def public(self) -> dict[str, str]:
        if self._rsa is not None:
            modulus = self._rsa.public_key().public_numbers().n
            return {"kty": "RSA", "alg": "RS256", "n": _number(modulus, 256), "e": "AQAB"}
        point = self._ec.public_key().public_numbers()
        return {
            "kty": "EC",
            "alg": "ES256",
            "crv": "P-256",
            "x": _number(point.x, 32),
            "y": _number(point.y, 32),
        }


def _number(number: int, size: int) -> str:
    return _base64url(number.to_bytes(size, "big"))


def _part(document: dict[str, Any]) -> str:
    return _base64url(json.dumps(document).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.fixture(scope="session")
def identity_provider() -> Iterator[IdentityProvider]:
    """Run an identity provider."""
    provider = IdentityProvider()
    yield provider
    provider.close()


@pytest.fixture(scope="session")
def home(
    slower: Any, tenant: Callable[[Any], Any], origin_of: Callable[[str], str], identity_provider: Any
) -> Any:
    """The organization of these pages: it lets one site in, with users of an identity provider."""
    organization = tenant(slower.service)
    organization.set(allowed_origins=[origin_of("app.example")])
    organization.call(
        "POST",
        "/v2/providers",
        provider="oidc",
        name="login",
        issuer=identity_provider.issuer,
        audience="app",
        accept_open_policy=True,
    )
    identity_provider.rotate("first", "RS256")
    return organization
