"""The settings of a client."""

import dataclasses
from typing import Any, get_type_hints

import pytest

from tokenmq.client import Client, Options
from tokenmq.client.options import Settings
from tokenmq.errors import InvalidRequest


def test_the_constructor_takes_every_setting_and_no_other() -> None:
    assert get_type_hints(Settings) == get_type_hints(Options)
    assert [field.name for field in dataclasses.fields(Options)] == list(Settings.__annotations__)
    assert Client(keepalive_seconds=5).options.keepalive_seconds == 5


@pytest.mark.parametrize(
    "settings",
    [
        {"protocol_version": 3},
        {"default_publish_qos": 3},
        {"default_subscribe_qos": -1},
        {"receive_maximum": 0},
        {"receive_maximum": 65_536},
        {"keepalive_seconds": 65_536},
        {"max_offline_queue_size": -1},
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=next(iter(settings))):
        Client(**settings)
