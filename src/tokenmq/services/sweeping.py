"""What is too old in the history is dropped, a little at a time."""

from __future__ import annotations

from tokenmq.access.recording import HistoryRules
from tokenmq.errors import NotFound
from tokenmq.services.organizations import Organizations
from tokenmq.services.periodic import Periodic
from tokenmq.stores.history import HistoryStore


class Sweeper(Periodic):
    """Sweeps the history, at the start, every minute, and when the rules have changed.

    It has a task of its own: a sweep may take long, and nothing else is to wait for it.
    """

    name = "history sweep"
    failed = "sweep_failed"

    def __init__(self, store: HistoryStore, organizations: Organizations) -> None:
        super().__init__()
        self._store = store
        self._organizations = organizations

    def start(self) -> None:
        """Begin to sweep, now and every minute."""
        self.wake()
        super().start()

    async def once(self, now: float) -> None:
        """Sweep the history of every organization that has one, deleted ones too.

        Raises: Unavailable.
        """
        for org_id in await self._store.organizations():
            # Each step waits for a commit, so others get their turn.
            while await self._store.sweep(org_id, self._rules(org_id), now=now):
                pass

    def _rules(self, org_id: str) -> HistoryRules:
        try:
            return self._organizations.history_rules_of(org_id)
        except NotFound:
            return HistoryRules()
