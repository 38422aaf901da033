"""The credential files of a data folder."""

import os
import stat
from pathlib import Path

import pytest

from tokenmq.cli.files import AdminFile, DemoFile, read, write
from tokenmq.errors import InvalidSettings

ADMIN = AdminFile(url="http://127.0.0.1:8080", key="ik_canary")


def test_what_is_written_is_read() -> None:
    write(Path("a/b/admin.json"), ADMIN)
    assert read(Path("a/b/admin.json"), AdminFile) == ADMIN


def test_there_may_be_none() -> None:
    assert read(Path("nope.json"), AdminFile) is None


def test_v05_file_and_folder_are_private_whatever_the_umask() -> None:
    before = os.umask(0)
    try:
        write(Path("new/admin.json"), ADMIN)
    finally:
        os.umask(before)
    assert stat.S_IMODE(Path("new/admin.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(Path("new").stat().st_mode) == 0o700


def test_a_folder_is_not_a_file() -> None:
    Path("admin.json").mkdir()
    with pytest.raises(InvalidSettings, match=r"admin\.json cannot be read"):
        read(Path("admin.json"), AdminFile)


def test_v69_repr_shows_no_key() -> None:
    demo = DemoFile(organization_id="org_x", organization_name="demo", secret_key="sk_canary")
    assert "canary" not in repr(ADMIN) + str(ADMIN) + repr(demo) + str(demo)
