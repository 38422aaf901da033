"""What all queues hold together, counted as it is, and given up by those that hold most."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from tokenmq.broker.counters import Counters
from tokenmq.broker.waiting import Largest, Queues, Share

OWN = 10
LIMIT = 500


class Line:
    """A queue of objects that others may hold, too."""

    def __init__(self, share: Share) -> None:
        self.share = share
        self.held: deque[bytearray] = deque()
        self.weight = self.size_class = 0
        self.given = 0

    def put(self, held: bytearray) -> None:
        self.held.append(held)
        self.share.enter(self, held, len(held), OWN)

    def take(self) -> None:
        held = self.held.popleft()
        self.share.leave(self, held, len(held), OWN)

    def give_oldest(self) -> int:
        self.take()
        self.given += 1
        return 1


def cost(lines: list[Line]) -> int:
    """Count from nothing what some queues hold: each entry, and each object once."""
    objects = {id(held): len(held) for line in lines for held in line.held}
    return sum(objects.values()) + OWN * sum(len(line.held) for line in lines)


def weight(line: Line) -> int:
    return sum(len(held) + OWN for held in line.held)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sets(st.integers(0, 5), min_size=1), st.integers(0, 300)),
        st.tuples(st.just("take"), st.integers(0, 5)),
        st.tuples(st.just("exchange"), st.integers(0, 5), st.integers(0, 300)),
    ),
    max_size=40,
)


@given(steps)
def test_what_is_counted_is_what_is_there_and_within_the_limit(steps):
    counters = Counters()
    queues = Queues(LIMIT, counters)
    shares = [Share(queues), Share(queues)]
    lines = [Line(shares[number % 2]) for number in range(6)]
    for step in steps:
        if step[0] == "put":
            for organization in (0, 1):
                held = bytearray(step[2])
                for number in sorted(step[1]):
                    if number % 2 == organization:
                        lines[number].put(held)
            assert queues.bytes <= LIMIT
        elif lines[step[1]].held:
            line = lines[step[1]]
            if step[0] == "take":
                line.take()
            else:
                own = bytearray(step[2])
                line.share.exchange(line, line.held[0], len(line.held[0]), own, len(own))
                line.held[0] = own
        assert queues.bytes == cost(lines[0::2]) + cost(lines[1::2])
        assert [share.bytes for share in shares] == [cost(lines[0::2]), cost(lines[1::2])]
        assert [line.weight for line in lines] == [weight(line) for line in lines]
    assert counters.crowded_out == sum(line.given for line in lines)


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 10_000)), min_size=1))
def test_the_first_is_one_of_the_largest_within_a_factor_of_two(steps):
    largest: Largest[int] = Largest()
    sizes = dict.fromkeys(range(8), 0)
    for item, size in steps:
        largest.move(item, sizes[item].bit_length(), size.bit_length())
        sizes[item] = size
        if any(sizes.values()):
            assert 2 * sizes[largest.first()] > max(sizes.values())


def test_the_organization_that_holds_most_gives_though_another_has_the_longest_queue():
    queues = Queues(LIMIT, Counters())
    flooded, quiet = Share(queues), Share(queues)
    victim = Line(quiet)
    for _ in range(8):
        victim.put(bytearray(10))  # 160 in one queue
    flood = [Line(flooded) for _ in range(60)]
    for line in flood:
        line.put(bytearray(10))  # 20 in each of many
    assert not victim.given
    assert sum(line.given for line in flood) == 60 - (LIMIT - 160) // 20


def test_what_many_share_is_there_once():
    queues = Queues(LIMIT, Counters())
    share = Share(queues)
    held = bytearray(200)
    lines = [Line(share) for _ in range(30)]
    for line in lines:
        line.put(held)
    assert queues.bytes == 500
    assert not any(line.given for line in lines)
