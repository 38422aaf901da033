"""Preparing a data folder, for `init` and for `serve --demo`.

The server part is imported here only, and only when it is needed: a machine that has
the client alone says what to install.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from tokenmq.cli.files import AdminFile, DemoFile, admin_path, demo_path, read, write
from tokenmq.cli.management import address
from tokenmq.config import Settings
from tokenmq.errors import InvalidSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenmq.app import Bootstrap, Ready


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """What is kept in the data folder.

    Attributes:
        demo: what `serve --demo` prints; None without a demo.
        is_new: something was made just now.
    """

    demo: DemoFile | None
    is_new: bool


def prepare(settings: Settings, *, demo: bool, rotate: bool = False) -> Prepared:
    """Make what is missing in the data folder: administrator's key, demo; keep what still works.

    The files may have outlived the database, or the other way round: what they say is
    true afterwards.

    Args:
        settings: where the folder is.
        demo: make a demo, too.
        rotate: make a new administrator's key, and end all that there were.
    """
    folder = settings.data.folder
    kept_admin = read(admin_path(folder), AdminFile)
    kept_demo = read(demo_path(folder), DemoFile)
    made = initialise(
        settings,
        demo=demo,
        rotate=rotate,
        admin_key=kept_admin.key if kept_admin else None,
        secret_key=kept_demo.secret_key if kept_demo else None,
    )
    admin = AdminFile(
        url=kept_admin.url if kept_admin else address(settings),
        key=made.admin_key,
        mqtt_url=kept_admin.mqtt_url if kept_admin else None,
    )
    now_demo = kept_demo
    if made.organization is not None and made.secret_key is not None:
        now_demo = DemoFile(
            organization_id=made.organization.id,
            organization_name=made.organization.name,
            secret_key=made.secret_key,
        )
    if admin != kept_admin:
        write(admin_path(folder), admin)
    if now_demo is not None and now_demo != kept_demo:
        write(demo_path(folder), now_demo)
    return Prepared(demo=now_demo, is_new=(admin, now_demo) != (kept_admin, kept_demo))


def initialise(
    settings: Settings, *, demo: bool, rotate: bool, admin_key: str | None, secret_key: str | None
) -> Bootstrap:
    """Call `app.initialise`."""
    try:
        from tokenmq import app
    except ModuleNotFoundError as error:
        raise _without_server(error) from error
    return app.initialise(settings, demo=demo, rotate=rotate, admin_key=admin_key, secret_key=secret_key)


def serve(settings: Settings, on_ready: Callable[[Ready], None]) -> int:
    """Call `app.serve`."""
    try:
        from tokenmq import app
    except ModuleNotFoundError as error:
        raise _without_server(error) from error
    return app.serve(settings, on_ready)


def _without_server(error: ModuleNotFoundError) -> Exception:
    """Say what to install; a module of ours that is missing is a defect and stays one."""
    name = error.name or ""
    if name.partition(".")[0] == "tokenmq":
        return error
    return InvalidSettings(
        f'the server part is not installed ({name} is missing); run: pip install "tokenmq[server]"'
    )
