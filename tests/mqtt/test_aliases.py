from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.errors import ProtocolError
from tokenmq.mqtt import codec
from tokenmq.mqtt.aliases import InboundAliases, OutboundAliases
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


messages = st.lists(
    st.builds(
        Publish,
        topic=st.sampled_from(("chat/room1", "chat/room2", "a", "abc", "abcd", "x" * 200)),
        payload=st.sampled_from((b"", b"x", b"y" * 300)),
        qos=st.integers(0, 2),
        retain=st.booleans(),
        packet_id=st.integers(1, 65_535),
        content_type=st.sampled_from((None, "text/plain", "t" * 130)),
        user_properties=st.sampled_from(((), (("a", "b"), ("a", "b")))),
    ),
    max_size=30,
)


@given(messages=messages, maximum=st.integers(1, 4), max_bytes=st.sampled_from((64, 220, 1_000)))
def test_what_the_client_resolves_is_what_was_sent(
    messages: list[Publish], maximum: int, max_bytes: int
) -> None:
    ours, theirs = OutboundAliases(maximum), InboundAliases(maximum)
    for message in messages:
        packet = codec.encode(message, 5)
        shortened = ours.shorten(packet, max_bytes)
        assert len(shortened) <= max(len(packet), max_bytes)
        first, start, stop = codec.frame(shortened, 0, 1 << 20) or (0, 0, 0)
        got = codec.decode(first, shortened, start, stop, 5, from_client=False)
        assert isinstance(got, Publish)
        theirs.resolve(got)
        got.topic_alias = None
        assert codec.encode(got, 5) == packet


def test_a_topic_goes_out_once_and_its_alias_after_that() -> None:
    aliases = OutboundAliases(1)
    first, second, other = (
        aliases.shorten(codec.encode(Publish(topic), 5), 1_000) for topic in ("chat/a", "chat/a", "chat/b")
    )
    assert first == bytes.fromhex("300c 0006 636861742f61 03 23 0001")
    assert second == bytes.fromhex("3006 0000 03 23 0001")
    assert other == codec.encode(Publish("chat/b"), 5)


def test_a_topic_that_is_no_longer_than_an_alias_has_none() -> None:
    packet = codec.encode(Publish("abc"), 5)
    assert OutboundAliases(16).shorten(packet, 1_000) == packet
