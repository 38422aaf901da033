"""All services over one store, loaded and ready."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from tokenmq import clock
from tokenmq.services.authenticate import Authenticator
from tokenmq.services.exchange import Exchange
from tokenmq.services.families import Families
from tokenmq.services.keys import Keys
from tokenmq.services.live import Door, Live
from tokenmq.services.organizations import Organizations
from tokenmq.services.renewal import Renewals
from tokenmq.services.signing import Signing
from tokenmq.services.signing_keys import SigningKeys
from tokenmq.services.tokens import Tokens
from tokenmq.services.upkeep import Upkeep
from tokenmq.services.verifier import Verifier
from tokenmq.stores.base import Store
from tokenmq.tokens.minting import ANY_NAMES, NameLimits


@dataclass(frozen=True, slots=True)
class Services:
    """What the edges call. `assemble` makes one, `attach` gives it a broker.

    The broker is made of `authenticator`, `families` and `organizations`, so it comes into
    being after them; until it is attached, nothing is connected.
    """

    store: Store
    door: Door
    families: Families
    keys: Keys
    organizations: Organizations
    signing: Signing
    signing_keys: SigningKeys
    authenticator: Authenticator
    tokens: Tokens
    renewals: Renewals
    exchange: Exchange
    upkeep: Upkeep

    @classmethod
    async def assemble(
        cls,
        store: Store,
        *,
        issuer: str,
        algorithm: str,
        signing_secret: str | None,
        now: float,
        limits: NameLimits = ANY_NAMES,
    ) -> Self:
        """Put the services together and load what they keep in memory.

        Args:
            store: open; `close` closes it.
            issuer: `iss` of every token.
            algorithm: of the signing keys that are made from now on.
            signing_secret: encrypts signing keys at rest; None = they are not encrypted.
            now: unix seconds.
            limits: the broker's, for what tokens name.

        Raises: UnusableKey (signing keys damaged, or another secret), Unavailable.
        """
        door, families = Door(), Families(now)
        signing = Signing(store.signing_keys, secret=signing_secret)
        keys = Keys(store.keys, families, door)
        organizations = Organizations(store.organizations, keys, door)
        await signing.load(algorithm=algorithm, now=now)
        await keys.load()
        await organizations.load()
        families.load(await store.families.known(now), now)
        verifier = Verifier(signing, issuer=issuer)
        renewals = Renewals(
            store,
            signing=signing,
            verifier=verifier,
            families=families,
            organizations=organizations,
            keys=keys,
            door=door,
        )
        return cls(
            store=store,
            door=door,
            families=families,
            keys=keys,
            organizations=organizations,
            signing=signing,
            signing_keys=SigningKeys(signing),
            authenticator=Authenticator(verifier, families, keys, organizations),
            tokens=Tokens(
                store,
                signing=signing,
                verifier=verifier,
                families=families,
                organizations=organizations,
                door=door,
                limits=limits,
            ),
            renewals=renewals,
            exchange=Exchange(renewals, verifier, organizations),
            upkeep=Upkeep(store, keys, families),
        )

    def attach(self, live: Live) -> None:
        """Tell the running broker from now on."""
        self.door.live = live

    async def check_ready(self) -> None:
        """Return when tokens can be made: the store answers, a key signs.

        Raises: Unavailable, UnusableKey.
        """
        self.signing.keyring.current(clock.now())
        await self.store.ping()

    async def close(self) -> None:
        """Store what is written behind, and close the store."""
        await self.upkeep.stop()
        await self.store.close()
