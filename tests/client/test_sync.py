"""The client without asyncio: one implementation, behind a loop in a thread."""

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tokenmq.client import aio, sync
from tokenmq.client.portal import Portal, in_a_thread
from tokenmq.errors import ConnectError, InvalidRequest


def names(form: type) -> set[str]:
    return {name for name in dir(form) if not name.startswith("_") and name != "options"}


def test_it_has_every_method_of_the_other_with_its_words() -> None:
    assert names(sync.Client) == names(aio.Client)
    for name in names(sync.Client):
        one, other = getattr(sync.Client, name), getattr(aio.Client, name)
        if inspect.isfunction(one) and name != "close":
            assert inspect.signature(one) == inspect.signature(other)
            assert one.__doc__ == other.__doc__


def test_errors_come_to_the_caller() -> None:
    with sync.Client() as client:
        assert not client.is_connected and client.token is None and client.queued == 0
        with pytest.raises(ConnectError, match="connect first"):
            client.publish("a", b"")
        with pytest.raises(ConnectError, match="connect first"):
            next(iter(client.messages))
    client.close()
    with pytest.raises(InvalidRequest):
        sync.Client(protocol_version=3)


def test_a_source_asks_functions_in_threads_of_their_own(token_server: Any, clock: Any) -> None:
    asked_in: list[threading.Thread] = []

    def ask() -> Any:
        asked_in.append(threading.current_thread())
        return token_server.token(token_id="tok_1")

    with sync.TokenSource(get_token=ask, clock=clock) as source:
        assert source.credentials == ("alice@org_x", "password-1")
        assert source.newest is source.token()
        heard: list[str] = []
        told = threading.Event()

        def hear(token: Any) -> None:
            heard.append(token.access_token)
            told.set()

        source.on_token_refreshed(hear)
        assert source.renew().access_token == "password-2"
        assert told.wait(10) and heard == ["password-2"]
    assert threading.current_thread() not in asked_in and len(asked_in) == 2


def test_a_source_that_cannot_begin_leaves_nothing_behind(token_server: Any, clock: Any) -> None:
    token_server.refuses = [httpx2.ConnectError("away")]
    before = threading.active_count()
    source = sync.TokenSource(
        token_service_url="https://x", secret_key="k", user_id="u", transport=token_server.transport
    )
    with pytest.raises(Exception, match="no token service answers"), source:
        pass
    with pytest.raises(InvalidRequest):
        sync.TokenSource()
    assert threading.active_count() == before


@pytest.fixture
def portal() -> Any:
    made = Portal()
    yield made
    made.close()
    made.close()


def test_a_portal_runs_in_its_own_thread_and_hands_back_what_comes(portal: Portal) -> None:
    async def work() -> threading.Thread:
        return threading.current_thread()

    async def fail() -> None:
        raise KeyError("mine")

    assert portal.run(work()) is not threading.current_thread()
    assert portal.call(lambda: 5) == 5
    with pytest.raises(KeyError):
        portal.run(fail())


def test_a_portal_does_not_wait_for_itself(portal: Portal) -> None:
    async def work() -> None:
        """Do nothing."""

    def inside() -> Callable[[], None] | None:
        with pytest.raises(InvalidRequest, match="cannot call a client that blocks"):
            portal.run(work())
        return None

    portal.call(inside)


def test_a_callback_may_close_its_client(token_server: Any, clock: Any) -> None:
    source = sync.TokenSource(
        get_token=lambda: token_server.token(token_id=f"tok_{token_server.generations}"), clock=clock
    )
    closed = threading.Event()

    def close(_: Any) -> None:
        source.close()
        closed.set()

    source.token()
    source.on_token_refreshed(close)
    source.renew()
    assert closed.wait(10)
    with pytest.raises(InvalidRequest, match="closed"):
        source.token()


def test_async_callbacks_of_a_client_that_blocks_run_too(token_server: Any, clock: Any) -> None:
    told = threading.Event()

    async def hear(_: Any) -> None:
        told.set()

    get_token = lambda: token_server.token(token_id=f"tok_{token_server.generations}")  # noqa: E731
    with sync.TokenSource(get_token=get_token, clock=clock) as source:
        source.on_token_refreshed(hear)
        source.renew()
        assert told.wait(10)


def test_callbacks_that_block_keep_no_other_from_running(portal: Portal) -> None:
    go_on = threading.Event()
    ran: list[bool] = []

    async def work() -> None:
        blocking = [in_a_thread(go_on.wait)(10) for _ in range(40)]
        await asyncio.gather(*blocking, in_a_thread(go_on.set)())
        ran.append(True)

    portal.run(work())
    assert ran


def test_who_waits_when_it_is_closed_is_told_and_two_may_close_it() -> None:
    portal = Portal()
    waits, ends = threading.Event(), threading.Event()
    caught: list[Exception] = []

    async def wait() -> None:
        waits.set()
        await asyncio.Event().wait()

    async def last() -> None:
        await asyncio.to_thread(ends.wait, 10)

    def run() -> None:
        try:
            portal.run(wait())
        except InvalidRequest as error:
            caught.append(error)

    waiting = threading.Thread(target=run)
    closing = threading.Thread(target=portal.close, args=(last,))
    waiting.start()
    assert waits.wait(10)
    closing.start()
    while not portal.is_closed:
        threading.Event().wait(0.001)
    portal.close()
    with pytest.raises(InvalidRequest, match="it is closed"):
        portal.run(wait())
    ends.set()
    for thread in (waiting, closing):
        thread.join(10)
        assert not thread.is_alive()
    assert [str(error) for error in caught] == ["it was closed meanwhile"]
