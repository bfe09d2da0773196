"""Temporary folder of a driver: private to the user, removed at the driver's end or at the next driver's start."""

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
"""Maximum length in bytes of a folder's path so that Ray's socket paths fit the system's limit."""
PREFIX = "d-"


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Create a temporary folder for this driver and remove it at the end. Keep it for its logs if Ray failed.

    First removes the folders of killed drivers, whose locks are free.

    Raises:
        OSError: The folder cannot be created.
    """
    base = short_folder()
    with _locked(base / "lock"):  # or another driver could remove the new, still unlocked folder
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
                shutil.rmtree(folder, ignore_errors=True)  # Ray processes may still write


def short_folder() -> Path:
    """Return this user's private folder for Ray's files.

    It is in ``$RAY_TMPDIR`` or the system's temporary folder, or in ``/tmp`` if that path is too long for sockets.
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
        with contextlib.suppress(OSError):  # BlockingIOError: its driver is alive
            with (folder / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
