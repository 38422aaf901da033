"""How requests were answered: counted by operation and status, nothing that a caller chooses."""

from __future__ import annotations


class Tally:
    """Answers since the start.

    Attributes:
        counts: by operation, as the OpenAPI document names it, and status; the operation is
            empty where the path or the method is none of ours.
    """

    def __init__(self) -> None:
        self.counts: dict[tuple[str, int], int] = {}

    def count(self, operation: str, status: int) -> None:
        """Count one answer."""
        key = (operation, status)
        self.counts[key] = self.counts.get(key, 0) + 1
