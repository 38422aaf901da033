"""The data folder: only its owner may read it, and only one process may serve it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tokenmq.errors import DataFolderInUse, InvalidSettings

FOLDER_MODE = 0o700
FILE_MODE = 0o600
LOCK_NAME = "lock"


def prepare_folder(folder: Path) -> None:
    """Make the data folder if it is not there, and close it to everybody else.

    Raises: InvalidSettings when it cannot be made or is not ours to close.
    """
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        folder.chmod(FOLDER_MODE)
    except OSError as error:
        raise InvalidSettings(f"data folder {folder}: {error.strerror or error}") from error


def make_private(file: Path) -> None:
    """Make a file that only its owner can read and write, or close one that is there."""
    os.close(os.open(file, os.O_RDWR | os.O_CREAT, FILE_MODE))
    file.chmod(FILE_MODE)


class FolderLock:
    """A process's hold on a data folder, for as long as the process lives.

    The operating system lets go of it when the process ends, however it ends; the file
    stays and means nothing by itself. It holds the process id, for the error's sake.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / LOCK_NAME
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the folder.

        Raises: DataFolderInUse, which names the folder and the process that has it.
        """
        prepare_folder(self._folder)
        make_private(self._file)
        descriptor = os.open(self._file, os.O_RDWR)
        if not _lock(descriptor):
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise DataFolderInUse(
                f"data folder {self._folder} is served by another process"
                + (f", pid {holder}" if holder.isdigit() else "")
            )
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode("ascii"))
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go of the folder; without effect when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


if sys.platform == "win32":
    import msvcrt

    # Far behind the process id: what is locked cannot be read by others there.
    _LOCKED_BYTE = 1_024

    def _lock(descriptor: int) -> bool:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        # Not fcntl.lockf: its locks are lost when any descriptor of the file is closed.
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
