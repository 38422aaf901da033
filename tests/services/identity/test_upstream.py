"""Documents come from where they were said to be, in time, within bounds, or not at all."""

import asyncio
import gzip
import ipaddress
import time

import pytest

from tokenmq.errors import Unavailable
from tokenmq.services.upstream import MAX_DOCUMENT_BYTES, TIMEOUT_SECONDS, Upstream, is_public

SHORT = 1.0


def to(endpoint, **changes):
    """Fetch from an endpoint on loopback, which is listed."""
    return Upstream({endpoint.host}, timeout_seconds=SHORT, **changes)


async def refused(upstream, url, because):
    started = time.monotonic()
    with pytest.raises(Unavailable, match=because):
        await upstream.get(url)
    assert time.monotonic() - started < TIMEOUT_SECONDS


def test_limits_are_those_of_the_threat_model():
    assert (TIMEOUT_SECONDS, MAX_DOCUMENT_BYTES) == (5.0, 262_144)


async def test_document_is_fetched_as_it_is(endpoint, answers):
    endpoint.answer = answers.reply(b"x" * MAX_DOCUMENT_BYTES)
    assert await to(endpoint).get(f"{endpoint.url}/jwks?p=1") == b"x" * MAX_DOCUMENT_BYTES
    head = endpoint.asked[0].lower()
    assert head.startswith("get /jwks?p=1 http/1.1\r\n")
    assert f"host: {endpoint.host}\r\n" in head
    assert "accept-encoding: identity\r\n" in head
    assert "authorization" not in head and "cookie" not in head


async def test_cookies_are_not_kept(endpoint, answers):
    endpoint.answer = answers.reply({}, Set_Cookie="a=b")
    upstream = to(endpoint)
    for _ in range(2):
        await upstream.get(endpoint.url)
    assert "cookie" not in endpoint.asked[1].lower()


