"""What a message may be sent with."""

from typing import Any

import pytest

from tokenmq.client.properties import check_properties, check_qos
from tokenmq.errors import InvalidRequest


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"content_type": "", "correlation_data": b"", "user_properties": []},
        {"content_type": "é" * 32_767, "response_topic": "a/b", "correlation_data": b"x" * 65_535},
        {"message_expiry_seconds": 0, "is_text": True},
        {"message_expiry_seconds": 4_294_967_295, "user_properties": [("a", "1"), ["a", "2"]]},
    ],
)
def test_properties_of_mqtt_5_are_taken(told: Any) -> None:
    check_properties(told)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("content_type", 5),
        ("content_type", "x" * 65_536),
        ("content_type", "\0"),
        ("content_type", "\ud800"),
        ("response_topic", "a/+"),
        ("response_topic", ""),
        ("response_topic", None),
        ("correlation_data", "text"),
        ("correlation_data", b"x" * 65_536),
        ("message_expiry_seconds", -1),
        ("message_expiry_seconds", 2**32),
        ("message_expiry_seconds", 1.5),
        ("message_expiry_seconds", True),
        ("is_text", "yes"),
        ("user_properties", {"a": "1"}),
        ("user_properties", [("a", 1)]),
        ("user_properties", [("a",)]),
        ("colour", "red"),
    ],
)
def test_what_is_none_is_refused_by_its_name_and_not_shown(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_properties({name: value})  # type: ignore[misc]
    assert caught.value.problems[0][0] == name
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("qos", [-1, 3, "1", 1.0, True, None])
def test_what_is_no_quality_of_service_is_refused(qos: object) -> None:
    with pytest.raises(InvalidRequest, match="qos: is 0, 1 or 2"):
        check_qos(qos)
