"""A source of tokens, over a service in this process and clocks that stand still."""

import asyncio
import email.utils
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest

from tokenmq.client import Token, TokenSource, origins
from tokenmq.errors import InvalidRequest, TokenError

Make = Callable[..., TokenSource]
SLOW = {"retry-after": "20"}


@pytest.fixture
async def make(clock: Any, token_server: Any) -> AsyncIterator[Make]:
    made: list[TokenSource] = []

    def make(**arguments: Any) -> TokenSource:
        defaults: dict[str, Any] = {"token_service_url": "https://auth.example", "chance": lambda: 0.0}
        if not arguments.keys() & {"external_token", "get_token"}:
            defaults |= {"secret_key": "sk_1", "user_id": "alice"}
        made.append(TokenSource(clock=clock, transport=token_server.transport, **{**defaults, **arguments}))
        return made[-1]

    yield make
    for source in made:
        await source.close()


async def test_a_key_makes_a_token_that_is_refreshed_in_time(
    make: Make, clock: Any, token_server: Any
) -> None:
    source = make(organization_id="org_x", topics=["chat/#"], ttl=60)
    left: list[float] = []
    source.on_token_expiring(left.append)
    async with source:
        assert source.credentials == ("alice@org_x", "password-1")
        assert token_server.asked == [
            ("/v2/tokens", {"organization_id": "org_x", "user_id": "alice", "topics": ["chat/#"], "ttl": 60})
        ]
        assert token_server.keys == ["Bearer sk_1"]
        await clock.advance(53)
        assert len(token_server.asked) == 1
        await clock.advance(1)
        assert token_server.asked[1:] == [
            ("/v2/tokens/refresh", {"token_id": "tok_1", "current_token_password": "password-1"})
        ]
        assert token_server.keys[1] is None
        assert source.credentials == ("alice@org_x", "password-2")
        assert left == [pytest.approx(6, abs=1)]
        await clock.advance(54)
        assert source.credentials == ("alice@org_x", "password-3")


@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
async def test_a_clock_that_is_an_hour_off_changes_nothing(
    make: Make, clock: Any, token_server: Any, skew: float
) -> None:
    token_server.skew = skew
    async with make() as source:
        assert 55 < source.seconds_left < 61
        await clock.advance(600)
    # Every 54 s, and at most half a second earlier for what a Date does not tell.
    assert token_server.paths == ["/v2/tokens", *["/v2/tokens/refresh"] * 11]


async def test_a_clock_that_is_set_while_it_runs_renews_once_early_and_goes_on(
    make: Make, clock: Any, token_server: Any
) -> None:
    async with make():
        await clock.advance(10)
        clock.unix += 3600
        token_server.skew -= 3600
        await clock.advance(30)
        assert len(token_server.asked) == 2
        await clock.advance(540)
        assert len(token_server.asked) == 12


async def test_a_laptop_that_slept_renews_when_it_wakes(make: Make, clock: Any, token_server: Any) -> None:
    async with make() as source:
        await clock.advance(1)
        clock.unix += 40_000
        await clock.advance(30)
        assert source.credentials[1] == "password-2"


async def test_the_service_away_for_two_lives_and_back_is_waited_for(
    make: Make, clock: Any, token_server: Any
) -> None:
    errors: list[str] = []
    async with make(chance=lambda: 1.0) as source:
        source.on_token_error(lambda error, kind: errors.append(kind))
        token_server.refuses = [httpx2.ConnectError("away")] * 10_000
        await clock.advance(170)
        assert source.seconds_left == 0
        assert errors and set(errors) == {"network"}
        token_server.refuses = []
        await clock.advance(60)
        assert source.credentials[1] != "password-1"
        assert source.seconds_left > 0
    assert token_server.families == 1


async def test_retry_after_is_obeyed(make: Make, clock: Any, token_server: Any) -> None:
    async with make():
        token_server.refuses = [(429, {"error": "rate_limited", "detail": "slow"}, SLOW)]
        await clock.advance(54)
        assert len(token_server.asked) == 2
        await clock.advance(19)
        assert len(token_server.asked) == 2
        await clock.advance(1)
        assert len(token_server.asked) == 3


async def test_while_the_service_wants_to_be_left_alone_nobody_gets_through_to_it(
    make: Make, clock: Any, token_server: Any
) -> None:
    """A connection that is lost meanwhile asks too."""
    source = make()
    first = await source.token()
    token_server.refuses = [(429, {"error": "rate_limited", "detail": "slow"}, SLOW)]
    with pytest.raises(TokenError):
        await source.renew(first)
    await clock.advance(15)
    with pytest.raises(TokenError, match="slow") as caught:
        await source.renew(first)
    assert (caught.value.kind, caught.value.is_final, caught.value.status) == ("rate_limited", False, 429)
    assert caught.value.retry_after_seconds == pytest.approx(5)
    assert len(token_server.asked) == 2
    await clock.advance(5)
    assert (await source.renew(first)).access_token == "password-2"


