"""The credential files of a data folder, which only their owner can read.

`admin.json` has the addresses of the service and the administrator's `ik_` key for
management commands; `demo.json` has what `serve --demo` prints.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TypeVar

import msgspec

from tokenmq.errors import InvalidSettings

File = TypeVar("File", bound=msgspec.Struct)


class AdminFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where the service is, and the administrator's key.

    Attributes:
        mqtt_url: where its broker listened when it was last started; None = never.
    """

    url: str
    key: str
    mqtt_url: str | None = None

    def __repr__(self) -> str:
        return f"AdminFile(url={self.url!r})"


class DemoFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The demo's organization and its secret key."""

    organization_id: str
    organization_name: str
    secret_key: str

    def __repr__(self) -> str:
        return f"DemoFile(organization_id={self.organization_id!r})"


def admin_path(folder: Path) -> Path:
    """Return where the administrator's file is in a data folder."""
    return folder / "admin.json"


def demo_path(folder: Path) -> Path:
    """Return where the demo's file is in a data folder."""
    return folder / "demo.json"


def read(path: Path, kind: type[File]) -> File | None:
    """Read a credential file; None when there is none.

    Raises: InvalidSettings when others can read it or it is not what it should be.
    """
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidSettings(f"{path} cannot be read: {error.strerror}") from error
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise InvalidSettings(f"{path} holds a key and others can read it; run: chmod 600 {path}")
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        raise InvalidSettings(f"{path} is damaged: {error}") from error


def write(path: Path, value: msgspec.Struct) -> None:
    """Write a credential file, whole or not at all, readable by its owner only."""
    write_private(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def write_private(path: Path, content: bytes) -> None:
    """Replace a file by another that only its owner can read, whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 a descriptor, for its mode
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
