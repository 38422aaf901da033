"""What the history costs its store: `python -m bench.recorded --folder DIR` prints one JSON object.

In a process of its own and without a broker, on a database of its own below the folder. A million messages
of 64 B are recorded on 10,000 topics, 100 on each, as many as each may have. *Last* is the last 50 of one
topic, with what they say: of a topic that is asked for the first time, the median of many. Then messages go
on at 2,000 a second on topics by chance, handed in as the broker does it: what has come meanwhile, when the
last is settled. First nothing has to go for them (*plain*), then each makes one go (*trimmed*), then a sweep
beside them drops half of all that there is, for the rule was made smaller (*swept*). *Longest* is the longest
commit of that time in milliseconds, *kept_up* the share of the rate that was reached.
"""

import argparse
import asyncio
import itertools
import json
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tokenmq.access.recording import HistoryRule, HistoryRules
from tokenmq.broker.records import Change, HistoryRecord, put
from tokenmq.errors import Unavailable
from tokenmq.stores.history import HistoryQuery
from tokenmq.stores.sql import SqlStore
from tokenmq.tokens.records import OrganizationRecord, OrganizationSettings

ORG = "org_aaaaaaaaaaaa"
TOPIC_MESSAGES = 100
# More than there ever are.
MUCH = 10_000
PAYLOAD = bytes(64)
GROUP = 500
# Groups that wait for their commits at one time.
OUTSTANDING = 4
ASKED = 50
QUERIES = 200
RATE, SECONDS = 2_000, 5
TICK_SECONDS = 0.01


class Commits:
    """Stands in for the writer's histogram, and keeps how long each commit took."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def observe(self, seconds: float) -> None:
        """Take one."""
        self.seconds.append(seconds)


class Recorder:
    """Hands messages to a store, in groups.

    Attributes:
        most: how many of each topic there may be.
    """

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self.most = MUCH
        self._ids = itertools.count(64, 64)
        self._places = asyncio.Semaphore(OUTSTANDING)
        self._failed: Unavailable | None = None

    async def record(self, topics: Iterator[int], count: int) -> None:
        """Hand in a group as soon as few others wait."""
        await self._places.acquire()
        self._store.kept.save([self._message(next(topics)) for _ in range(count)], self._settled)

    async def finish(self) -> None:
        """Wait for all of them.

        Raises: Unavailable if one failed.
        """
        for _ in range(OUTSTANDING):
            await self._places.acquire()
        for _ in range(OUTSTANDING):
            self._places.release()
        if self._failed is not None:
            raise self._failed

    def _message(self, topic: int) -> Change:
        id_ = next(self._ids)
        return put(
            HistoryRecord(
                id=id_, org_id=ORG, topic=f"rooms/{topic}/said", payload=PAYLOAD, qos=1, retain=False,
                forward=b"", at=time.time(), expires_at=None, user_id=f"user-{topic % 100}",
                most=self.most,
            )
        )  # fmt: skip

    def _settled(self, error: Unavailable | None) -> None:
        self._failed = self._failed or error
        self._places.release()


async def run(folder: Path, messages: int) -> dict[str, float]:
    """Record, ask, and record on."""
    topics = messages // TOPIC_MESSAGES
    store = await SqlStore.open_folder(folder)
    try:
        organization = OrganizationRecord(ORG, "bench", OrganizationSettings(), 0)
        await store.organizations.create(organization, applied=lambda made: made)
        recorder = Recorder(store)
        began = time.perf_counter()
        in_turn = itertools.cycle(range(topics))
        for _ in range(messages // GROUP):
            await recorder.record(in_turn, GROUP)
        await recorder.finish()
        per_s = messages / (time.perf_counter() - began)
        last = [await _ask(store, topic) for topic in random.sample(range(topics), min(QUERIES, topics))]
        figures = await _going_on("plain", store, recorder, topics)
        await _sweep(store, TOPIC_MESSAGES)
        recorder.most = TOPIC_MESSAGES
        figures |= await _going_on("trimmed", store, recorder, topics)
        sweep = asyncio.create_task(_sweep(store, TOPIC_MESSAGES // 2))
        figures |= await _going_on("swept", store, recorder, topics)
        sweep.cancel()
        await asyncio.wait([sweep])
    finally:
        await store.close()
    return {
        "per_s": per_s,
        "last_ms": statistics.median(last) * 1e3,
        "last_p95_ms": sorted(last)[len(last) * 95 // 100] * 1e3,
        **figures,
    }


async def _going_on(name: str, store: SqlStore, recorder: Recorder, topics: int) -> dict[str, float]:
    """Record on; return how long the commits took."""
    commits = Commits()
    store.writer.commit_seconds = commits  # type: ignore[assignment]
    kept_up = await _go_on(recorder, topics)
    return {
        f"{name}_longest_ms": max(commits.seconds) * 1e3,
        f"{name}_usual_ms": statistics.median(commits.seconds) * 1e3,
        f"{name}_kept_up": kept_up,
    }


async def _sweep(store: SqlStore, most: int) -> None:
    """Sweep under a rule that leaves so many messages of each topic."""
    rules = HistoryRules((HistoryRule("#", 86_400, most),))
    while await store.history.sweep(ORG, rules, now=time.time()):
        pass


async def _ask(store: SqlStore, topic: int) -> float:
    """Ask for the last messages of a topic; return how many seconds it took."""
    began = time.perf_counter()
    heads = await store.history.heads(HistoryQuery(ORG, f"rooms/{topic}/said", limit=ASKED))
    found = await store.history.messages(ORG, [head.id for head in heads])
    taken = time.perf_counter() - began
    if len(found) != ASKED:
        raise SystemExit(f"{len(found)} messages instead of {ASKED}")
    return taken


async def _go_on(recorder: Recorder, topics: int) -> float:
    """Record at a fixed rate; return the share of it that was reached."""
    anywhere = iter(lambda: random.randrange(topics), None)
    given = 0
    began = time.perf_counter()
    while given < RATE * SECONDS:
        await asyncio.sleep(TICK_SECONDS)
        due = min(round((time.perf_counter() - began) * RATE), RATE * SECONDS)
        await recorder.record(anywhere, due - given)
        await recorder.finish()
        given = due
    return SECONDS / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True, help="where the database comes to be")
    parser.add_argument("--messages", type=int, default=1_000_000)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        print(json.dumps(asyncio.run(run(folder / "data", options.messages))))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
