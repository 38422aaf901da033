"""Key sets: fetched once for all, seldom, and never worse than what is known."""

import asyncio
import gzip
import json
import ssl
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tokenmq.errors import InvalidToken, Unavailable
from tokenmq.services.jwks import FRESH_SECONDS, PATIENCE_SECONDS, RETRY_SECONDS, STALE_SECONDS, KeySets
from tokenmq.services.upstream import Upstream
from tokenmq.tokens import base64url
from tokenmq.tokens.foreign.kinds import Source

SHORT = 0.3


class Held:
    """Key sets of one endpoint, with a clock of their own."""

    def __init__(self, endpoint, insecure=()):
        self.now = 1_000.0
        self.endpoint = endpoint
        self.source = Source("https://issuer.example", f"{endpoint.url}/jwks")
        self.upstream = Upstream({endpoint.host, *insecure}, tls=ssl.create_default_context())
        self.sets = KeySets(self.upstream, mono=lambda: self.now)

    async def find(self, kid="first", owner="idp_a"):
        return await self.sets.find(owner, self.source, kid)

    def hurry(self):
        """Have no patience with an endpoint any more."""
        self.upstream._timeout_seconds = self.sets._timeout_seconds = SHORT

    async def settled(self):
        """Wait for what is fetched in the background."""
        while self.sets._fetches:
            await asyncio.wait(list(self.sets._fetches))

    def serve(self, answers, *keys):
        self.endpoint.answer = answers.reply({"keys": [key.public for key in keys]})


@pytest.fixture
async def held(endpoint, answers, first_key):
    held = Held(endpoint)
    held.serve(answers, first_key)
    yield held
    await held.sets.close()


def test_times_are_those_that_the_page_tells():
    assert (FRESH_SECONDS, PATIENCE_SECONDS, RETRY_SECONDS, STALE_SECONDS) == (300, 600, 30, 86_400)


async def test_key_is_fetched_once_and_kept_while_it_is_fresh(held):
    found = await held.find()
    assert found.algorithm == "RS256"
    held.now += FRESH_SECONDS - 0.1
    assert await held.find() is found
    assert len(held.endpoint.asked) == 1


async def test_who_comes_meanwhile_shares_the_fetch(held):
    assert len(set(map(id, await asyncio.gather(*(held.find() for _ in range(50)))))) == 1
    assert held.endpoint.connections == 1


async def test_who_goes_away_does_not_end_the_fetch_of_others(held):
    going = asyncio.ensure_future(held.find())
    staying = asyncio.ensure_future(held.find())
    await asyncio.sleep(0)
    going.cancel()
    assert (await staying).algorithm == "RS256"


async def test_v_131_a_thousand_unknown_names_cost_one_fetch_in_half_a_minute(held):
    await held.find()
    held.now += RETRY_SECONDS
    names = [f"bogus-{number}" for number in range(1_000)]
    for _ in range(2):
        outcomes = await asyncio.gather(*map(held.find, names), return_exceptions=True)
        assert all(type(outcome) is InvalidToken for outcome in outcomes)
        assert (await held.find()).algorithm == "RS256"
        held.now += RETRY_SECONDS - 1
    assert len(held.endpoint.asked) == 2
    held.now += 1
    with pytest.raises(InvalidToken):
        await held.find("bogus")
    assert len(held.endpoint.asked) == 3


async def test_v_131_providers_do_not_hold_up_each_other(held):
    await held.find()
    await held.find(owner="idp_b")
    assert len(held.endpoint.asked) == 2


async def test_new_key_is_found_when_it_is_first_asked_for(held, answers, first_key, second_key):
    await held.find()
    held.serve(answers, first_key, second_key)
    with pytest.raises(InvalidToken):
        await held.find("second")
    held.now += RETRY_SECONDS
    assert (await held.find("second")).algorithm == "ES256"
    assert (await held.find()).algorithm == "RS256"


async def test_withdrawn_key_ends_with_the_next_fetch(held, answers, second_key):
    await held.find()
    held.serve(answers, second_key)
    held.now += FRESH_SECONDS
    # Nobody waits for this fetch; it is there for the next one.
    await held.find()
    await held.settled()
    with pytest.raises(InvalidToken):
        await held.find()
    assert len(held.endpoint.asked) == 2


async def test_withdrawn_key_ends_at_once_where_nobody_asked_for_long(held, answers, second_key):
    await held.find()
    held.serve(answers, second_key)
    held.now += PATIENCE_SECONDS
    with pytest.raises(InvalidToken):
        await held.find()


