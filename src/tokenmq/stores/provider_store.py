"""What the services need of a store to keep identity providers; the rules of `base` hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from tokenmq.stores.audit import Audit
from tokenmq.tokens.foreign.configuration import ProviderRecord

Result = TypeVar("Result")


class ProviderStore(Protocol):
    """Identity providers; those of a deleted organization go with it."""

    async def load(self) -> list[ProviderRecord]:
        """Return all, oldest first."""
        ...

    async def create(
        self,
        record: ProviderRecord,
        *,
        made_by: str,
        audit: Audit[ProviderRecord] = (),
        applied: Callable[[ProviderRecord], Result],
    ) -> Result:
        """Store a new one; the key `made_by` must be good at the commit.

        Raises: InvalidKey (the maker is deleted or expired), Conflict (name taken), NotFound
            (no such organization).
        """
        ...

    async def update(
        self,
        record: ProviderRecord,
        *,
        audit: Audit[ProviderRecord] = (),
        applied: Callable[[ProviderRecord], Result],
    ) -> Result:
        """Store name, configuration, secret and whether it is enabled of an existing one.

        Raises: NotFound (`provider_not_found`), Conflict (name taken).
        """
        ...

    async def delete(
        self, provider_id: str, *, audit: Audit[str] = (), applied: Callable[[str], Result]
    ) -> Result:
        """Remove one.

        Raises: NotFound (`provider_not_found`).
        """
        ...


class KeepsProviders(Protocol):
    """The part of a store that keeps them."""

    @property
    def providers(self) -> ProviderStore:
        """The identity providers."""
        ...
