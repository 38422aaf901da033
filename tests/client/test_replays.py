"""However connections end, a history goes on with nothing missing and nothing twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tokenmq.client import replays
from tokenmq.client.replays import Replay


class Broker:
    """A broker of one subscription, as the wire contract has it.

    Attributes:
        log: ids of everything that was published, in order.
    """

    def __init__(self) -> None:
        self.log: list[int] = []
        self._queue: list[int] = []

    def publish(self, *, is_queued: bool) -> int:
        """Take a message in while nobody is connected."""
        self.log.append(64 * (len(self.log) + 1))
        if is_queued:
            self._queue.append(self.log[-1])
        return self.log[-1]

    def subscribe(self, asked: list[tuple[str, str]], *, session_present: bool) -> list[int]:
        """Return what comes by a SUBSCRIBE: what is queued, then what is replayed."""
        if not session_present:
            self._queue.clear()
        ((name, value),) = asked
        after = int(value) if name == replays.AFTER else 0
        replayed = [one for one in self.log if one > after and one not in self._queue]
        return [*self._queue, *replayed]

    def sent(self, ids: list[int]) -> None:
        """So much has come before the connection was lost: the rest of a replay is gone."""
        self._queue = [one for one in self._queue if one not in ids]


CONNECTIONS = st.lists(
    st.tuples(
        st.booleans(),  # the session goes on
        st.lists(st.booleans(), max_size=4),  # published before it, queued or not
        st.integers(0, 6),  # so much comes before it is lost
        st.integers(0, 2),  # live messages, if everything has come
    ),
    max_size=8,
)


@given(CONNECTIONS)
def test_nothing_is_missing_and_nothing_comes_twice(
    connections: list[tuple[bool, list[bool], int, int]],
) -> None:
    broker, replay, got = Broker(), Replay([(replays.COUNT, "1000")]), []
    last = (False, [True], 10**6, 1)
    for number, (session_present, published, most, live) in enumerate([*connections, last]):
        for is_queued in published:
            broker.publish(is_queued=is_queued and number > 0)
        session_present = session_present and number > 0
        replay.begins(session_present=session_present)
        stream = broker.subscribe(replay.asked(), session_present=session_present)
        come = stream[:most]
        broker.sent(come)
        if come == stream:
            come += [broker.publish(is_queued=False) for _ in range(live)]
        got += [one for one in come if replay.takes(one)]
    assert sorted(got) == broker.log


def test_what_is_remembered_is_bounded() -> None:
    replay = Replay([], 64)
    replay.begins(session_present=True)
    for number in range(2, replays.SETTLED + 2):
        assert replay.takes(64 * number) and not replay.takes(64 * number)
    assert replay.asked() == [(replays.AFTER, str(64 * (replays.SETTLED + 1)))]
