"""Which side may send which reason code, all 256 of them, against the standard's tables."""

from __future__ import annotations

import pytest

from tokenmq.errors import ProtocolError
from tokenmq.mqtt import codec

PUBACK = "00 80 83 87 90 91 97 99"
CLIENT_DISCONNECT = "00 04 80 81 82 83 90 93 94 95 96 97 98 99"
SERVER_DISCONNECT = "00 80 81 82 83 87 89 8b 8c 8d 8e 8f 90 93 94 95 96 97 98 99 9a 9b 9c 9d 9e 9f a0 a1 a2"
METHOD = "06 15 0003 4a5754"
# first byte, before the code, after it, from client, allowed
CASES = {
    "connack": ("20", "00", "00", False, "00 80 81 82 83 84 85 86 87 88 89 8a 8c 90 95 97 99 9a 9b 9c 9d 9f"),
    "puback of a client": ("40", "0001", "", True, PUBACK),
    "puback of a server": ("40", "0001", "", False, PUBACK + " 10"),
    "pubrec of a client": ("50", "0001", "00", True, PUBACK),
    "pubrec of a server": ("50", "0001", "", False, PUBACK + " 10"),
    "pubrel": ("62", "0001", "", True, "00 92"),
    "pubcomp": ("70", "0001", "00", False, "00 92"),
    "suback": ("90", "0001 00", "", False, "00 01 02 80 83 87 8f 91 97 9e a1 a2"),
    "unsuback": ("b0", "0001 00", "", False, "00 11 80 83 87 8f 91"),
    "disconnect of a client": ("e0", "", "", True, CLIENT_DISCONNECT),
    "disconnect of a server": ("e0", "", "00", False, SERVER_DISCONNECT),
    "auth of a client": ("f0", "", METHOD, True, "18 19"),
    "auth of a server": ("f0", "", METHOD, False, "00 18"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_only_the_reason_codes_of_the_packet_and_the_sender_are_accepted(
    case: tuple[str, str, str, bool, str],
) -> None:
    """[MQTT-3.2.2-8] [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1] [MQTT-3.9.3-2].

    [MQTT-3.11.3-2] [MQTT-3.14.2-1] [MQTT-3.15.2-1].
    """
    first, before, after, from_client, allowed = case
    outcomes: dict[int, int | None] = {}
    for code in range(256):
        data = bytes.fromhex(before) + bytes((code,)) + bytes.fromhex(after)
        outcomes[code] = None
        try:
            codec.decode(*(int(first, 16), data, 0, len(data), 5), from_client=from_client)
        except ProtocolError as error:
            outcomes[code] = error.reason_code
    accepted = bytes.fromhex(allowed)
    assert outcomes == {code: None if code in accepted else 0x82 for code in range(256)}