def weak_rsa():
    public = rsa.generate_private_key(public_exponent=65_537, key_size=1_024).public_key().public_numbers()
    modulus = base64url.encode(public.n.to_bytes(128)).decode()
    return {"kty": "RSA", "kid": "weak", "n": modulus, "e": "AQAB"}


def bodies(first, second):
    """What endpoints say that are out of order, by what is wrong."""
    off = {**second.public, "y": second.public["x"]}
    return {
        "html": b"<!doctype html><title>Sign in</title>",
        "empty body": b"",
        "object": b"{}",
        "no keys": b'{"keys":[]}',
        "not utf-8": b'{"keys":[{"kid":"\xff"}]}',
        "duplicate kid": {"keys": [first.public, {**second.public, "kid": "first"}]},
        "two of one kind": {"keys": [{**first.public, "kid": "new"}, {**second.public, "kid": "new"}]},
        "private members": {"keys": [{**second.public, "d": "c2VjcmV0"}]},
        "wrong kty": {"keys": [{**second.public, "kty": "RSA"}]},
        "off-curve point": {"keys": [off]},
        "1,024-bit RSA": {"keys": [weak_rsa()]},
        "hmac key": {"keys": [{"kty": "oct", "kid": "first", "alg": "HS256", "k": "c2VjcmV0" * 8}]},
        "not a list": {"keys": {"first": first.public}},
        "nested": b"[" * 100_000,
    }


WRONG = (
    "html",
    "empty body",
    "object",
    "no keys",
    "not utf-8",
    "duplicate kid",
    "two of one kind",
    "private members",
    "wrong kty",
    "off-curve point",
    "1,024-bit RSA",
    "hmac key",
    "not a list",
    "nested",
)


class TestMisbehaviour:
    """Known keys go on, nobody waits for long, and the endpoint is asked once in half a minute."""

    async def goes_on(self, held):
        """Live for ten minutes with an endpoint that is out of order."""
        before = len(held.endpoint.asked)
        held.now += FRESH_SECONDS
        for _ in range(30):
            started = time.monotonic()
            assert (await held.find()).algorithm == "RS256"
            assert time.monotonic() - started < 1
            await held.settled()
            held.now += 20
        assert len(held.endpoint.asked) - before <= 600 // RETRY_SECONDS + 1

    @pytest.mark.parametrize("wrong", WRONG)
    async def test_document_that_is_no_key_set(self, held, answers, first_key, second_key, wrong):
        await held.find()
        body = bodies(first_key, second_key)[wrong]
        held.endpoint.answer = answers.reply(
            body, Content_Type="text/html" if wrong == "html" else "application/json"
        )
        await self.goes_on(held)

    @pytest.mark.parametrize("status", [301, 302, 404, 429, 500, 503])
    async def test_status_that_is_not_success(self, held, answers, status, first_key):
        await held.find()
        held.endpoint.answer = answers.reply(
            {"keys": [first_key.public]}, status=status, Location="/elsewhere"
        )
        await self.goes_on(held)
        assert {head.split()[1] for head in held.endpoint.asked} == {"/jwks"}

    @pytest.mark.parametrize("way", ["silent", "drip", "endless"])
    async def test_answer_that_does_not_end(self, held, answers, way):
        await held.find()
        held.hurry()
        held.endpoint.answer = getattr(answers, way)
        held.now += FRESH_SECONDS
        for _ in range(3):
            assert (await held.find()).algorithm == "RS256"
            assert held.sets._fetches, "it waited for an answer that does not end"
            await held.settled()
            held.now += RETRY_SECONDS
        assert len(held.endpoint.asked) == 4

    async def test_redirect_to_another_host(self, held, answers, open_endpoint, first_key):
        await held.find()
        other = await open_endpoint()
        held.endpoint.answer = answers.reply(b"", status=302, Location=f"{other.url}/jwks")
        await self.goes_on(held)
        assert other.connections == 0

    async def test_gzip_bomb(self, held, answers):
        await held.find()
        held.endpoint.answer = answers.reply(gzip.compress(b" " * 30_000_000), Content_Encoding="gzip")
        await self.goes_on(held)

    async def test_refused_connection(self, held):
        await held.find()
        await held.endpoint.stop()
        held.now += PATIENCE_SECONDS
        for _ in range(10):
            assert (await held.find()).algorithm == "RS256"
            await held.settled()
            held.now += 60

    async def test_two_kinds_of_key_under_one_name(self, held, answers, first_key, second_key):
        await held.find()
        both = [{**second_key.public, "kid": "first"}, first_key.public]
        held.endpoint.answer = answers.reply({"keys": both})
        held.now += PATIENCE_SECONDS
        assert (await held.find()).algorithm == "RS256"

    async def test_two_kinds_of_key_under_one_name_from_the_start_are_no_key(
        self, held, answers, first_key, second_key
    ):
        both = [{**second_key.public, "kid": "first"}, first_key.public, second_key.public]
        held.endpoint.answer = answers.reply({"keys": both})
        with pytest.raises(InvalidToken):
            await held.find()
        assert (await held.find("second")).algorithm == "ES256"

    async def test_bad_key_beside_a_good_one_harms_only_itself(self, held, answers, first_key):
        held.endpoint.answer = answers.reply({"keys": [weak_rsa(), {"kty": "new"}, first_key.public]})
        assert (await held.find()).algorithm == "RS256"
        with pytest.raises(InvalidToken):
            await held.find("weak")

    async def test_nothing_is_believed_where_no_key_was_ever_known(self, held, answers):
        held.endpoint.answer = answers.reply(b"oops", status=500)
        for _ in range(5):
            with pytest.raises(Unavailable):
                await held.find()
        assert len(held.endpoint.asked) == 1

    async def test_keys_end_after_a_day_without_an_answer(self, held, answers):
        await held.find()
        held.endpoint.answer = answers.reply(b"", status=500)
        held.now += STALE_SECONDS - 1
        await held.find()
        await held.settled()
        held.now += RETRY_SECONDS + 1
        with pytest.raises(Unavailable):
            await held.find()

    async def test_endpoint_that_recovers_is_believed_again(self, held, answers, first_key, second_key):
        await held.find()
        held.endpoint.answer = answers.reply(b"", status=500)
        held.now += FRESH_SECONDS
        await held.find()
        await held.settled()
        held.serve(answers, second_key)
        held.now += RETRY_SECONDS
        assert (await held.find("second")).algorithm == "ES256"


