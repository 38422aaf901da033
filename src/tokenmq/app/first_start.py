"""The first start of a data folder, for `tokenmq init` and `tokenmq serve --demo`."""

from __future__ import annotations

from dataclasses import dataclass, field

from tokenmq import clock
from tokenmq.app.assembly import opened, run
from tokenmq.config import Settings
from tokenmq.services import bootstrap
from tokenmq.tokens.records import OrganizationRecord


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What was made, or is there still.

    Attributes:
        admin_key: the instance administrator's key.
        organization: the demo organization; None without a demo.
        secret_key: its secret key; None without a demo.
    """

    admin_key: str = field(repr=False)
    organization: OrganizationRecord | None
    secret_key: str | None = field(repr=False)


def initialise(
    settings: Settings,
    *,
    demo: bool,
    rotate: bool = False,
    admin_key: str | None = None,
    secret_key: str | None = None,
) -> Bootstrap:
    """Make what is missing in a data folder; may be repeated.

    Args:
        settings: where the folder is, and how tokens are signed.
        demo: make the demo organization and its key, too.
        rotate: make a new administrator's key, and end all that there were.
        admin_key: the administrator's key that the caller has kept, to be kept if it works.
        secret_key: likewise the demo's.

    Raises: DataFolderInUse, InvalidSettings, UnusableKey, Unavailable.
    """
    return run(_initialise(settings, demo=demo, rotate=rotate, admin_key=admin_key, secret_key=secret_key))


async def _initialise(
    settings: Settings, *, demo: bool, rotate: bool, admin_key: str | None, secret_key: str | None
) -> Bootstrap:
    async with opened(settings) as services:
        now = clock.now()
        if rotate:
            admin_key = await bootstrap.new_administrator_key(services, now=now)
        else:
            admin_key = await bootstrap.administrator_key(services, admin_key, now=now)
        if not demo:
            return Bootstrap(admin_key, None, None)
        made = await bootstrap.demo(services, secret_key, now=now)
        return Bootstrap(admin_key, made.organization, made.secret_key)
