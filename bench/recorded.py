"""What the history costs its store: `python -m bench.recorded --folder DIR` prints one JSON object.

In a process of its own and without a broker, on a database of its own below the folder. A million messages
of 64 B are recorded on 10,000 topics, 100 on each, as many as each may have. *Last* is the last 50 of one
topic, with what they say: of a topic that is asked for the first time, the median of many. Then messages go
on for a while at 10,000 a second, so that each makes one go; *longest* is the longest commit of that time,
*usual* the median, in milliseconds. *Swept* is the longest of as long a time in which, beside these messages,
a sweep drops half of all that there is, for the rule was made smaller.
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
from collections.abc import Awaitable, Iterator
from pathlib import Path

from tokenmq.access.recording import HistoryRule, HistoryRules
from tokenmq.broker.records import Change, HistoryRecord, put
from tokenmq.errors import Unavailable
from tokenmq.stores.history import HistoryQuery
from tokenmq.stores.sql import SqlStore
from tokenmq.tokens.records import OrganizationRecord, OrganizationSettings

ORG = "org_aaaaaaaaaaaa"
TOPIC_MESSAGES = 100
PAYLOAD = bytes(64)
GROUP = 500
# Groups that wait for their commits at one time.
OUTSTANDING = 4
ASKED = 50
QUERIES = 200
# At 10,000 messages a second.
TICK_MESSAGES, TICK_SECONDS, TICKS = 100, 0.01, 500


class Commits:
    """Stands in for the writer's histogram, and keeps how long each commit took."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def observe(self, seconds: float) -> None:
        """Take one."""
        self.seconds.append(seconds)


class Recorder:
    """Hands messages to a store, in groups."""

    def __init__(self, store: SqlStore, topics: int) -> None:
        self._store = store
        self._topics = topics
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
                most=TOPIC_MESSAGES,
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
        recorder = Recorder(store, topics)
        began = time.perf_counter()
        in_turn = itertools.cycle(range(topics))
        for _ in range(messages // GROUP):
            await recorder.record(in_turn, GROUP)
        await recorder.finish()
        per_s = messages / (time.perf_counter() - began)
        last = [await _ask(store, topic) for topic in random.sample(range(topics), min(QUERIES, topics))]
        trimming = await _commits(store, _go_on(recorder, topics))
        sweep = asyncio.create_task(_sweep(store))
        sweeping = await _commits(store, _go_on(recorder, topics))
        sweep.cancel()
        await asyncio.wait([sweep])
    finally:
        await store.close()
    return {
        "per_s": per_s,
        "last_ms": statistics.median(last) * 1e3,
        "last_p95_ms": sorted(last)[len(last) * 95 // 100] * 1e3,
        "longest_ms": max(trimming) * 1e3,
        "usual_ms": statistics.median(trimming) * 1e3,
        "swept_longest_ms": max(sweeping) * 1e3,
        "swept_usual_ms": statistics.median(sweeping) * 1e3,
    }


async def _commits(store: SqlStore, work: Awaitable[None]) -> list[float]:
    """Do something; return how long each commit took meanwhile."""
    commits = Commits()
    store.writer.commit_seconds = commits  # type: ignore[assignment]
    await work
    return commits.seconds


async def _sweep(store: SqlStore) -> None:
    """Sweep under a rule that was made smaller."""
    rules = HistoryRules((HistoryRule("#", 86_400, TOPIC_MESSAGES // 2),))
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


async def _go_on(recorder: Recorder, topics: int) -> None:
    """Record at a fixed rate; what is late is made up for."""
    anywhere = iter(lambda: random.randrange(topics), None)
    due = time.perf_counter()
    for _ in range(TICKS):
        due += TICK_SECONDS
        await asyncio.sleep(due - time.perf_counter())
        await recorder.record(anywhere, TICK_MESSAGES)
    await recorder.finish()


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
