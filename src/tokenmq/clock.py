"""The two clocks that the edges read and pass in; nothing below them reads time.

`now` is wall time (expiry, history), `mono` is monotonic (keep alive, timers).
A step of the wall clock therefore never closes a connection by keep alive.
"""

from __future__ import annotations

import time


def now() -> float:
    """Return wall time in unix seconds."""
    return time.time()


def mono() -> float:
    """Return monotonic time in seconds; only differences mean anything."""
    return time.monotonic()
