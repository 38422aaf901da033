import pytest

from bench import ring, wire


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_fixed_ring_has_packets_of_one_size_and_no_two_alike(qos: int) -> None:
    one = ring.fixed("bench/0", slots=256, payload_bytes=64, qos=qos, version=4)
    assert one.size == 2 + 2 + len("bench/0") + (2 if qos else 0) + 64
    assert len(set(one.packets)) == one.slots == 256
    assert len(one.data) == len(one.expected) == 2 * 256 * one.size


def test_scattered_ring_has_packets_of_one_size_each_on_a_topic_of_its_own() -> None:
    one = ring.fixed("bench/0", slots=256, payload_bytes=64, qos=0, version=4, scattered=True)
    assert one.size == 2 + 2 + len("bench/0/00000") + 64
    assert len({message.topic for message in one.messages}) == 256


def test_varied_ring_changes_topic_and_size_from_message_to_message() -> None:
    one = ring.varied("bench/0", slots=256, qos=1, version=5, properties=wire.common_properties())
    assert one.size == 0
    for before, after in zip(one.messages, one.messages[1:256], strict=False):
        assert before.topic != after.topic
        assert len(before.payload) != len(after.payload)


@pytest.mark.parametrize("build", ["fixed", "varied"])
def test_run_is_the_concatenation_of_its_packets_round_the_circle(build: str) -> None:
    one = (
        ring.fixed("t", slots=8, payload_bytes=16, qos=1, version=4)
        if build == "fixed"
        else ring.varied("t", slots=8, qos=1, version=4)
    )
    assert bytes(one.run(6, 5)) == b"".join(one.packets[slot % 8] for slot in range(6, 11))


def test_expected_has_every_packet_id_zeroed_and_nothing_else() -> None:
    one = ring.varied("t", slots=16, qos=1, version=5)
    filled = bytearray(one.expected)
    for slot, at in enumerate(one.id_offsets):
        assert filled[at : at + 2] == b"\0\0"
        filled[at : at + 2] = (slot % 16 + 1).to_bytes(2, "big")
    assert filled == one.data
