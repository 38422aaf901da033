"""Much of one thing: what it costs to be told, and how it ends."""

from __future__ import annotations

import time

import pytest
from structlog.testing import capture_logs

from tokenmq.app import logs
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Publish, Subscribe
from tokenmq.mqtt.packets.subscribe import Subscription


@pytest.mark.parametrize("piece", ["eyJ", "eyJa.", "sk_", "-----BEGIN ", "k_eyJ"])
def test_v87_a_field_as_long_as_a_packet_is_looked_through_in_no_time(piece):
    event = {"event": "connect_refused", "client_id": piece * (65_535 // len(piece))}
    began = time.thread_time()
    redacted = logs.redact(None, "info", event)
    assert time.thread_time() - began < 0.5
    assert len(redacted["client_id"]) <= 256


async def test_v46_a_token_that_is_cut_off_by_the_end_of_its_field_is_hidden(sample_token):
    for before in range(0, 256, 7):
        event = {"event": "connect_refused", "client_id": "x" * before + sample_token}
        text = logs.redact(None, "info", event)["client_id"]
        payload = sample_token.split(".")[1]
        assert payload[:8] not in text


@pytest.fixture
async def sample_token(instance):
    return (await instance.issue()).text


async def test_v107_a_subscribe_of_many_refused_filters_is_one_line_and_one_reason(instance):
    client = await instance.joined("ann")
    packet = Subscribe(1, tuple(Subscription("x") for _ in range(100_000)))
    with capture_logs() as lines:
        began = time.thread_time()
        (answer,) = client.send(packet)
        assert time.thread_time() - began < 10
    assert len(answer.reason_codes) == 100_000
    assert answer.reason_string == ("no grant of subscribe covers x; too many filters in one SUBSCRIBE")
    told = [line for line in lines if line["event"] == "subscribe_refused"]
    assert [(line["topic_filter"], line["count"]) for line in told] == [("x", 100_000)]


async def test_v107_publishing_where_one_may_not_fills_no_log(instance):
    client = await instance.joined("ann")
    data = codec.encode(Publish("other/x"), 5) * 1_000
    with capture_logs() as lines:
        client.link.received(data)
        instance.tick()
    told = [line["event"] for line in lines]
    assert told.count("publish_refused") < 100
    assert instance.hub.broker.counters.refused == 1_000
    assert any(line["event"] == "not_written" and line["count"] > 900 for line in lines)
