"""What a store tells of its own work, for metrics."""

from __future__ import annotations

from typing import Protocol

from tokenmq.histogram import Histogram


class Writing(Protocol):
    """What can be told of the commits of a store; cheap to ask for."""

    @property
    def commit_seconds(self) -> Histogram:
        """How long commits took that succeeded, seconds."""
        ...

    @property
    def failures(self) -> int:
        """How many commits have failed since the start."""
        ...

    @property
    def waiting(self) -> int:
        """How much waits for a commit: operations and rows."""
        ...
