"""Properties of the whole codec: round trip, chunking, fuzz, time and memory."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmq.errors import ProtocolError
from tokenmq.mqtt import codec, codes, packets, properties
from tokenmq.mqtt.codes import PacketType

MAX_PACKET_BYTES = 1_048_576
FIRST_BYTES = [0x10, 0x20, *range(0x30, 0x36), *range(0x3A, 0x3E), 0x40, 0x50, 0x62, 0x70]
FIRST_BYTES += [0x82, 0x90, 0xA2, 0xB0, 0xC0, 0xD0, 0xE0, 0xF0]

# What every packet is made of.
text = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=12)
topic = st.text(
    st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="+#"), min_size=1, max_size=12
)
binary = st.binary(max_size=12)
two_bytes = st.integers(0, 0xFFFF)
four_bytes = st.integers(0, 0xFFFF_FFFF)
packet_id = st.integers(1, 0xFFFF)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "payload_format_indicator": st.just(0),
    "message_expiry_interval": four_bytes,
    "response_topic": topic,
    "correlation_data": binary,
    "subscription_identifiers": st.lists(st.integers(1, 268_435_455), max_size=3).map(tuple),
    "subscription_identifier": st.integers(1, 268_435_455),
    "session_expiry_interval": four_bytes,
    "server_keep_alive": two_bytes,
    "authentication_data": binary,
    "will_delay_interval": four_bytes,
    "receive_maximum": st.integers(1, 0xFFFF),
    "topic_alias_maximum": two_bytes,
    "topic_alias": st.integers(1, 0xFFFF),
    "maximum_qos": st.integers(0, 1),
    "user_properties": st.lists(st.tuples(text, text), max_size=3).map(tuple),
    "maximum_packet_size": st.integers(1, 0xFFFF_FFFF),
}


def _kind(attribute: str) -> st.SearchStrategy[Any]:
    if attribute.startswith("request_") or attribute.endswith("_available"):
        return st.booleans()
    return VALUES.get(attribute, text)


def _made(kind: type[Any], packet_type: int, version: int, *without: str, **fields: Any) -> Any:
    """Make packets of a kind, in MQTT 5 with any of the properties that it may carry."""
    if version == 5:
        for line in properties.PROPERTIES:
            if packet_type in line.allowed_in and line.attribute not in (*without, *fields):
                values = _kind(line.attribute)
                fields[line.attribute] = values if line.repeatable else st.none() | values
    return st.builds(kind, **fields)


def _publish(version: int, *, from_client: bool) -> Any:
    without = ("subscription_identifiers",) if from_client else ("topic_alias",)
    made = _made(
        packets.Publish,
        PacketType.PUBLISH,
        version,
        *without,
        topic=topic,
        payload=binary,
        qos=st.integers(0, 2),
        retain=st.booleans(),
        dup=st.booleans(),
        packet_id=packet_id,
    )
    return made.map(
        lambda packet: packet if packet.qos else msgspec.structs.replace(packet, dup=False, packet_id=0)
    )


def _connect(version: int) -> Any:
    will = _made(
        packets.Will,
        properties.WILL,
        version,
        topic=topic,
        payload=binary,
        qos=st.integers(0, 2),
        retain=st.booleans(),
    )
    made = _made(
        packets.Connect,
        PacketType.CONNECT,
        version,
        protocol_version=st.just(version),
        client_id=text.filter(bool),
        clean_start=st.booleans(),
        keep_alive=two_bytes,
        username=text if version == 4 else st.none() | text,
        password=st.none() | binary,
        will=st.none() | will,
    )
    return made.filter(lambda one: one.authentication_data is None or one.authentication_method is not None)


def _connack(version: int) -> Any:
    reason_codes = codes.CONNACK_FROM_311 if version == 4 else sorted(codes.CONNACK_CODES)
    made = _made(
        packets.Connack,
        PacketType.CONNACK,
        version,
        reason_code=st.sampled_from([int(code) for code in reason_codes]),
        session_present=st.booleans(),
    )
    return made.filter(lambda one: not (one.session_present and one.reason_code))


def _lists(version: int, *, from_client: bool) -> list[Any]:
    if from_client:
        flag = st.booleans() if version == 5 else st.just(False)
        subscription = st.builds(
            packets.Subscription,
            topic_filter=st.sampled_from(["a/#", "+", "$share/g/a", "", "a\x01"]),
            qos=st.integers(0, 2),
            no_local=st.just(False),
            retain_as_published=flag,
            retain_handling=st.integers(0, 2) if version == 5 else st.just(0),
        )
        subscriptions = st.lists(subscription, min_size=1, max_size=4).map(tuple)
        filters = st.lists(text, min_size=1, max_size=4).map(tuple)
        return [
            _made(
                packets.Subscribe,
                PacketType.SUBSCRIBE,
                version,
                packet_id=packet_id,
                subscriptions=subscriptions,
            ),
            _made(
                packets.Unsubscribe,
                PacketType.UNSUBSCRIBE,
                version,
                packet_id=packet_id,
                topic_filters=filters,
            ),
        ]
    subacks = codes.SUBACK_CODES if version == 5 else codes.SUBACK_CODES_311
    some = st.lists(st.sampled_from(sorted(subacks)), min_size=1, max_size=4).map(tuple)
    others = st.lists(st.sampled_from(sorted(codes.UNSUBACK_CODES)), min_size=1, max_size=4).map(tuple)
    return [
        _made(packets.Suback, PacketType.SUBACK, version, packet_id=packet_id, reason_codes=some),
        _made(
            packets.Unsuback,
            PacketType.UNSUBACK,
            version,
            packet_id=packet_id,
            reason_codes=others if version == 5 else st.just(()),
        ),
    ]


def _acknowledgements(version: int, *, from_client: bool) -> list[Any]:
    acks = codes.CLIENT_PUBACK_CODES if from_client else codes.SERVER_PUBACK_CODES
    kinds = [
        (packets.Puback, PacketType.PUBACK, acks),
        (packets.Pubrec, PacketType.PUBREC, acks),
        (packets.Pubrel, PacketType.PUBREL, codes.PUBREL_CODES),
        (packets.Pubcomp, PacketType.PUBCOMP, codes.PUBREL_CODES),
    ]
    return [
        _made(
            kind,
            packet_type,
            version,
            packet_id=packet_id,
            reason_code=st.sampled_from(sorted(allowed)) if version == 5 else st.just(0),
        )
        for kind, packet_type, allowed in kinds
    ]


def any_packet(version: int, *, from_client: bool) -> Any:
    """Make any packet that this side may send in this version."""
    made = [
        _publish(version, from_client=from_client),
        *_acknowledgements(version, from_client=from_client),
        *_lists(version, from_client=from_client),
        st.just(packets.Pingreq() if from_client else packets.Pingresp()),
        _connect(version) if from_client else _connack(version),
    ]
    leaving = codes.CLIENT_DISCONNECT_CODES if from_client else codes.SERVER_DISCONNECT_CODES
    if version == 5:
        without = "server_reference" if from_client else "session_expiry_interval"
        codes_5 = st.sampled_from(sorted(leaving))
        made.append(_made(packets.Disconnect, PacketType.DISCONNECT, 5, without, reason_code=codes_5))
        auth_codes = st.sampled_from(
            sorted(codes.CLIENT_AUTH_CODES if from_client else codes.SERVER_AUTH_CODES)
        )
        made.append(
            _made(packets.Auth, PacketType.AUTH, 5, reason_code=auth_codes, authentication_method=text)
        )
    elif from_client:
        made.append(st.just(packets.Disconnect()))
    return st.one_of(made)


SIDES = [(4, True), (4, False), (5, True), (5, False)]
ANY = {side: any_packet(side[0], from_client=side[1]) for side in SIDES}
any_side = st.one_of([st.tuples(st.just(side), made) for side, made in ANY.items()])
unhurried = settings(deadline=None)


def read(data: bytes, version: int, *, from_client: bool) -> Any:
    """Read the one packet that the bytes are, without the forward block."""
    found = codec.frame(data, 0, MAX_PACKET_BYTES)
    assert found is not None and found[2] == len(data)
    first, start, stop = found
    packet = codec.decode(first, data, start, stop, version, from_client=from_client)
    return msgspec.structs.replace(packet, forward=b"") if isinstance(packet, packets.Publish) else packet


@unhurried
@given(any_side)
def test_every_packet_survives_the_round_trip_and_no_beginning_is_one(made: Any) -> None:
    (version, from_client), packet = made
    data = codec.encode(packet, version)
    again = read(data, version, from_client=from_client)
    assert again == packet
    assert codec.encode(again, version) == data
    assert all(codec.frame(data[:size], 0, MAX_PACKET_BYTES) is None for size in range(len(data)))


@unhurried
@given(st.lists(ANY[5, True], max_size=6), st.data())
def test_v88_any_chunking_gives_the_same_packets(many: list[Any], data: st.DataObject) -> None:
    stream = b"".join(codec.encode(packet, 5) for packet in many)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(sorted))
    seen: list[Any] = []
    kept = b""
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        kept += stream[start:stop]
        pos = 0
        while (found := codec.frame(kept, pos, MAX_PACKET_BYTES)) is not None:
            packet = codec.decode(*(found[0], kept, found[1], found[2], 5))
            seen.append(packet)
            pos = found[2]
        kept = kept[pos:]
    assert kept == b""
    assert [codec.encode(packet, 5) for packet in seen] == [codec.encode(packet, 5) for packet in many]


def _tried(data: bytes, version: int, *, from_client: bool) -> Any:
    with contextlib.suppress(ProtocolError):
        found = codec.frame(data, 0, MAX_PACKET_BYTES)
        if found is not None:
            first, start, stop = found
            return codec.decode(first, data, start, stop, version, from_client=from_client)
    return None


@settings(unhurried, max_examples=300)
@given(st.binary(max_size=60), st.sampled_from(SIDES))
def test_random_bytes_raise_nothing_but_protocol_errors(data: bytes, side: tuple[int, bool]) -> None:
    _tried(data, side[0], from_client=side[1])


@settings(unhurried, max_examples=300)
@given(st.sampled_from(FIRST_BYTES), st.binary(max_size=60), st.sampled_from(SIDES))
def test_random_bodies_raise_nothing_but_protocol_errors(
    first: int, body: bytes, side: tuple[int, bool]
) -> None:
    packet = _tried(bytes((first, len(body))) + body, side[0], from_client=side[1])
    if packet is not None:  # what was accepted can be said again
        again = read(codec.encode(packet, side[0]), side[0], from_client=side[1])
        if isinstance(packet, packets.Publish):
            packet = msgspec.structs.replace(packet, forward=b"")
        assert again == packet


@settings(unhurried, max_examples=300)
@given(any_side, st.data())
def test_mutated_packets_raise_nothing_but_protocol_errors(made: Any, data: st.DataObject) -> None:
    (version, from_client), packet = made
    changed = bytearray(codec.encode(packet, version))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        what = data.draw(st.sampled_from(["set", "insert", "delete"]))
        if what == "set":
            changed[at] = data.draw(st.integers(0, 255))
        elif what == "insert":
            changed.insert(at, data.draw(st.integers(0, 255)))
        elif len(changed) > 1:
            del changed[at]
    _tried(bytes(changed), data.draw(st.sampled_from([4, 5])), from_client=from_client)