class TestDiscovery:
    @pytest.fixture
    def discovering(self, held, answers, first_key):
        issuer = held.endpoint.url
        held.source = Source(issuer, f"{issuer}/.well-known/openid-configuration", discovered=True)
        held.endpoint.by_path = {"/keys": answers.reply({"keys": [first_key.public]})}
        held.endpoint.answer = answers.reply({"issuer": issuer, "jwks_uri": f"{issuer}/keys"})
        return held

    async def test_key_set_is_where_the_issuer_says(self, discovering):
        assert (await discovering.find()).algorithm == "RS256"
        assert [head.split()[1] for head in discovering.endpoint.asked] == [
            "/.well-known/openid-configuration",
            "/keys",
        ]

    @pytest.mark.parametrize(
        "change",
        [
            {"issuer": "https://other.example"},
            {"issuer": None},
            {"jwks_uri": None},
            {"jwks_uri": "file:///etc/passwd"},
            {"jwks_uri": "http://user@127.0.0.1/"},
            {"jwks_uri": "https://10.0.0.1/keys"},
            {"jwks_uri": "http://idp.example/keys"},
            {"jwks_uri": 7},
        ],
        ids=json.dumps,
    )
    async def test_document_that_leads_elsewhere_is_not_followed(self, discovering, answers, change):
        issuer = discovering.endpoint.url
        told = {"issuer": issuer, "jwks_uri": f"{issuer}/keys", **change}
        discovering.endpoint.answer = answers.reply(told)
        with pytest.raises(Unavailable):
            await discovering.find()
        assert len(discovering.endpoint.asked) == 1

    @pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"issuer":"a","issuer":"b"}'])
    async def test_document_that_is_none_is_refused(self, discovering, answers, body):
        discovering.endpoint.answer = answers.reply(body)
        with pytest.raises(Unavailable):
            await discovering.find()

    async def test_both_documents_together_have_one_time(self, discovering, answers):
        discovering.hurry()
        discovering.endpoint.by_path = {"/keys": answers.silent}
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await discovering.find()
        assert time.monotonic() - started < 2 * SHORT + 1


async def test_provider_that_was_changed_is_asked_anew(held):
    await held.find()
    held.sets.forget("idp_b")
    await held.find()
    assert len(held.endpoint.asked) == 1
    held.sets.forget("idp_a")
    await held.find()
    assert len(held.endpoint.asked) == 2


async def test_end_of_the_process_ends_what_is_under_way(held, answers):
    held.endpoint.answer = answers.silent
    asking = asyncio.ensure_future(held.find())
    await held.endpoint.was_asked.wait()
    await held.sets.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
