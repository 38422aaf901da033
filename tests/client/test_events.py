"""Callbacks by event."""

import asyncio
import logging
from typing import Any

import pytest

from tokenmq.client import Client
from tokenmq.client.callbacks import Callbacks
from tokenmq.client.events import Events


def test_setting_one_never_unsets_another() -> None:
    client = Client()
    heard: list[str] = []
    client.on_token_refreshed(lambda _: heard.append("added"))
    client.set_token_refreshed_callback(lambda _: heard.append("set"))
    client.on_token_refreshed(lambda _: heard.append("added later"))
    client.set_token_refreshed_callback(lambda _: heard.append("set again"))
    client._events.tell("token_refreshed", None)
    assert heard == ["added", "added later", "set again"]
    heard.clear()
    client.set_token_refreshed_callback(None)
    client._events.tell("token_refreshed", None)
    assert heard == ["added", "added later"]


def test_an_exception_in_a_callback_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    events = Events()
    heard: list[int] = []

    def broken(_: int) -> None:
        raise RuntimeError("mine")

    events.add("e", broken)
    events.add("e", heard.append)
    with caplog.at_level(logging.ERROR):
        events.tell("e", 1)
    assert heard == [1]
    assert "a callback of e has failed" in caplog.text and "mine" in caplog.text


async def test_async_callbacks_go_on_by_themselves_and_end_with_the_client() -> None:
    events = Events()
    heard: list[str] = []

    async def slow(what: str) -> None:
        heard.append(f"begun {what}")
        await asyncio.Event().wait()

    events.add("e", slow)
    events.tell("e", "a")
    await asyncio.sleep(0)
    assert heard == ["begun a"]
    await events.close()


def test_every_event_can_be_added_and_returns_what_was_given() -> None:
    client = Client()
    names = [name for name in dir(Callbacks) if name.startswith("on_")]
    assert len(names) == 12

    def callback(*_: Any) -> None:
        """Do nothing."""

    assert all(getattr(client, name)(callback) is callback for name in names)


@pytest.mark.parametrize(
    ("setter", "event"),
    [
        ("set_token_expiring_callback", "token_expiring"),
        ("set_token_refreshed_callback", "token_refreshed"),
        ("set_token_error_callback", "token_error"),
        ("set_auth_error_callback", "auth_error"),
        ("set_connection_status_callback", "status"),
        ("set_online_callback", "connected"),
        ("set_offline_callback", "disconnected"),
        ("set_reconnecting_callback", "reconnecting"),
    ],
)
def test_setters_of_the_published_client_set_their_event(setter: str, event: str) -> None:
    client = Client()
    heard: list[tuple[Any, ...]] = []
    getattr(client, setter)(lambda *told: heard.append(told))
    client._events.tell(event, 1, 2)
    assert heard == [(1, 2)]
