"""The client and certificates: V-89 of the threats, a name or a chain that nobody checks."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tokenmq.client import Client, ConnectError, TokenError

pytestmark = pytest.mark.system


def trusting(authority: Any) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority.path)


async def test_every_part_uses_the_context_that_is_given(secure_service: Any, authority: Any) -> None:
    for over in ("mqtts_url", "wss_url"):
        async with Client(
            token_service_url=secure_service.ready["https_url"], tls=trusting(authority)
        ) as client:
            await client.connect_with_token(
                secure_service.ready[over], secret_key=secure_service.secret_key, user_id="alice"
            )
            await client.publish("chat/a", b"")


async def test_v_89_without_it_an_unknown_authority_is_refused_by_both_parts(secure_service: Any) -> None:
    for over in ("mqtts_url", "wss_url"):
        async with Client() as client:
            with pytest.raises(ConnectError, match="certificate verify failed"):
                await client.connect_with_token(
                    secure_service.ready[over], get_token=lambda: secure_service.create_token("alice")
                )
    async with Client(token_service_url=secure_service.ready["https_url"]) as client:
        with pytest.raises(TokenError) as caught:
            await client.connect_with_token(
                secure_service.ready["mqtts_url"], secret_key=secure_service.secret_key, user_id="alice"
            )
    assert caught.value.kind == "network"


@pytest.fixture
async def listening() -> AsyncIterator[Callable[[str, Path], Any]]:
    """Listen on an address with a certificate; what comes after the handshake is noted."""
    servers: list[asyncio.Server] = []
    received: list[bytes] = []

    async def listen(host: str, certificate: Path) -> tuple[str, list[bytes]]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            received.append(await reader.read(100))
            writer.close()

        server = await asyncio.start_server(serve, host, 0, ssl=context)
        servers.append(server)
        return f"{host}:{server.sockets[0].getsockname()[1]}", received

    yield listen
    for server in servers:
        server.close()


@pytest.mark.parametrize("scheme", ["mqtts", "wss"])
@pytest.mark.parametrize("fault", ["expired", "another name", "another authority"])
async def test_v_89_a_certificate_with_a_fault_gets_no_password(
    authority: Any, make_authority: Any, listening: Any, scheme: str, fault: str
) -> None:
    host, issuer = "127.0.0.1", authority
    if fault == "another name":
        # Certificates of the tests are for 127.0.0.1 and localhost.
        host = "127.0.0.2"
    elif fault == "another authority":
        issuer = make_authority("stranger")
    where, received = await listening(host, issuer.issue("faulty", days=-1 if fault == "expired" else 30))
    async with Client(tls=trusting(authority)) as client:
        with pytest.raises(ConnectError):
            await client.connect(f"{scheme}://{where}", username="alice@org_x", password="secret")
    assert received == []


async def test_v_89_a_good_certificate_gets_as_far_as_connect(authority: Any, listening: Any) -> None:
    """What the test above would see if the client checked nothing."""
    where, received = await listening("127.0.0.1", authority.issue("good"))
    async with Client(tls=trusting(authority)) as client:
        with pytest.raises(ConnectError, match="closed the connection"):
            await client.connect(f"mqtts://{where}", username="alice@org_x", password="secret")
    assert b"MQTT" in received[0]