async def test_proxy_variables_are_not_read(endpoint, answers, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    endpoint.answer = answers.reply({"a": 1})
    assert await to(endpoint).get(endpoint.url) == b'{"a": 1}'


class TestMisbehaviour:
    async def test_refused_connection(self, endpoint):
        url, upstream = endpoint.url, to(endpoint)
        await endpoint.stop()
        await refused(upstream, url, "cannot be asked")

    @pytest.mark.parametrize("way", ["silent", "drip"])
    async def test_no_answer_and_one_byte_at_a_time_end_in_time(self, endpoint, answers, way):
        endpoint.answer = getattr(answers, way)
        await refused(to(endpoint), endpoint.url, "within 1 s")

    async def test_no_answer_to_a_tls_handshake_ends_in_time(self, endpoint, answers):
        endpoint.answer = answers.silent
        await refused(to(endpoint), endpoint.url.replace("http", "https"), "within 1 s|cannot be asked")

    async def test_slow_look_up_of_a_name_ends_in_time(self, endpoint):
        async def slow(_host, _port):
            await asyncio.Event().wait()

        await refused(to(endpoint, resolver=slow), endpoint.url, "within 1 s")

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_redirect_is_not_followed(self, endpoint, open_endpoint, answers, status):
        other = await open_endpoint()
        endpoint.answer = answers.reply(b"", status=status, Location=f"{other.url}/keys")
        upstream = Upstream({endpoint.host, other.host}, timeout_seconds=SHORT)
        await refused(upstream, endpoint.url, f"answered {status}")
        assert other.connections == 0

    @pytest.mark.parametrize("status", [201, 204, 400, 401, 404, 429, 500, 503])
    async def test_any_other_status_is_no_document(self, endpoint, answers, status):
        endpoint.answer = answers.reply(b"" if status == 204 else b"{}", status=status)
        await refused(to(endpoint), endpoint.url, f"answered {status}")

    async def test_ten_megabytes(self, endpoint, answers):
        endpoint.answer = answers.endless
        await refused(to(endpoint), endpoint.url, "more than 262144")
        endpoint.answer = answers.reply(b"x" * (MAX_DOCUMENT_BYTES + 1))
        await refused(to(endpoint), endpoint.url, "more than 262144")

    @pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd"])
    async def test_compressed_answer_is_not_unpacked(self, endpoint, answers, encoding):
        bomb = gzip.compress(b" " * 20_000_000)
        endpoint.answer = answers.reply(bomb, Content_Encoding=encoding)
        await refused(to(endpoint), endpoint.url, "compressed")

    async def test_what_is_no_http(self, endpoint):
        async def garbage(writer):
            writer.write(b"SSH-2.0-OpenSSH_9\r\n\r\n")

        endpoint.answer = garbage
        await refused(to(endpoint), endpoint.url, "cannot be asked")


class TestCertificate:
    async def test_certificate_is_held_against_the_name_not_the_address(
        self, open_endpoint, certificate, answers
    ):
        made = certificate("idp.example")
        endpoint = await open_endpoint(made.server)
        endpoint.answer = answers.reply({"a": 1})

        async def here(_host, _port):
            return ["127.0.0.1"]

        upstream = Upstream({f"idp.example:{endpoint.port}"}, tls=made.client, resolver=here)
        assert await upstream.get(f"https://idp.example:{endpoint.port}/") == b'{"a": 1}'
        assert f"host: idp.example:{endpoint.port}\r\n" in endpoint.asked[0].lower()

    @pytest.mark.parametrize("trusted", [True, False], ids=["another name", "nobody's"])
    async def test_wrong_certificate_is_refused(self, open_endpoint, certificate, trusted):
        made = certificate("other.example" if trusted else "127.0.0.1")
        endpoint = await open_endpoint(made.server)
        upstream = to(endpoint, tls=made.client if trusted else None)
        await refused(upstream, endpoint.url, "cannot be asked.*certificate")
        assert endpoint.asked == []


class TestAddress:
    @pytest.mark.parametrize(
        "url",
        [
            "http://idp.example/jwks",
            "https://127.0.0.1/jwks",
            "https://[::1]/jwks",
            "https://10.0.0.1/",
            "https://169.254.169.254/latest",
            "ftp://idp.example/",
            "https://user@idp.example/",
            "https://localhost:80@127.0.0.1/",
            "file:///etc/passwd",
            "https://",
        ],
    )
    async def test_address_that_is_not_https_and_public_is_not_asked(self, url):
        upstream = Upstream()
        assert upstream.problem(url)
        await refused(upstream, url, "nothing is fetched")

    @pytest.mark.parametrize(
        "addresses",
        [
            ["127.0.0.1"],
            ["::1"],
            ["10.1.2.3"],
            ["192.168.0.1"],
            ["172.16.0.1"],
            ["169.254.169.254"],
            ["fe80::1%eth0"],
            ["fd00::1"],
            ["::ffff:127.0.0.1"],
            ["64:ff9b::7f00:1"],
            ["2002:7f00:1::"],
            ["0.0.0.0"],
            ["100.64.0.1"],
            ["224.0.0.1"],
            ["8.8.8.8", "127.0.0.1"],
        ],
        ids=str,
    )
    async def test_name_that_leads_to_a_private_address_is_not_asked(self, endpoint, addresses):
        async def resolver(_host, _port):
            return addresses

        upstream = Upstream(resolver=resolver)
        assert upstream.problem(f"https://idp.example:{endpoint.port}/") is None
        await refused(upstream, f"https://idp.example:{endpoint.port}/", "not a public one")
        assert endpoint.connections == 0

    async def test_name_is_looked_up_once_and_that_address_is_asked(self, endpoint, answers):
        endpoint.answer = answers.reply({"a": 1})
        looked_up = []

        async def resolver(host, port):
            looked_up.append((host, port))
            return ["127.0.0.1"] if len(looked_up) == 1 else ["127.0.0.9"]

        upstream = Upstream({"idp.example"}, resolver=resolver, timeout_seconds=SHORT)
        assert await upstream.get(f"http://idp.example:{endpoint.port}/x") == b'{"a": 1}'
        assert looked_up == [("idp.example", endpoint.port)]

    async def test_next_address_is_asked_where_nothing_listens_on_the_first(self, endpoint, answers):
        endpoint.answer = answers.reply({"a": 1})

        async def resolver(_host, _port):
            return ["127.0.0.9", "127.0.0.1"]

        upstream = Upstream({"idp.example"}, resolver=resolver)
        assert await upstream.get(f"http://idp.example:{endpoint.port}/x") == b'{"a": 1}'

    async def test_name_without_an_address_is_not_asked(self):
        async def resolver(_host, _port):
            return []

        await refused(Upstream(resolver=resolver), "https://idp.example/", "no address")

    async def test_name_that_is_not_found_is_not_asked(self):
        await refused(Upstream(), "https://idp.invalid/", "cannot be asked|within")

    @pytest.mark.parametrize("listed", ["127.0.0.1:1", "127.0.0.2", "localhost", "127.0.0.1.example"])
    async def test_listing_is_of_that_host_and_port_alone(self, endpoint, listed):
        await refused(Upstream({listed}), endpoint.url, "nothing is fetched")
        assert endpoint.connections == 0

    async def test_listing_without_a_port_is_of_every_port(self, endpoint, answers):
        endpoint.answer = answers.reply({"a": 1})
        assert await Upstream({"127.0.0.1"}).get(endpoint.url) == b'{"a": 1}'


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::808:808", True),
        ("64:ff9b::a00:1", False),
        ("192.0.2.1", False),
        ("2001:db8::1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("ff02::1", False),
    ],
)
def test_public_addresses(address, public):
    assert is_public(ipaddress.ip_address(address)) is public
