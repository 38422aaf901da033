"""A user's token as the credential of an HTTP call: whose it is, and what that user may do now."""

from __future__ import annotations

from dataclasses import dataclass

from tokenmq.access.decide import Scope
from tokenmq.access.identity import Identity
from tokenmq.services.authenticate import Authenticator
from tokenmq.services.organizations import Organizations


@dataclass(frozen=True, slots=True)
class Bearer:
    """A user who has shown a token.

    Attributes:
        identity: under the newest password of the token's family.
        scope: its rights, cut by the policy of this moment; `{client_id}` has a value only
            where the token is bound to exactly one.
    """

    identity: Identity
    scope: Scope


class Bearers:
    """Proves tokens that stand where else a key would."""

    def __init__(self, authenticator: Authenticator, organizations: Organizations) -> None:
        self._authenticator = authenticator
        self._organizations = organizations

    def prove(self, token: str, *, origin: str | None, now: float) -> Bearer:
        """Return whose a token is; never awaits anything.

        Args:
            token: as it was shown.
            origin: of the web page that asks; None where none does.
            now: unix seconds.

        Raises: InvalidToken (also: revoked, or superseded by a later password), ExpiredToken,
            Forbidden (the organization does not allow the page).
        """
        identity = self._authenticator.bearer(token, now)
        self._organizations.require_origin(origin, identity.org_id)
        policy = self._organizations.policy_of(identity.org_id)
        return Bearer(identity, Scope(identity, policy=policy, client_id=identity.only_client_id))
