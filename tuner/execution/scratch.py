"""The temporary folder of a driver: its own, of this user alone, and gone with it or with the next driver's start."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sparsweep.trainables.storage.filesystem import private_folder

SOCKET_LENGTH = (103 if sys.platform == "darwin" else 107) - len(
    "/session_2026-11-30_22-05-05_123456_4194304/sockets/plasma_store"
)
"""Longest path, in bytes, of a folder in which Ray can make its sockets."""
PREFIX = "d-"


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a temporary folder for this driver; remove it at the end, unless Ray failed and its logs tell why.

    Folders of drivers that were killed are removed first: their locks are free.

    Raises:
        OSError: There is no folder for it.
    """
    base = short_folder()
    with _locked(base / "lock"):  # so that no driver takes a folder being made for one that was left
        _remove_left(base)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        lock = (folder / "lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    with lock:
        keep = False
        try:
            yield folder
        except ConnectionError:
            keep = True
            raise
        finally:
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)  # some of Ray's processes may still write


def short_folder() -> Path:
    """Return this user's own folder for Ray's files.

    It lies in ``$RAY_TMPDIR``, else where temporary files lie, or in ``/tmp`` where that is too long for sockets.
    """
    name = f"/{PREFIX}12345678"
    base = private_folder(os.environ.get("RAY_TMPDIR"))
    if len(f"{base}{name}".encode()) <= SOCKET_LENGTH:
        return base
    return private_folder("/tmp")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_left(base: Path) -> None:
    for folder in base.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # BlockingIOError where its driver lives
            with (folder / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
