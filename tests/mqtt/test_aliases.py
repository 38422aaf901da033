from __future__ import annotations

import pytest

from tokenmq.errors import ProtocolError
from tokenmq.mqtt.aliases import InboundAliases
from tokenmq.mqtt.packets import Publish


def _resolve(aliases: InboundAliases, topic: str, alias: int | None) -> str:
    publish = Publish(topic, topic_alias=alias)
    aliases.resolve(publish)
    return publish.topic


def test_an_alias_stands_for_the_topic_that_it_was_last_set_with() -> None:
    aliases = InboundAliases(2)
    assert _resolve(aliases, "a", 1) == "a"
    assert _resolve(aliases, "", 1) == "a"
    assert _resolve(aliases, "b", 2) == "b"
    assert _resolve(aliases, "c", 1) == "c"
    assert [_resolve(aliases, "", alias) for alias in (1, 2, 1)] == ["c", "b", "c"]


def test_a_publish_without_alias_stays_as_it_is() -> None:
    assert _resolve(InboundAliases(0), "a", None) == "a"


@pytest.mark.parametrize(("maximum", "alias"), [(0, 1), (16, 17), (16, 65_535)])
def test_q17_an_alias_over_the_maximum_is_0x94(maximum: int, alias: int) -> None:
    """[MQTT-3.3.2-9]."""
    with pytest.raises(ProtocolError) as caught:
        _resolve(InboundAliases(maximum), "a", alias)
    assert caught.value.reason_code == 0x94


def test_q17_an_alias_that_stands_for_nothing_is_a_protocol_error() -> None:
    aliases = InboundAliases(16)
    _resolve(aliases, "a", 1)
    with pytest.raises(ProtocolError) as caught:
        _resolve(aliases, "", 2)
    assert caught.value.reason_code == 0x82


def test_q17_an_alias_does_not_outlive_its_connection() -> None:
    """[MQTT-3.3.2-7]."""
    _resolve(InboundAliases(16), "a", 1)
    with pytest.raises(ProtocolError):
        _resolve(InboundAliases(16), "", 1)
