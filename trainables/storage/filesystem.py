"""Atomic writes of local files, and local paths."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def expand_home(path: str | Path) -> Path:
    """Return ``path`` with ``~`` replaced by the home folder.

    Raises:
        ValueError: The user does not exist, or the home folder is unknown (as in some containers).
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ValueError(f"the home folder is unknown (got {str(path)!r}). Write the full path.") from None


def atomic_write(target: str, content: bytes) -> None:
    """Write a local file atomically: write a temporary file, flush it to disk, rename it to ``target``."""
    with _temp_file(target, content) as temporary:
        os.replace(temporary, target)


def atomic_create(target: str, content: bytes) -> None:
    """Create a local file atomically.

    Args:
        target: Path of the new file.
        content: Bytes to write.

    Raises:
        FileExistsError: The file exists already, or another process created it first.
    """
    with _temp_file(target, content) as temporary:
        try:
            os.link(temporary, target)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            os.replace(temporary, target)
        else:
            os.remove(temporary)


@contextmanager
def _temp_file(target: str, content: bytes) -> Iterator[str]:
    """Yield the path of a temporary file with ``content``, in the folder of ``target``. Remove it after an error."""
    folder, _, name = target.rpartition("/")
    os.makedirs(folder, exist_ok=True)
    temporary = f"{folder}/_{name}.{uuid.uuid4().hex}"  # readers of Parquet folders skip names that start with _
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise


def private_folder(parent: str | None = None) -> Path:
    """Return the user's private folder for temporary files. Create it if it does not exist.

    Args:
        parent: Parent folder. Default: the system's folder for temporary files.

    Raises:
        OSError: The folder cannot be created, is not a folder, or belongs to another user (its files are untrusted).
    """
    folder = Path(parent or tempfile.gettempdir()) / f"sparsweep-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        reason = "not a folder that you own. Remove it, or set TMPDIR to a folder that you own"
        raise OSError(errno.EACCES, reason, str(folder))
    if status.st_mode & 0o077:  # earlier versions created folders that others can read
        folder.chmod(0o700)
    return folder
