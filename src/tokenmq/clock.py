"""The two clocks that the edges read and pass in; nothing below them reads time.

`now` is wall time (expiry, history), `mono` is monotonic (keep alive, timers).
A step of the wall clock therefore never closes a connection by keep alive.
"""

from __future__ import annotations

import time
from collections.abc import Callable

# Wall time in unix seconds. The built-in itself: it is read for every chunk of bytes.
now: Callable[[], float] = time.time

# Monotonic time in seconds; only differences mean anything.
mono: Callable[[], float] = time.monotonic
