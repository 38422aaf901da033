"""The token service's management calls, synchronously over HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, Unpack
from urllib.parse import quote

import httpx2

from tokenmq.client.answers import (
    AuditCheck,
    AuditEntry,
    Erased,
    HistoryMessage,
    HistoryRules,
    Introspection,
    IssuedToken,
    Key,
    KeyRequest,
    KeyRotation,
    Organization,
    Policy,
    PolicyFindings,
    Provider,
    ProviderRequest,
    Published,
    Retained,
    Revocation,
    RevocationRequest,
    Session,
    SigningKey,
    Simulation,
    SimulationRequest,
    Termination,
    TokenInfo,
    TokenRequest,
)
from tokenmq.client.replies import Answer, answer_of, checked, is_web_address, unreachable
from tokenmq.errors import InvalidRequest

# The service's own maximum is 500.
PAGE = 100


class ServiceClient:
    """The calls to one token service with one key.

    Every call raises ServiceError for an answer that is not success and Unreachable
    when there is none. Organizations are named with an `ik_` key; other keys imply theirs.
    No redirect is followed and no proxy variable is read: the key goes to `url` alone.

    Attributes:
        url: where the service is, without a slash at its end.
        is_administrator: the key is the instance administrator's.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout_seconds: float = 10.0,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """Prepare for calls; nothing is sent yet.

        Args:
            url: where the service is, as http://127.0.0.1:8080.
            key: sent as bearer; None for the calls that need none.
            timeout_seconds: for each of connecting, sending and waiting.
            transport: stands in for the network in tests.

        Raises: InvalidRequest for a URL or a key that cannot be one.
        """
        self.url = url.rstrip("/")
        self.is_administrator = key is not None and key.startswith("ik_")
        if key is not None and not re.fullmatch(r"[!-~]+", key):
            raise InvalidRequest(("key", "has characters that no key has"))
        if not is_web_address(self.url):
            raise InvalidRequest(
                ("url", f"{url!r} is no address of a token service, as http://127.0.0.1:8080")
            )
        self._client = httpx2.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"} if key else None,
            timeout=timeout_seconds,
            transport=transport,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the network connections; the client is of no use afterwards."""
        self._client.close()

    def create_organization(self, name: str) -> Organization:
        """Make an organization; needs an `ik_` key."""
        return self._call("POST", "/v2/organizations", Organization, body={"name": name})

    def organizations(self) -> Iterator[Organization]:
        """Yield every organization; needs an `ik_` key."""
        return self._pages("/v2/organizations", "organizations", Organization, {})

    def create_key(self, **request: Unpack[KeyRequest]) -> Key:
        """Make a key; the answer carries its text, this once."""
        return self._call("POST", "/v2/keys", Key, body=request)

    def keys(self, *, organization_id: str | None = None) -> Iterator[Key]:
        """Yield every key of an organization, masked."""
        return self._pages("/v2/keys", "keys", Key, {"organization_id": organization_id})

    def rotate_key(self, key_id: str, **request: Unpack[KeyRotation]) -> Key:
        """Give a key another secret; the answer carries its text, this once."""
        return self._call("POST", f"/v2/keys/{quote(key_id, safe='')}/rotate", Key, body=request)

    def delete_key(
        self, key_id: str, *, organization_id: str | None = None, revoke_tokens: bool = False
    ) -> None:
        """End a key, and with `revoke_tokens` every token that it made."""
        query = {"organization_id": organization_id, "revoke_tokens": "true" if revoke_tokens else None}
        self._call("DELETE", f"/v2/keys/{quote(key_id, safe='')}", dict[str, Any], query=query)

    def policy(self, *, organization_id: str | None = None) -> Policy:
        """Return an organization's policy."""
        return self._call("GET", "/v2/acl", Policy, query={"organization_id": organization_id})

    def put_policy(
        self, document: Mapping[str, Any], *, revision: str | None = None, organization_id: str | None = None
    ) -> Policy:
        """Put a policy in force; with a revision only over the one that has it."""
        body = {**document, "revision": revision} if revision else document
        return self._call("PUT", "/v2/acl", Policy, body=body, query={"organization_id": organization_id})

    def validate_policy(
        self, document: Mapping[str, Any], *, organization_id: str | None = None
    ) -> PolicyFindings:
        """Ask what is wrong with a policy, without putting it in force."""
        query = {"organization_id": organization_id}
        return self._call("POST", "/v2/acl/validate", PolicyFindings, body=document, query=query)

    def simulate(self, **request: Unpack[SimulationRequest]) -> Simulation:
        """Ask whether a user or a token may do something, and why."""
        return self._call("POST", "/v2/acl/simulate", Simulation, body=request)

    def signing_keys(self) -> Iterator[SigningKey]:
        """Yield every key that signs or has signed tokens; needs an `ik_` key."""
        return self._pages("/v2/signing-keys", "signing_keys", SigningKey, {})

    def add_signing_key(self, algorithm: str | None = None, *, current: bool = False) -> SigningKey:
        """Make a signing key and publish it, with `current` sign with it; needs an `ik_` key."""
        body: dict[str, Any] = {"current": current} | ({"algorithm": algorithm} if algorithm else {})
        return self._call("POST", "/v2/signing-keys", SigningKey, body=body)

    def use_signing_key(self, kid: str) -> SigningKey:
        """Sign with a key from now on; needs an `ik_` key."""
        return self._call("POST", f"/v2/signing-keys/{quote(kid, safe='')}/use", SigningKey)

    def retire_signing_key(self, kid: str) -> SigningKey:
        """Take a signing key out of use; needs an `ik_` key."""
        return self._call("POST", f"/v2/signing-keys/{quote(kid, safe='')}/retire", SigningKey)

    def audit(
        self,
        *,
        organization_id: str | None = None,
        action: str | None = None,
        actor: str | None = None,
        about: str | None = None,
        user_id: str | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> Iterator[AuditEntry]:
        """Yield rows of the audit trail, newest first; an `ik_` key that names no organization sees all."""
        query = {
            "organization_id": organization_id,
            "action": action,
            "actor": actor,
            "object": about,
            "user_id": user_id,
            "since": since,
            "until": until,
        }
        return self._pages("/v2/audit", "entries", AuditEntry, query)

    def check_audit(self) -> Iterator[AuditCheck]:
        """Verify the audit trail, and yield what was found of each part; needs an `ik_` key."""
        cursor: str | None = None
        while True:
            part = self._call("GET", "/v2/audit/verify", AuditCheck, query={"cursor": cursor})
            yield part
            cursor = part["next"]
            if cursor is None:
                return

    def create_token(self, **request: Unpack[TokenRequest]) -> IssuedToken:
        """Make a token; the answer carries its text."""
        return self._call("POST", "/v2/tokens", IssuedToken, body=request)

    def refresh(self, token_id: str, password: str) -> IssuedToken:
        """Get the next password of a token family for one that it has; needs no key."""
        body = {"token_id": token_id, "current_token_password": password}
        return self._call("POST", "/v2/tokens/refresh", IssuedToken, body=body)

    def exchange(self, token: str, *, organization_id: str) -> IssuedToken:
        """Exchange a token for one of a family of its own; needs no key."""
        body = {"token": token, "organization_id": organization_id}
        return self._call("POST", "/v2/tokens/exchange", IssuedToken, body=body)

    def tokens(
        self, *, organization_id: str | None = None, user_id: str | None = None, status: str | None = None
    ) -> Iterator[TokenInfo]:
        """Yield every token family, or those of a user or in a status."""
        query = {"organization_id": organization_id, "user_id": user_id, "status": status}
        return self._pages("/v2/tokens", "tokens", TokenInfo, query)

    def revoke(self, **request: Unpack[RevocationRequest]) -> Revocation:
        """Revoke tokens, durably, and close their connections."""
        return self._call("POST", "/v2/tokens/revoke", Revocation, body=request)

    def introspect(self, token: str, *, organization_id: str | None = None) -> Introspection:
        """Ask whether a token is good now, and what it may do."""
        body = {"token": token} | ({"organization_id": organization_id} if organization_id else {})
        return self._call("POST", "/v2/tokens/introspect", Introspection, body=body)

    def sessions(
        self, *, organization_id: str | None = None, user_id: str | None = None
    ) -> Iterator[Session]:
        """Yield every session, or those of a user."""
        query = {"organization_id": organization_id, "user_id": user_id}
        return self._pages("/v2/sessions", "sessions", Session, query)

    def delete_session(self, client_id: str, *, organization_id: str | None = None) -> None:
        """End a session for good, and close its connection."""
        path = f"/v2/sessions/{quote(client_id, safe='')}"
        self._call("DELETE", path, dict[str, Any], query={"organization_id": organization_id})

    def terminate_user(self, user: str, *, organization_id: str | None = None) -> Termination:
        """End all sessions of a user, named by id or username, and close their connections."""
        path = f"/v2/utilities/users/{quote(user, safe='')}/terminate"
        return self._call("POST", path, Termination, query={"organization_id": organization_id})

    def retained(self, topic_filter: str = "#", *, organization_id: str | None = None) -> Iterator[Retained]:
        """Yield every retained message on the topics of a filter, without its payload."""
        query = {"organization_id": organization_id, "topic": topic_filter}
        return self._pages("/v2/utilities/retained", "messages", Retained, query)

    def delete_retained(self, topic: str, *, organization_id: str | None = None) -> None:
        """Remove the retained message of a topic."""
        path = f"/v2/utilities/retained/{quote(topic, safe='')}"
        self._call("DELETE", path, dict[str, Any], query={"organization_id": organization_id})

    def history_rules(self, *, organization_id: str | None = None) -> HistoryRules:
        """Return what is recorded of an organization's messages."""
        query = {"organization_id": organization_id}
        return self._call("GET", "/v2/history/rules", HistoryRules, query=query)

    def put_history_rules(
        self, rules: Sequence[Mapping[str, Any]], *, organization_id: str | None = None
    ) -> HistoryRules:
        """Say what is recorded from now on."""
        query = {"organization_id": organization_id}
        return self._call("PUT", "/v2/history/rules", HistoryRules, body={"rules": rules}, query=query)

    def history(
        self,
        topic_filter: str,
        *,
        since: str | None = None,
        until: str | None = None,
        after: int | None = None,
        order: str | None = None,
        organization_id: str | None = None,
    ) -> Iterator[HistoryMessage]:
        """Yield recorded messages, the newest first unless `order` is `asc`."""
        query = {
            "organization_id": organization_id,
            "topic": topic_filter,
            "since": since,
            "until": until,
            "after": None if after is None else str(after),
            "order": order,
        }
        return self._pages("/v2/history", "messages", HistoryMessage, query)

    def erase_history(
        self,
        *,
        topic_filter: str | None = None,
        user_id: str | None = None,
        organization_id: str | None = None,
    ) -> Erased:
        """Erase what was recorded of topics, or of a user; exactly one of both."""
        query = {"organization_id": organization_id, "topic": topic_filter, "user_id": user_id}
        return self._call("DELETE", "/v2/history", Erased, query=query)

    def publish(
        self,
        topic: str,
        payload: str | dict[str, Any],
        *,
        qos: int = 1,
        retain: bool = False,
        organization_id: str | None = None,
    ) -> Published:
        """Publish a message without an MQTT connection; an object goes out as JSON."""
        body = {"topic": topic, "payload": payload, "qos": qos, "retain": retain}
        query = {"organization_id": organization_id}
        return self._call("POST", "/v1/publish", Published, body=body, query=query)

    def providers(self, *, organization_id: str | None = None) -> list[Provider]:
        """Return the identity providers of an organization."""
        query = {"organization_id": organization_id}
        answer = self._call("GET", "/v2/providers", dict[str, Any], query=query)
        return checked(answer.get("providers"), list[Provider], self.url)

    def create_provider(self, **request: Unpack[ProviderRequest]) -> Provider:
        """Set an identity provider up."""
        return self._call("POST", "/v2/providers", Provider, body=request)

    def change_provider(self, provider_id: str, **request: Unpack[ProviderRequest]) -> Provider:
        """Change what is named of an identity provider."""
        return self._call("PATCH", f"/v2/providers/{quote(provider_id, safe='')}", Provider, body=request)

    def delete_provider(self, provider_id: str, *, organization_id: str | None = None) -> None:
        """Delete an identity provider: no more exchanges, and no refreshes of what it founded."""
        query = {"organization_id": organization_id}
        self._call("DELETE", f"/v2/providers/{quote(provider_id, safe='')}", dict[str, Any], query=query)

    def _pages(
        self, path: str, name: str, wants: type[Answer], query: Mapping[str, str | None]
    ) -> Iterator[Answer]:
        """Yield the items of a list, page after page."""
        cursor: str | None = None
        while True:
            page = self._call(
                "GET", path, dict[str, Any], query={**query, "limit": str(PAGE), "cursor": cursor}
            )
            yield from checked(page.get(name), list[wants], self.url)  # type: ignore[valid-type]
            cursor = page.get("next")
            if not cursor:
                return

    def _call(
        self,
        method: str,
        path: str,
        wants: type[Answer],
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str | None] | None = None,
    ) -> Answer:
        params = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            response = self._client.request(method, path, params=params, json=body)
        except httpx2.TransportError as error:
            raise unreachable(error, self.url) from error
        return answer_of(response, wants, self.url)
