"""The data folder: private, and served by one process."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tokenmq.errors import DataFolderInUse, InvalidSettings
from tokenmq.stores.folder import LOCK_NAME, FolderLock, make_private, prepare_folder

# Takes the folder, says so, and lives until its input ends.
HOLDER = """
import sys
from pathlib import Path
from tokenmq.stores.folder import FolderLock
with FolderLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_v05_folder_is_for_its_owner_alone(tmp_path):
    folder = tmp_path / "a" / "data"
    prepare_folder(folder)
    assert mode(folder) == 0o700


def test_v05_folder_that_was_open_to_others_is_closed(tmp_path):
    tmp_path.chmod(0o755)
    prepare_folder(tmp_path)
    assert mode(tmp_path) == 0o700


def test_v05_file_is_for_its_owner_alone_whatever_the_umask(tmp_path):
    old = os.umask(0)
    try:
        make_private(tmp_path / "file")
    finally:
        os.umask(old)
    assert mode(tmp_path / "file") == 0o600


def test_folder_that_cannot_be_made_is_a_setting_that_cannot_be_used(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidSettings, match=r"data folder .*file/data"):
        prepare_folder(tmp_path / "file" / "data")


def test_second_hold_in_the_same_process_is_refused_until_the_first_ends(tmp_path):
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    with first, pytest.raises(DataFolderInUse):
        second.acquire()
    second.acquire()
    second.release()
    second.release()


def test_second_process_is_told_the_folder_and_the_pid_of_the_first(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DataFolderInUse) as caught:
            FolderLock(tmp_path).acquire()
        assert str(tmp_path) in str(caught.value)
        assert str(holder.pid) in str(caught.value)
        # However it ends: no goodbye.
        holder.kill()
        holder.wait()
    with FolderLock(tmp_path):
        assert (tmp_path / LOCK_NAME).read_text() == f"{os.getpid()}\n"
    assert mode(tmp_path / LOCK_NAME) == 0o600
