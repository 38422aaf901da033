"""An organization's policy: shown, put in force, checked, asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenmq.access.checking import Severity
from tokenmq.api.answer import Answer, ok
from tokenmq.api.call import Call
from tokenmq.api.schemas.answers import PolicyAnswer, SimulationAnswer, ValidationAnswer
from tokenmq.api.schemas.requests import (
    Keyed,
    OrganizationQuery,
    PolicyBody,
    PolicyDraft,
    SimulationBody,
)
from tokenmq.api.unset import given
from tokenmq.services.policies import PolicyView, Question

# What a body may have beside the document.
_BESIDE = frozenset(Keyed.__struct_fields__)
_ANSWERED = frozenset({"revision", "untouched", "findings"})


async def show(call: Call[None, OrganizationQuery]) -> Answer:
    """Show the policy in force."""
    return ok(_view(call.services.policies.show(key=call.caller(), org_id=call.about().id)))


async def put(call: Call[PolicyBody, OrganizationQuery]) -> Answer:
    """Put a policy in force."""
    view = await call.services.policies.put(
        _document(call.tree, _BESIDE | _ANSWERED),
        revision=given(call.body.revision),
        key=call.caller(),
        org_id=call.about().id,
        now=call.now,
        trace=call.trace,
    )
    return ok(_view(view))


async def validate(call: Call[PolicyDraft, OrganizationQuery]) -> Answer:
    """Say what is wrong with a policy."""
    findings = call.services.policies.validate(
        _document(call.tree, _BESIDE), key=call.caller(), org_id=call.about().id
    )
    valid = not any(finding.severity is Severity.ERROR for finding in findings)
    return ok(ValidationAnswer(valid, findings))


async def simulate(call: Call[SimulationBody, OrganizationQuery]) -> Answer:
    """Say whether somebody may do something, and why."""
    body = call.body
    question = Question(
        action=body.action,
        topic=body.topic,
        user_id=given(body.user_id),
        token=given(body.token),
        client_id=given(body.client_id),
        claims=given(body.claims),
    )
    told = call.services.policies.simulate(question, key=call.caller(), org_id=call.about().id, now=call.now)
    return ok(SimulationAnswer(*told))


def _document(tree: Mapping[str, Any], beside: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in tree.items() if name not in beside}


def _view(view: PolicyView) -> PolicyAnswer:
    document = view.document
    return PolicyAnswer(
        document.version, document.default, document.rules, view.revision, view.untouched, view.findings
    )
