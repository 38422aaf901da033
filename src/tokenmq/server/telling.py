"""The half of `services.live.Live` that says what became of tokens, keys and organizations.

Each method is one entry into the core, in the step in which a commit became known.
"""

from __future__ import annotations

import abc
from collections.abc import Collection

from tokenmq.access.identity import Renewal
from tokenmq.broker import renewing, revoking
from tokenmq.broker.broker import Broker
from tokenmq.broker.tenant import TenantRules
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.tokens.records import OrganizationRecord


class Telling(abc.ABC):
    """What an owner of the core does when services tell of a change.

    Attributes:
        broker: the core.
    """

    broker: Broker

    @abc.abstractmethod
    def settle(self) -> None:
        """Write and perform what an entry into the core has left."""

    @abc.abstractmethod
    def come_in(self) -> None:
        """Tell the core what time it is."""

    @abc.abstractmethod
    def rules_of(self, org_id: str) -> TenantRules:
        """Return what an organization has set that the core obeys."""

    def connected(self, org_id: str, token_ids: Collection[str]) -> set[str]:  # noqa: ARG002 - ids are unique
        """Return those of these families that have a live connection."""
        return revoking.connected_families(self.broker, token_ids)

    def opened_by(self, org_id: str, client_id: str) -> str | None:
        """Return the family whose token opened the session of this client id."""
        tenant = self.broker.tenants.get(org_id)
        session = tenant.sessions.get(client_id) if tenant else None
        return session.identity.token_id if session else None

    def revoke(self, org_id: str, token_ids: Collection[str], *, reason: str, keep_retained: bool) -> int:
        """End the sessions of revoked families, and what they have left on topics."""
        self.come_in()
        count = revoking.revoke_families(self.broker, token_ids, ReasonCode.NOT_AUTHORIZED, reason)
        if not keep_retained:
            revoking.forget_retained(self.broker, org_id, token_ids)
        return self._settled(count)

    def renew(self, org_id: str, token_id: str, renewal: Renewal) -> int:  # noqa: ARG002 - ids are unique
        """Move the connections of a family to its newest password."""
        self.come_in()
        return self._settled(renewing.renew_family(self.broker, token_id, renewal))

    def displace(self, org_id: str, token_ids: Collection[str], *, reason: str) -> int:  # noqa: ARG002
        """Close the connections of replaced families."""
        self.come_in()
        return self._settled(
            revoking.close_families(self.broker, token_ids, ReasonCode.ADMINISTRATIVE_ACTION, reason)
        )

    def end_key(self, org_id: str, key_id: str, *, reason: str) -> int:  # noqa: ARG002
        """End the sessions of a key that was revoked."""
        self.come_in()
        return self._settled(revoking.revoke_key(self.broker, key_id, ReasonCode.NOT_AUTHORIZED, reason))

    def limit_key(self, org_id: str, key_id: str, ends_at: float) -> None:  # noqa: ARG002
        """Have the server connections of a key end at this moment, if not before."""
        self.come_in()
        revoking.limit_key(self.broker, key_id, ends_at)
        self.settle()

    def end_organization(self, org_id: str) -> int:
        """Close every connection of an organization that is gone."""
        self.come_in()
        count = revoking.end_tenant(self.broker, org_id, ReasonCode.NOT_AUTHORIZED, "organization deleted")
        return self._settled(count)

    def organization_changed(self, organization: OrganizationRecord) -> None:
        """Put an organization's settings in force."""
        if organization.id in self.broker.tenants:
            self.come_in()
            self.broker.set_rules(organization.id, self.rules_of(organization.id))
            self.settle()

    def _settled(self, count: int) -> int:
        self.settle()
        return count
