"""Every packet type in every phase (V-12, V-67), against a table written apart from the code."""

from __future__ import annotations

import pytest

from tokenmq.errors import ProtocolError
from tokenmq.mqtt import codec, packets
from tokenmq.mqtt.connection import Connection, ConnectionLimits
from tokenmq.mqtt.phases import Phase

METHOD = {"authentication_method": "JWT"}
SAMPLES: dict[str, packets.Packet] = {
    "CONNECT": packets.Connect(5, "c"),
    "CONNACK": packets.Connack(),
    "PUBLISH": packets.Publish("a"),
    "PUBACK": packets.Puback(1),
    "PUBREC": packets.Pubrec(1),
    "PUBREL": packets.Pubrel(1),
    "PUBCOMP": packets.Pubcomp(1),
    "SUBSCRIBE": packets.Subscribe(1, (packets.Subscription("a"),)),
    "SUBACK": packets.Suback(1, (0,)),
    "UNSUBSCRIBE": packets.Unsubscribe(1, ("a",)),
    "UNSUBACK": packets.Unsuback(1, (0,)),
    "PINGREQ": packets.Pingreq(),
    "PINGRESP": packets.Pingresp(),
    "DISCONNECT": packets.Disconnect(),
    "AUTH-CONTINUE": packets.Auth(0x18, **METHOD),
    "AUTH-AGAIN": packets.Auth(0x19, **METHOD),
}
USUAL = "PUBLISH PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE UNSUBSCRIBE PINGREQ DISCONNECT"
# state -> what may come in it; everything else is 0x82 (in 3.1.1 AUTH may be 0x81).
TABLE = {
    "connecting": "CONNECT",
    "authenticating": "DISCONNECT",
    "authenticating by method": "DISCONNECT AUTH-CONTINUE",
    "authenticating 3.1.1": "DISCONNECT",
    "connected": USUAL,
    "connected by method": USUAL + " AUTH-AGAIN",
    "connected 3.1.1": USUAL,
    "re-authenticating": USUAL + " AUTH-AGAIN AUTH-CONTINUE",
    "re-authenticated": USUAL + " AUTH-AGAIN",
    "refused": "",
    "left": "",
    "failed": "",
}


def _give(connection: Connection, packet: packets.Packet) -> packets.Packet:
    data = codec.encode(packet, connection.version or 5)
    found = codec.frame(data, 0, connection.max_packet_bytes)
    assert found is not None
    first, start, stop = found
    return connection.accept(first, data, start, stop, 0.0)


def _in(state: str) -> Connection:
    connection = Connection(ConnectionLimits(), 0.0)
    if state == "connecting":
        return connection
    by_method = "method" in state or state.startswith("re-")
    connect = packets.Connect(5, "c", authentication_method="JWT") if by_method else packets.Connect(5, "c")
    _give(connection, packets.Connect(4, "c") if "3.1.1" in state else connect)
    if state.startswith("authenticating"):
        return connection
    if state == "refused":
        connection.refused(packets.Connack(0x87))
        return connection
    connection.connected(packets.Connack(), keep_alive_seconds=60)
    if state.startswith("re-"):
        _give(connection, SAMPLES["AUTH-AGAIN"])
    if state == "re-authenticated":
        connection.send(packets.Auth(0x00, "JWT"))
    if state == "left":
        _give(connection, packets.Disconnect())
    if state == "failed":
        with pytest.raises(ProtocolError):
            _give(connection, packets.Connect(5, "again"))
    return connection


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("state", TABLE)
def test_v12_v67_a_packet_comes_where_the_table_allows_it_and_closes_elsewhere(state: str, name: str) -> None:
    """[MQTT-3.1.0-1] [MQTT-3.1.0-2] [MQTT-3.1.2-30] [MQTT311-3.1.0-1] [MQTT311-3.1.0-2]."""
    connection = _in(state)
    packet = SAMPLES[name]
    if name in TABLE[state].split():
        assert type(_give(connection, packet)) is type(packet)
        assert (connection.phase == Phase.CLOSED) == (name == "DISCONNECT")
        return
    with pytest.raises(ProtocolError) as caught:
        _give(connection, packet)
    assert caught.value.reason_code in ((0x81, 0x82) if "3.1.1" in state else (0x82,))
    assert connection.phase == Phase.CLOSED


@pytest.mark.parametrize("state", TABLE)
def test_v12_a_first_byte_is_enough_to_refuse_what_may_not_come(state: str) -> None:
    for name, packet in SAMPLES.items():
        if name in TABLE[state].split():
            _in(state).check_first(codec.encode(packet, 5)[0])
        elif not name.startswith("AUTH"):
            with pytest.raises(ProtocolError) as caught:
                _in(state).check_first(codec.encode(packet, 5)[0])
            assert caught.value.reason_code == 0x82


def test_the_table_covers_every_phase() -> None:
    assert {_in(state).phase for state in TABLE} == set(Phase)