@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
async def test_retry_after_may_be_a_date_of_the_servers(
    make: Make, clock: Any, token_server: Any, skew: float
) -> None:
    token_server.skew = skew
    at = email.utils.formatdate(token_server.now + 40, usegmt=True)
    token_server.refuses = [(503, {}, {"retry-after": at})]
    with pytest.raises(TokenError) as caught:
        await make().token()
    assert caught.value.retry_after_seconds == pytest.approx(40, abs=1)


@pytest.mark.parametrize("told", ["soon", "-5", "Sun, 99 Foo 2020", "²"])
async def test_a_retry_after_that_is_none_is_none(make: Make, token_server: Any, told: str) -> None:
    token_server.refuses = [(503, {}, {"retry-after": told.encode()})]
    with pytest.raises(TokenError) as caught:
        await make().token()
    assert caught.value.retry_after_seconds is None


async def test_a_source_that_gives_the_same_token_again_has_none(clock: Any, token_server: Any) -> None:
    """A backend that keeps its answers: what is past, or was refused, is not connected with again."""
    kept = token_server.token(token_id="tok_1")
    source = TokenSource(get_token=lambda: kept, clock=clock)
    first = await source.token()
    with pytest.raises(TokenError, match="gives the one again") as caught:
        await source.renew(first)
    assert (caught.value.kind, caught.value.is_final) == ("invalid_response", False)
    await clock.advance(61)
    with pytest.raises(TokenError, match="gives the one again"):
        await source.token()
    with pytest.raises(TokenError, match="refused the token") as caught:
        await source.renew(first, is_refused=True)
    assert (caught.value.kind, caught.value.is_final) == ("auth_failed", True)


async def test_what_was_made_of_a_refused_token_is_refused_with_it(make: Make, token_server: Any) -> None:
    """A connection lives through refreshes: the token that it was opened with is an old one by then."""
    source = make()
    opened_with = await source.token()
    refreshed = await source.renew(opened_with)
    assert refreshed.token_id == opened_with.token_id
    assert await source.renew(opened_with) is refreshed
    token_server.refuses = [(401, {"error": "unauthorized", "detail": "revoked"})]
    other = await source.renew(opened_with, is_refused=True)
    assert other.token_id == "tok_2"
    assert await source.renew(opened_with, is_refused=True) is other


async def test_an_answer_that_cannot_be_decoded_is_no_answer_and_asked_for_again(
    make: Make, clock: Any, token_server: Any
) -> None:
    async with make() as source:
        token_server.refuses = [(200, b"plain", {"content-encoding": "gzip"})]
        await clock.advance(60)
        assert source.credentials[1] == "password-2"


async def test_what_is_cancelled_inside_of_a_backend_ends_no_renewing(clock: Any, token_server: Any) -> None:
    asked = 0

    async def ask() -> Any:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise asyncio.CancelledError
        return token_server.token(token_id=f"tok_{asked}")

    async with TokenSource(get_token=ask, clock=clock, chance=lambda: 0.0) as source:
        await clock.advance(60)
        assert source.newest is not None and source.newest.token_id == "tok_3"


async def test_a_backend_that_never_answers_is_a_network_that_fails(
    clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origins, "LONGEST_ASK_SECONDS", 0.01)
    with pytest.raises(TokenError, match="get_token has failed: it gives no answer") as caught:
        await TokenSource(get_token=asyncio.Event().wait, clock=clock).token()  # type: ignore[arg-type]
    assert (caught.value.kind, caught.value.is_final) == ("network", False)


async def test_who_is_cancelled_while_a_backend_is_asked_is_cancelled(clock: Any) -> None:
    source = TokenSource(get_token=asyncio.Event().wait, clock=clock)  # type: ignore[arg-type]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await source.token()


