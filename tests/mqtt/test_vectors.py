"""The hand-checked vectors: what bytes mean, what they are refused with, and their beginnings."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import msgspec
import pytest

from tokenmq.errors import ProtocolError
from tokenmq.mqtt import codec, packets, properties
from tokenmq.mqtt.codes import PacketType

VECTORS = json.loads((pathlib.Path(__file__).parents[1] / "vectors" / "packets.json").read_text("utf-8"))
PACKETS: list[dict[str, Any]] = VECTORS["packets"]
MALFORMED: list[dict[str, Any]] = VECTORS["malformed"]
MAX_PACKET_BYTES = 1_048_576


def _value(written: Any) -> Any:
    if isinstance(written, dict):
        if written.keys() == {"hex"}:
            return bytes.fromhex(written["hex"])
        return {name: _value(value) for name, value in written.items()}
    return [_value(value) for value in written] if isinstance(written, list) else written


def _packet(vector: dict[str, Any]) -> packets.Packet:
    return msgspec.convert(
        _value(vector["fields"]), type=getattr(packets, vector["type"]), builtin_types=(bytes,)
    )


def _read(vector: dict[str, Any], data: bytes) -> packets.Packet | None:
    found = codec.frame(data, 0, MAX_PACKET_BYTES)
    if found is None:
        return None
    first, start, stop = found
    return codec.decode(first, data, start, stop, vector["version"], from_client=vector["from"] == "client")


def _named(vectors: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


@_named(PACKETS)
def test_bytes_mean_the_packet(vector: dict[str, Any]) -> None:
    assert _read(vector, bytes.fromhex(vector["bytes"])) == _packet(vector)


@_named([vector for vector in PACKETS if "other_form" not in vector])
def test_the_packet_becomes_the_bytes(vector: dict[str, Any]) -> None:
    assert codec.encode(_packet(vector), vector["version"]) == bytes.fromhex(vector["bytes"])


@_named(MALFORMED)
def test_malformed_bytes_are_refused_with_the_reason_code(vector: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        _read(vector, bytes.fromhex(vector["bytes"]))
    assert caught.value.reason_code == vector["reason_code"], str(caught.value)


@_named(PACKETS)
def test_v88_a_beginning_of_a_packet_is_no_packet(vector: dict[str, Any]) -> None:
    whole = bytes.fromhex(vector["bytes"])
    for size in range(len(whole)):
        assert codec.frame(whole[:size], 0, MAX_PACKET_BYTES) is None


@_named(PACKETS)
def test_v88_a_cut_body_is_another_packet_or_an_error(vector: dict[str, Any]) -> None:
    """What a shorter Remaining Length leaves never reads beyond its end and fails only by the rules."""
    whole = bytes.fromhex(vector["bytes"])
    found = codec.frame(whole, 0, MAX_PACKET_BYTES)
    assert found is not None
    first, start, stop = found
    for end in range(start, stop):
        outcomes = []
        for data in (whole, whole[:end] + b"\xff" * 8):
            try:
                packet = codec.decode(
                    first, data, start, end, vector["version"], from_client=vector["from"] == "client"
                )
                outcomes.append(repr(packet))
            except ProtocolError as error:
                outcomes.append(f"0x{error.reason_code:02x} {error}")
        assert outcomes[0] == outcomes[1]


@_named(PACKETS)
def test_a_byte_too_many_is_refused(vector: dict[str, Any]) -> None:
    """Payloads and lists may grow; everything else is 0x81, or in a list what the new entry lacks."""
    data = bytes.fromhex(vector["bytes"])
    found = codec.frame(data, 0, MAX_PACKET_BYTES)
    assert found is not None
    first, start, stop = found
    from_client = vector["from"] == "client"
    if vector["type"] in ("Publish", "Suback", "Unsuback") or stop - start < 2 <= vector["version"] - 3:
        return
    short_acknowledgement = vector["type"].startswith("Pub") and stop - start < 4
    if vector["version"] == 5 and short_acknowledgement:
        return
    with pytest.raises(ProtocolError) as caught:
        codec.decode(first, data + b"\x00", start, stop + 1, vector["version"], from_client=from_client)
    assert caught.value.reason_code == 0x81


@pytest.mark.parametrize("version", [4, 5])
def test_every_packet_type_has_a_vector(version: int) -> None:
    seen = {int(vector["bytes"][0], 16) for vector in PACKETS if vector["version"] == version}
    assert seen == set(PacketType) - ({PacketType.AUTH} if version == 4 else set())


def test_every_property_has_a_vector_in_every_packet_that_may_carry_it() -> None:
    seen = set()
    for vector in PACKETS:
        packet = _packet(vector)
        packet_type = bytes.fromhex(vector["bytes"])[0] >> 4
        seen |= {(packet_type, name) for name, value in msgspec.structs.asdict(packet).items() if value}
        will = getattr(packet, "will", None)
        if will is not None:
            seen |= {(properties.WILL, name) for name, value in msgspec.structs.asdict(will).items() if value}
        seen |= {
            (packet_type, name)
            for name in msgspec.structs.asdict(packet)
            if name.startswith(("request_", "retain_", "subscription_identifier_"))
            and getattr(packet, name) is not None
        }
    wanted = {(where, line.attribute) for line in properties.PROPERTIES for where in line.allowed_in}
    assert wanted <= seen


@_named(PACKETS)
def test_what_goes_on_to_receivers_means_the_same(vector: dict[str, Any]) -> None:
    packet = _packet(vector)
    if not isinstance(packet, packets.Publish) or vector["from"] != "client":
        return
    data = codec.encode_publish(b"a", packet.payload, version=5, forward=packet.forward)
    again = _read({"version": 5, "from": "client"}, data)
    wanted = msgspec.structs.replace(packet, topic="a", qos=0, dup=False, retain=False, packet_id=0)
    assert again == msgspec.structs.replace(wanted, topic_alias=None)
