"""All services over one store, loaded and ready."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from tokenmq import clock
from tokenmq.config import AuditSettings
from tokenmq.services.audit import Audit
from tokenmq.services.authenticate import Authenticator
from tokenmq.services.bearers import Bearers
from tokenmq.services.exchange import Exchange
from tokenmq.services.families import Families
from tokenmq.services.history import History
from tokenmq.services.jwks import KeySets
from tokenmq.services.key_limits import KeyLimits
from tokenmq.services.keys import Keys
from tokenmq.services.live import Door, Live
from tokenmq.services.messages import Messages
from tokenmq.services.organizations import Organizations
from tokenmq.services.policies import Policies
from tokenmq.services.presence import PresenceLookup
from tokenmq.services.proofs import Proofs
from tokenmq.services.providers import Providers
from tokenmq.services.refused_keys import RefusedKeys
from tokenmq.services.renewal import Renewals
from tokenmq.services.sealing import Seal
from tokenmq.services.sessions import Sessions
from tokenmq.services.signing import Signing
from tokenmq.services.signing_keys import SigningKeys
from tokenmq.services.sweeping import Sweeper
from tokenmq.services.tokens import Tokens
from tokenmq.services.upkeep import DAY_SECONDS, Upkeep
from tokenmq.services.upstream import Upstream
from tokenmq.services.verifier import Verifier
from tokenmq.stores.base import Store
from tokenmq.tokens.minting import ANY_NAMES, NameLimits

_AUDIT = AuditSettings()


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
    bearers: Bearers
    policies: Policies
    tokens: Tokens
    audit: Audit
    refused_keys: RefusedKeys
    sessions: Sessions
    messages: Messages
    presence: PresenceLookup
    history: History
    sweeper: Sweeper
    key_sets: KeySets
    providers: Providers
    proofs: Proofs
    renewals: Renewals
    exchange: Exchange
    key_limits: KeyLimits
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
        audit: AuditSettings = _AUDIT,
        upstream: Upstream | None = None,
        key_requests_per_minute: int = 0,
    ) -> Self:
        """Put the services together and load what they keep in memory.

        Args:
            store: open; `close` closes it.
            issuer: `iss` of every token.
            algorithm: of the signing keys that are made from now on.
            signing_secret: encrypts signing keys at rest; None = they are not encrypted.
            now: unix seconds.
            limits: the broker's, for what tokens name.
            audit: how much is kept of the audit trail.
            upstream: fetches the key sets of identity providers; None: from public
                addresses over https alone.
            key_requests_per_minute: HTTP requests of one key; 0 = as many as it likes.

        Raises: UnusableKey (signing keys or stored secrets damaged, or another secret),
            Unavailable.
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
        refused_keys = RefusedKeys(store.audit, keys, per_minute=audit.refused_keys_per_minute)
        authenticator = Authenticator(verifier, families, keys, organizations)
        upstream = upstream or Upstream()
        key_sets = KeySets(upstream)
        providers = Providers(
            store.providers,
            organizations=organizations,
            key_sets=key_sets,
            upstream=upstream,
            seal=Seal(signing_secret),
        )
        await providers.load()
        renewals = Renewals(
            store,
            signing=signing,
            verifier=verifier,
            families=families,
            organizations=organizations,
            keys=keys,
            providers=providers,
            door=door,
        )
        sweeper = Sweeper(store.history, organizations)
        organizations.on_deletion(lambda _: sweeper.wake())
        proofs = Proofs(providers, key_sets)
        tokens = Tokens(
            store,
            signing=signing,
            verifier=verifier,
            families=families,
            organizations=organizations,
            door=door,
            limits=limits,
        )
        return cls(
            store=store,
            door=door,
            families=families,
            keys=keys,
            organizations=organizations,
            signing=signing,
            signing_keys=SigningKeys(signing),
            authenticator=authenticator,
            bearers=Bearers(authenticator, organizations),
            policies=Policies(organizations, authenticator),
            tokens=tokens,
            audit=Audit(store.audit),
            refused_keys=refused_keys,
            key_limits=KeyLimits(per_minute=key_requests_per_minute),
            upkeep=Upkeep(
                store, keys, families, refused_keys, audit_seconds=audit.retention_days * DAY_SECONDS
            ),
            sessions=Sessions(door, store.audit),
            messages=Messages(door, store.audit),
            presence=PresenceLookup(door),
            history=History(store.history, organizations, door, sweeper),
            sweeper=sweeper,
            key_sets=key_sets,
            providers=providers,
            proofs=proofs,
            renewals=renewals,
            exchange=Exchange(renewals, tokens, proofs, verifier, organizations),
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
        await self.sweeper.stop()
        await self.upkeep.stop()
        await self.key_sets.close()
        await self.store.close()