async def test_a_defect_does_not_end_the_renewing_and_is_told(
    clock: Any, token_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(dict[str, Any]):
        def get(self, *_: Any) -> Any:
            raise KeyError("oops")

    answers = [token_server.token(token_id="tok_1"), Odd(), token_server.token(token_id="tok_2")]
    errors: list[str] = []
    async with TokenSource(get_token=lambda: answers.pop(0), clock=clock, chance=lambda: 0.0) as source:
        source.on_token_error(lambda error, kind: errors.append(str(error)))
        await clock.advance(58)
        assert source.newest is not None and source.newest.token_id == "tok_2"
    assert errors == ["the client itself has failed: KeyError('oops')"]
    assert "a token cannot be renewed" in caplog.text


async def test_a_closed_source_says_so(make: Make) -> None:
    source = make()
    first = await source.token()
    await source.close()
    assert await source.token() is first
    with pytest.raises(InvalidRequest, match="closed"):
        await source.renew(first)


async def test_a_refused_refresh_leads_to_a_new_family_at_once(
    make: Make, clock: Any, token_server: Any
) -> None:
    renewed: list[tuple[str | None, bool]] = []
    async with make() as source:
        source.on_renewed(lambda token, is_new: renewed.append((token.token_id, is_new)))
        token_server.refuses = [(401, {"error": "unauthorized", "detail": "revoked"})]
        await clock.advance(54)
        assert token_server.paths == ["/v2/tokens", "/v2/tokens/refresh", "/v2/tokens"]
        await clock.advance(54)
    assert renewed == [("tok_2", True), ("tok_2", False)]


async def test_refused_everywhere_it_stops_and_says_so_once(
    make: Make, clock: Any, token_server: Any
) -> None:
    errors: list[tuple[str, str]] = []
    async with make() as source:
        source.on_token_error(lambda error, kind: errors.append((error.kind, kind)))
        token_server.refuses = [(401, {"detail": "no"})] * 10_000
        await clock.advance(3600)
        assert len(token_server.asked) == 3
        assert errors == [("auth_failed", "refresh_failed")]
        with pytest.raises(TokenError, match="no"):
            await source.token()


@pytest.mark.parametrize(
    ("status", "told", "kind", "is_final"),
    [
        (401, {"error": "token_expired", "detail": "x"}, "token_expired", True),
        (401, {"error": "unauthorized", "detail": "x"}, "auth_failed", True),
        (403, {"error": "forbidden", "detail": "x"}, "auth_failed", True),
        (404, {"error": "provider_not_found", "detail": "x"}, "provider_not_found", True),
        (404, {"error": "organization_not_found", "detail": "x"}, "organization_not_found", True),
        (429, {"error": "rate_limited", "detail": "x"}, "rate_limited", False),
        (400, {"error": "invalid_request", "detail": "x"}, "invalid_response", True),
        (422, {"error": "invalid_token", "detail": "x"}, "invalid_response", True),
        (503, {"error": "unavailable", "detail": "x"}, "network", False),
        (502, b"<html>bad gateway</html>", "network", False),
        (200, b"<html>sign in to this wireless network</html>", "invalid_response", False),
        (200, {}, "invalid_response", False),
        (204, b"", "invalid_response", False),
    ],
)
async def test_first_refusals_are_raised_with_their_kind(
    make: Make, token_server: Any, status: int, told: Any, kind: str, is_final: bool
) -> None:
    token_server.refuses = [(status, told)]
    with pytest.raises(TokenError) as caught:
        await make().token()
    assert (caught.value.kind, caught.value.is_final) == (kind, is_final)
    if status >= 400:
        assert caught.value.status == status


@pytest.mark.parametrize("failure", [httpx2.ConnectError("refused"), httpx2.ReadTimeout("late")])
async def test_no_answer_is_a_network_that_fails(make: Make, token_server: Any, failure: Exception) -> None:
    token_server.refuses = [failure]
    with pytest.raises(TokenError) as caught:
        await make().token()
    assert (caught.value.kind, caught.value.is_final) == ("network", False)


async def test_an_external_token_is_exchanged_and_then_refreshed(
    make: Make, clock: Any, token_server: Any
) -> None:
    async with make(organization_id="org_x", external_token="ext", provider="oidc"):
        await clock.advance(54)
    assert token_server.asked[0] == (
        "/v2/tokens/exchange",
        {"organization_id": "org_x", "token": "ext", "provider": "oidc"},
    )
    assert token_server.paths[1] == "/v2/tokens/refresh"


async def test_a_callable_external_token_is_asked_anew_when_a_refresh_is_refused(
    make: Make, clock: Any, token_server: Any
) -> None:
    given = iter(["ext-1", "ext-2"])

    async def ask() -> str:
        return next(given)

    async with make(organization_id="org_x", external_token=ask):
        token_server.refuses = [(401, {})]
        await clock.advance(54)
    assert [body["token"] for path, body in token_server.asked if path.endswith("exchange")] == [
        "ext-1",
        "ext-2",
    ]


@pytest.mark.parametrize("is_async", [True, False])
async def test_get_token_is_asked_again_in_time_and_the_service_never(
    clock: Any, token_server: Any, is_async: bool
) -> None:
    asked = 0

    def ask() -> Any:
        nonlocal asked
        asked += 1
        return token_server.token(token_id=f"tok_{asked}")

    async def ask_later() -> Any:
        return ask()

    renewed: list[bool] = []
    async with TokenSource(
        get_token=ask_later if is_async else ask, clock=clock, chance=lambda: 0.0
    ) as source:
        source.on_renewed(lambda token, is_new: renewed.append(is_new))
        await clock.advance(120)
        assert asked == 3
    assert renewed == [True, True]
    assert not token_server.asked


@pytest.mark.parametrize("skew", [-3600.0, 0.0, 3600.0])
async def test_get_token_needs_no_clock_that_is_right(clock: Any, token_server: Any, skew: float) -> None:
    token_server.skew = skew
    asked = 0

    def ask() -> Any:
        nonlocal asked
        asked += 1
        return Token.from_answer(token_server.token(token_id=f"tok_{asked}"))

    async with TokenSource(get_token=ask, clock=clock, chance=lambda: 0.0):
        await clock.advance(540)
        assert asked == 11


async def test_a_backend_that_fails_for_a_while_is_asked_again(clock: Any, token_server: Any) -> None:
    answers: list[Any] = [token_server.token(token_id="tok_1"), KeyError("oops"), OSError("away")]

    def ask() -> Any:
        if not answers:
            return token_server.token(token_id="tok_2")
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with TokenSource(get_token=ask, clock=clock, chance=lambda: 1.0) as source:
        await clock.advance(58)
        assert source.newest is not None and source.newest.token_id == "tok_2"


async def test_a_backend_that_refuses_says_so_by_a_token_error(clock: Any) -> None:
    def ask() -> str:
        raise TokenError("auth_failed", "signed out")

    with pytest.raises(TokenError, match="signed out") as caught:
        await TokenSource(get_token=ask, clock=clock).token()
    assert caught.value.is_final


async def test_all_who_wait_share_one_renewal(make: Make, token_server: Any) -> None:
    source = make()
    tokens = await asyncio.gather(*(source.token() for _ in range(20)))
    assert len(token_server.asked) == 1
    newer = await asyncio.gather(*(source.renew(tokens[0]) for _ in range(20)))
    assert len(token_server.asked) == 2
    assert {token.access_token for token in newer} == {"password-2"}


async def test_token_without_a_keeper_renews_when_it_is_past(
    make: Make, clock: Any, token_server: Any
) -> None:
    source = make()
    first = await source.token()
    assert await source.token() is first
    await clock.advance(58)
    assert (await source.token()).access_token == "password-2"


async def test_without_renewing_the_end_is_told_and_nothing_done(
    make: Make, clock: Any, token_server: Any
) -> None:
    source = make()
    left: list[float] = []
    source.on_token_expiring(left.append)
    await source.token()
    source.start(renews=False)
    await clock.advance(600)
    assert len(left) == 1
    assert len(token_server.asked) == 1


async def test_a_token_that_no_refresh_extends_is_made_anew(
    make: Make, clock: Any, token_server: Any
) -> None:
    token_server.changes = {"refresh_recommended_at": "2999-01-01T00:00:00Z"}
    async with make():
        await clock.advance(54)
    assert token_server.paths == ["/v2/tokens", "/v2/tokens"]


async def test_bad_dates_of_a_service_make_no_loop(make: Make, clock: Any, token_server: Any) -> None:
    token_server.changes = {"refresh_recommended_at": "2001-01-01T00:00:00Z"}
    async with make():
        await clock.advance(60)
    assert len(token_server.asked) <= 13


async def test_an_exception_in_a_callback_harms_nobody(make: Make, clock: Any, token_server: Any) -> None:
    heard: list[str] = []

    def broken(*_: Any) -> None:
        raise RuntimeError("mine")

    async def broken_later(*_: Any) -> None:
        raise RuntimeError("mine too")

    async with make() as source:
        for callback in (broken, broken_later, lambda token: heard.append(token.access_token)):
            source.on_token_refreshed(callback)
        await clock.advance(54)
        assert source.credentials[1] == "password-2"
    assert heard == ["password-2"]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({}, "exactly one"),
        ({"secret_key": "sk", "get_token": str}, "exactly one"),
        ({"external_token": "a", "get_token": str}, "exactly one"),
        ({"secret_key": "sk", "user_id": "a"}, "token_service_url"),
        ({"secret_key": "sk", "token_service_url": "https://x"}, "user_id"),
        ({"external_token": "a", "token_service_url": "https://x"}, "organization_id"),
        ({"get_token": str, "token_service_url": "auth.example"}, "token_service_url"),
        ({"get_token": str, "topics": ["chat/#"]}, "topics: is for tokens that are made with secret_key"),
        ({"external_token": "a", "ttl": 60}, "ttl: .* not with external_token"),
    ],
)
def test_sources_that_are_none_are_refused(arguments: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidRequest, match=what):
        TokenSource(**arguments)


async def test_credentials_before_the_first_token_are_refused(make: Make) -> None:
    source = make()
    assert source.newest is None and source.seconds_left == 0
    with pytest.raises(InvalidRequest, match="none was fetched"):
        _ = source.credentials
