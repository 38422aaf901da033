from __future__ import annotations

import pytest

from tokenmq.mqtt import codes
from tokenmq.mqtt.codes import PacketType, ReasonCode, connack_311


@pytest.mark.parametrize(
    ("reason_code", "return_code"),
    [
        (ReasonCode.SUCCESS, 0),
        (ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, 1),
        (ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, 2),
        (ReasonCode.SERVER_UNAVAILABLE, 3),
        (ReasonCode.SERVER_BUSY, 3),
        (ReasonCode.QUOTA_EXCEEDED, 3),
        (ReasonCode.CONNECTION_RATE_EXCEEDED, 3),
        (ReasonCode.BAD_USER_NAME_OR_PASSWORD, 4),
        (ReasonCode.NOT_AUTHORIZED, 5),
        (ReasonCode.QOS_NOT_SUPPORTED, 5),
        (ReasonCode.BANNED, 5),
    ],
)
def test_a_refusal_has_a_return_code_in_311(reason_code: ReasonCode, return_code: int) -> None:
    assert connack_311(reason_code) == return_code


@pytest.mark.parametrize("reason_code", [code for code in range(256) if code])
def test_no_refusal_becomes_an_acceptance_in_311(reason_code: int) -> None:
    assert 1 <= connack_311(reason_code) <= 5


def test_311_return_codes_survive_the_way_there_and_back() -> None:
    assert [connack_311(code) for code in codes.CONNACK_FROM_311] == [0, 1, 2, 3, 4, 5]


def test_there_are_fifteen_packet_types_and_the_standards_reason_codes() -> None:
    assert sorted(PacketType) == list(range(1, 16))
    assert len(list(ReasonCode)) == 43
    assert ReasonCode.NORMAL_DISCONNECTION is ReasonCode.GRANTED_QOS_0 is ReasonCode.SUCCESS


def test_every_table_names_real_reason_codes() -> None:
    tables = [value for name, value in vars(codes).items() if "_CODES" in name and name.isupper()]
    assert len(tables) == 11
    assert set().union(*tables) == {int(code) for code in ReasonCode}
