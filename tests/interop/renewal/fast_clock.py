"""Run tokenmq with a wall clock that is fast: `fast_clock.py SPEED ORIGIN COMMAND ...`.

It shows the machine's time at the instant ORIGIN (unix seconds) and goes SPEED times as fast.
The monotonic clock stays what it is: nobody loses a connection by keep alive.
"""

from __future__ import annotations

import sys
import time

from tokenmq import clock


def main() -> int:
    """Set the clock before anything is imported that keeps it; return the exit code."""
    speed, origin = float(sys.argv[1]), float(sys.argv[2])
    clock.now = lambda: origin + (time.time() - origin) * speed
    from tokenmq.cli import main as tokenmq

    return tokenmq(sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
