"""An organization's policy: shown, checked, put in force, asked.

It is in memory with its organization (`organizations`), so all but putting is no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tokenmq.access import checking
from tokenmq.access.checking import Finding, Severity
from tokenmq.access.decide import Scope
from tokenmq.access.explaining import Explained, explain
from tokenmq.access.identity import Identity
from tokenmq.access.permission import Permission
from tokenmq.access.rules import PolicyDocument, Subject, subject_of
from tokenmq.errors import InvalidRequest, InvalidTopic
from tokenmq.limits import MAX_USER_ID_BYTES
from tokenmq.services.auditing import NO_TRACE, Trace
from tokenmq.services.authenticate import Authenticator
from tokenmq.services.keys import authorise
from tokenmq.services.organizations import Organizations
from tokenmq.services.texts import check_text
from tokenmq.tokens.records import KeyRecord
from tokenmq.topics.filter import check_filter, split_share
from tokenmq.topics.name import check_name

_SCOPE = "policy"
_UNTOUCHED = Finding(
    "",
    Severity.WARNING,
    "this is the starting document: every user may use every topic; write your own",
)


@dataclass(frozen=True, slots=True)
class PolicyView:
    """A policy as it stands.

    Attributes:
        revision: names this document's content.
        untouched: it is the starting document, which nobody has changed.
        findings: warnings.
    """

    document: PolicyDocument
    revision: str
    untouched: bool
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about somebody.

    Attributes:
        user_id, token: exactly one of them; with a token its grants count, too.
        action: what would be done.
        topic: a Topic Name; for all but `publish` also a Topic Filter, shared or not.
        client_id: None: that of the token, or not known.
        claims: the identity provider's; of a token they are in it.
    """

    action: Permission
    topic: str
    user_id: str | None = None
    token: str | None = None
    client_id: str | None = None
    claims: Mapping[str, Any] | None = None


class Policies:
    """The use cases of policies; each needs the scope `policy`."""

    def __init__(self, organizations: Organizations, authenticator: Authenticator) -> None:
        self._organizations = organizations
        self._authenticator = authenticator

    def show(self, *, key: KeyRecord, org_id: str) -> PolicyView:
        """Return the policy in force.

        Raises: Forbidden, NotFound.
        """
        authorise(key, _SCOPE, org_id)
        organizations = self._organizations
        document = organizations.policy_document_of(org_id)
        untouched = organizations.policy_is_untouched(org_id)
        trees = organizations.settings_of(org_id).dollar_trees
        findings = (_UNTOUCHED,) if untouched else checking.warnings(document, dollar_trees=trees)
        return PolicyView(document, document.revision, untouched, findings)

    async def put(
        self,
        tree: Mapping[str, Any],
        *,
        revision: str | None,
        key: KeyRecord,
        org_id: str,
        now: float,
        trace: Trace = NO_TRACE,
    ) -> PolicyView:
        """Put a policy in force: durable, and live subscriptions judged anew, before it returns.

        Args:
            tree: the document, as JSON was read.
            revision: of the document that it takes the place of; None: of whatever there is.
            key: needs the scope.
            org_id: from `Organizations.resolve`.
            now: unix seconds.
            trace: where the request came from.

        Raises: Forbidden, NotFound, InvalidRequest (names each place that is wrong),
            Conflict (another revision is in force), Unavailable.
        """
        authorise(key, _SCOPE, org_id)
        checked = self._check(tree, org_id)
        if checked.document is None:
            raise InvalidRequest(*((finding.path, finding.message) for finding in checked.findings))
        await self._organizations.set_policy(
            org_id, checked.document, revision=revision, key=key, now=now, trace=trace
        )
        return self.show(key=key, org_id=org_id)

    def validate(self, tree: Mapping[str, Any], *, key: KeyRecord, org_id: str) -> tuple[Finding, ...]:
        """Say what is wrong with a document, or what of it is probably not meant so.

        Raises: Forbidden, NotFound.
        """
        authorise(key, _SCOPE, org_id)
        return self._check(tree, org_id).findings

    def simulate(self, question: Question, *, key: KeyRecord, org_id: str, now: float) -> Explained:
        """Say whether somebody may do something, by which rule or grant, in words.

        Raises: Forbidden, NotFound, InvalidRequest, InvalidToken, ExpiredToken.
        """
        authorise(key, _SCOPE, org_id)
        identity = self._identity(question, org_id, now)
        topic = _topic(question)
        if not self._has_tree(org_id, topic):
            words = f"{topic.partition('/')[0][:64]} is no tree of the organization: nobody gets there"
            return Explained(allowed=False, decided_by="dollar_trees", explanation=words)
        client_id = question.client_id
        if identity is None:
            subject = Subject(question.user_id or "", org_id, client_id, question.claims)
            return explain(self._organizations.policy_of(org_id), question.action, topic, subject)
        return self._by_token(identity, client_id or identity.only_client_id, question.action, topic)

    def _by_token(
        self, identity: Identity, client_id: str | None, action: Permission, topic: str
    ) -> Explained:
        """Hold a token's grants against a topic, and then the policy."""
        if client_id is not None and not identity.admits_client_id(client_id):
            words = "the token is bound to another client id"
            return Explained(allowed=False, decided_by="token", explanation=words)
        scope = Scope(identity, policy=None, client_id=client_id)
        is_filter = "+" in topic or "#" in topic
        granted = (scope.on_filter if is_filter else scope.on_topic)(action, topic)
        if not granted.allowed:
            return Explained(allowed=False, decided_by="token", explanation=f"the token: {granted.rule}")
        policy = self._organizations.policy_of(identity.org_id)
        ruling = explain(policy, action, topic, subject_of(identity, client_id))
        return ruling._replace(explanation=f"the token has the {granted.rule}; {ruling.explanation}")

    def _identity(self, question: Question, org_id: str, now: float) -> Identity | None:
        """Return whose token it is, None where a user is named.

        Raises: InvalidRequest (not exactly one of both, claims beside a token), InvalidToken.
        """
        if (question.token is None) is (question.user_id is None):
            raise InvalidRequest(("user_id", "wanted exactly one of user_id and token"))
        if question.token is None:
            check_text("user_id", question.user_id or "", max_bytes=MAX_USER_ID_BYTES)
            return None
        if question.claims is not None:
            raise InvalidRequest(("claims", "cannot stand beside token, which has its own"))
        return self._authenticator.whose(question.token, org_id, now)

    def _has_tree(self, org_id: str, topic: str) -> bool:
        trees = self._organizations.settings_of(org_id).dollar_trees
        return not topic.startswith("$") or topic.partition("/")[0] in trees

    def _check(self, tree: Mapping[str, Any], org_id: str) -> checking.Checked:
        trees = self._organizations.settings_of(org_id).dollar_trees
        return checking.check(tree, dollar_trees=trees)


def _topic(question: Question) -> str:
    """Return the topic or filter that decides.

    Raises: InvalidRequest.
    """
    try:
        if question.action is Permission.PUBLISH:
            check_name(question.topic)
            return question.topic
        _, inner = split_share(question.topic)
        check_filter(inner)
    except InvalidTopic as error:
        raise InvalidRequest(("topic", error.reason)) from None
    return inner
