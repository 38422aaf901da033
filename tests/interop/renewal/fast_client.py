"""Run a program on the Python client with fast clocks: `fast_client.py SPEED PROGRAM ARGUMENTS ...`.

The client's own clocks go SPEED times as fast, and its waits for them; those of the program stay.
"""

from __future__ import annotations

import asyncio
import runpy
import sys
import time

from tokenmq.client.clocks import Clock


def main() -> None:
    """Set the clocks, and be the program."""
    speed, program = float(sys.argv[1]), sys.argv[2]
    began = time.time()
    Clock.wall = lambda _: began + (time.time() - began) * speed  # type: ignore[method-assign]
    Clock.mono = lambda _: time.monotonic() * speed  # type: ignore[method-assign]
    Clock.sleep = lambda _, seconds: asyncio.sleep(seconds / speed)  # type: ignore[method-assign]
    sys.argv = sys.argv[2:]
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main()
