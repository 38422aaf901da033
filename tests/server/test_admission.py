"""Limits on connections: total, per address, rate per address."""

import dataclasses
import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.config import BrokerSettings
from tokenmq.server import admission
from tokenmq.server.admission import Admission, Refusal, room_for_connections


def make_admission(**changes: object) -> Admission:
    return Admission(dataclasses.replace(BrokerSettings(), **changes))


def test_connection_over_the_total_is_refused_and_leaving_makes_room() -> None:
    limits = make_admission(max_connections=2)

    assert limits.enter("127.0.0.1", 0.0) is None
    assert limits.enter("192.0.2.1", 0.0) is None
    assert limits.enter("127.0.0.1", 0.0) is Refusal.TOO_MANY
    limits.leave("192.0.2.1")
    assert limits.enter("127.0.0.1", 0.0) is None
    assert limits.connections == 2


def test_connection_over_the_limit_of_its_address_is_refused() -> None:
    limits = make_admission(max_connections_per_address=2)

    assert [limits.enter("192.0.2.1", 0.0) for _ in range(3)] == [None, None, Refusal.TOO_MANY]
    assert limits.enter("192.0.2.2", 0.0) is None
    limits.leave("192.0.2.1")
    assert limits.enter("192.0.2.1", 0.0) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "10.1.2.3"])
def test_loopback_and_trusted_proxies_have_no_limit_of_their_own(address: str) -> None:
    limits = make_admission(
        max_connections_per_address=1, connect_burst_per_address=1, trusted_proxies=("10.0.0.0/8",)
    )

    assert [limits.enter(address, 0.0) for _ in range(50)] == [None] * 50


def test_ipv6_host_is_its_64() -> None:
    limits = make_admission(max_connections_per_address=1)

    assert limits.enter("2001:db8::1", 0.0) is None
    assert limits.enter("2001:db8::ffff:1", 0.0) is Refusal.TOO_MANY
    assert limits.enter("2001:db8:0:1::1", 0.0) is None


def test_connects_faster_than_the_rate_are_refused_after_the_burst() -> None:
    limits = make_admission(connect_rate_per_address=2, connect_burst_per_address=3)

    assert [limits.enter("192.0.2.1", 0.0) for _ in range(4)] == [None, None, None, Refusal.TOO_FAST]
    assert [limits.enter("192.0.2.1", 0.5) for _ in range(2)] == [None, Refusal.TOO_FAST]
    assert [limits.enter("192.0.2.1", 9.0) for _ in range(4)] == [None, None, None, Refusal.TOO_FAST]


def test_all_together_have_no_rate_unless_one_is_set() -> None:
    limits = make_admission()

    assert [limits.enter("127.0.0.1", 0.0) for _ in range(5_000)] == [None] * 5_000


def test_connects_of_all_that_come_faster_than_their_rate_are_refused_loopback_too() -> None:
    limits = make_admission(connect_rate=3)
    addresses = ["127.0.0.1", "192.0.2.1", "192.0.2.2", "127.0.0.1", "192.0.2.3"]

    assert [limits.enter(address, 9.0) for address in addresses] == [None] * 3 + [Refusal.TOO_FAST] * 2
    assert limits.connections == 3
    assert [limits.enter("127.0.0.1", 9.5) for _ in range(2)] == [None, Refusal.TOO_FAST]
    assert [limits.enter("192.0.2.9", 20.0) for _ in range(4)] == [None] * 3 + [Refusal.TOO_FAST]


def test_one_that_its_address_may_not_open_costs_the_others_no_turn() -> None:
    limits = make_admission(connect_rate=2, max_connections_per_address=1)

    assert limits.enter("192.0.2.1", 0.0) is None
    assert limits.enter("192.0.2.1", 0.0) is Refusal.TOO_MANY
    assert limits.enter("192.0.2.2", 0.0) is None


def test_refused_connects_do_not_put_off_the_next_good_one() -> None:
    limits = make_admission(connect_rate_per_address=1, connect_burst_per_address=1)
    limits.enter("192.0.2.1", 0.0)

    for tenth in range(1, 10):
        assert limits.enter("192.0.2.1", tenth / 10) is Refusal.TOO_FAST
    assert limits.enter("192.0.2.1", 1.0) is None


@given(
    rate=st.sampled_from([1, 2, 4]),
    burst=st.integers(1, 4),
    waits=st.lists(st.integers(0, 8), max_size=40),
)
def test_rate_is_that_of_a_bucket_of_tokens(rate: int, burst: int, waits: list[int]) -> None:
    limits = make_admission(connect_rate_per_address=rate, connect_burst_per_address=burst)
    # Eighths of a second and rates that are powers of two: every number here is exact.
    tokens, mono = float(burst), 0.0
    for wait in waits:
        mono += wait / 8
        tokens = min(float(burst), tokens + wait / 8 * rate)
        expected = None if tokens >= 1 else Refusal.TOO_FAST
        tokens -= expected is None
        assert limits.enter("192.0.2.1", mono) is expected


def test_memory_for_rates_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_RATED_ADDRESSES", 100)
    limits = make_admission(connect_burst_per_address=1)

    for number in range(1_000):
        assert limits.enter(f"198.51.{number // 250}.{number % 250}", 0.0) is None
    assert len(limits._whole_at) == 100
    # Those seen last are still known.
    assert limits.enter("198.51.3.249", 0.0) is Refusal.TOO_FAST


def test_nothing_is_remembered_of_an_address_without_connections_but_its_rate() -> None:
    limits = make_admission()
    limits.enter("192.0.2.1", 0.0)
    limits.leave("192.0.2.1")

    assert limits._counts == {}


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "room", "raised_to"),
    [
        (1_024, 1_048_576, 20_000, 20_000, 21_000),
        (1_024, resource.RLIM_INFINITY, 20_000, 20_000, 21_000),
        (1_024, 4_096, 20_000, 3_096, 4_096),
        (256, 256, 20_000, 192, 256),
        (30_000, 30_000, 20_000, 20_000, None),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 20_000, 20_000, None),
    ],
)
def test_room_is_what_the_systems_descriptors_allow(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, wanted: int, room: int, raised_to: int | None
) -> None:
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: calls.append(limits))

    assert room_for_connections(wanted) == room
    assert calls == ([] if raised_to is None else [(raised_to, hard)])


@pytest.mark.parametrize(
    ("address", "is_one"),
    [("10.1.2.3", True), ("2001:db8::1", True), ("127.0.0.1", False), ("192.0.2.1", False)],
)
def test_proxies_are_those_that_are_named(address: str, is_one: bool) -> None:
    assert make_admission(trusted_proxies=("10.0.0.0/8", "2001:db8::1")).is_proxy(address) is is_one
    assert make_admission().is_proxy(address) is False


def test_connection_of_a_proxy_that_becomes_its_clients_is_counted_once() -> None:
    limits = make_admission(max_connections_per_address=1, trusted_proxies=("10.0.0.0/8",))
    for _ in range(3):
        assert limits.enter("10.0.0.1", 0.0) is None

    assert limits.move("10.0.0.1", "192.0.2.1", 0.0) is None
    assert limits.connections == 3
    assert limits.move("10.0.0.1", "192.0.2.1", 0.0) is Refusal.TOO_MANY
    assert limits.connections == 2
    limits.leave("192.0.2.1")
    limits.leave("10.0.0.1")
    assert limits.connections == 0
