"""What a change of an organization is made of: settings put together, and the entry in the trail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tokenmq.access import checking
from tokenmq.access.rules import PolicyDocument
from tokenmq.errors import InvalidRequest, Unavailable
from tokenmq.services import wording
from tokenmq.services.auditing import Action, AuditEntry, Trace, entry
from tokenmq.tokens import settings
from tokenmq.tokens.records import OrganizationRecord, OrganizationSettings

_FIELDS = frozenset(OrganizationSettings.__struct_fields__)


def merged_settings(old: OrganizationSettings, given: Mapping[str, Any]) -> OrganizationSettings:
    """Return settings with those that are given in place of the old ones.

    Raises: InvalidRequest, which names every field that is wrong as far as it can be told.
    """
    unknown = sorted(given.keys() - _FIELDS)
    if unknown:
        raise InvalidRequest(*((f"settings.{name}", "is not a setting") for name in unknown))
    try:
        merged = msgspec.convert({**msgspec.to_builtins(old), **given}, OrganizationSettings)
    except msgspec.ValidationError as error:
        path, words = wording.told(str(error), OrganizationSettings)
        raise InvalidRequest((f"settings{path}", words)) from None
    try:
        settings.check(merged)
    except InvalidRequest as error:
        raise InvalidRequest(*((f"settings.{name}", text) for name, text in error.problems)) from None
    return merged


def noted(
    action: Action, record: OrganizationRecord, actor: str, now: float, trace: Trace, **details: Any
) -> AuditEntry:
    """Return what the audit trail says of a change of an organization."""
    return entry(
        action,
        f"organization:{record.id}",
        actor=actor,
        org_id=record.id,
        now=now,
        trace=trace,
        name=record.name,
        **details,
    )


def require_sound(org_id: str, document: PolicyDocument) -> None:
    """Refuse a stored policy that could never have been put.

    Raises: Unavailable.
    """
    checked = checking.check(msgspec.to_builtins(document), dollar_trees=())
    if checked.document is None:
        first = checked.findings[0]
        raise Unavailable(f"the stored policy of {org_id} is damaged: {first.path}: {first.message}")
