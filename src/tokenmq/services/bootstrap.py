"""The first start: what must be there before anybody can ask for anything.

It may be repeated: what is there is kept. Only texts of keys cannot be had twice, as they
are not stored; the caller keeps them in a file and shows them here, and a new key is made
where none is shown or the one that is shown opens nothing any more.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tokenmq.access.recording import HistoryRule, HistoryRules
from tokenmq.errors import InvalidKey
from tokenmq.services.bundle import Services
from tokenmq.tokens.records import KeyKind, KeyRecord, OrganizationRecord

ADMINISTRATOR_NAME = "administrator"
DEMO_NAME = "demo"
# The wire contract: what the demo records.
DEMO_HISTORY = HistoryRules([HistoryRule("chat/#", max_age=86_400, max_messages=100)])


@dataclass(frozen=True, slots=True)
class Demo:
    """An organization to play with; its key does not expire."""

    organization: OrganizationRecord
    secret_key: str = field(repr=False)


async def administrator_key(services: Services, shown: str | None, *, now: float) -> str:
    """Return the text of an instance administrator's key that works.

    Args:
        services: assembled; they have made the first signing key already.
        shown: the text that the caller has kept; None = none.
        now: unix seconds.

    Raises: Unavailable.
    """
    if shown is not None:
        record = _working(services, shown, now)
        if record is not None and record.kind is KeyKind.INSTANCE:
            return shown
    return (await services.keys.create_administrator(ADMINISTRATOR_NAME, now=now)).text


async def new_administrator_key(services: Services, *, now: float) -> str:
    """Return the text of a new instance administrator's key; all earlier ones end.

    Args:
        services: assembled; nobody else uses the data folder, so no connection is of those keys.
        now: unix seconds.

    Raises: Unavailable.
    """
    created = await services.keys.create_administrator(ADMINISTRATOR_NAME, now=now)
    await services.keys.delete_other_administrators(created.record.id, now=now)
    return created.text


async def demo(services: Services, shown: str | None, *, now: float) -> Demo:
    """Return the demo organization and the text of a secret key of it that works.

    Args:
        services: assembled.
        shown: the text of the key that the caller has kept; None = none.
        now: unix seconds.

    Raises: Unavailable.
    """
    organization = services.organizations.named(DEMO_NAME)
    if organization is None:
        organization = await services.organizations.create_first(
            DEMO_NAME, settings=None, now=now, history=DEMO_HISTORY
        )
    elif shown is not None:
        record = _working(services, shown, now)
        if record is not None and record.org_id == organization.id and record.kind is KeyKind.SECRET:
            return Demo(organization, shown)
    key = await services.keys.create_first(DEMO_NAME, org_id=organization.id, now=now)
    return Demo(organization, key.text)


def _working(services: Services, text: str, now: float) -> KeyRecord | None:
    try:
        return services.keys.authenticate(text, now)
    except InvalidKey:
        return None
