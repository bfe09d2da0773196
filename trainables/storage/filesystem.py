"""Local files that appear whole or not at all, and paths to them."""

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
    """Return ``path`` with the home folder in the place of ``~``.

    Raises:
        ValueError: There is no such user, or the home folder of this one is not known, as in some containers.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ValueError(f"the home folder in {str(path)!r} is not known. Write the whole path.") from None


def atomic_write(target: str, content: bytes) -> None:
    """Write a local file, whole or not at all: under another name first, on the disk, then renamed."""
    with _temp_file(target, content) as draft:
        os.replace(draft, target)


def atomic_create(target: str, content: bytes) -> None:
    """Write a local file that was not there, whole or not at all.

    Raises:
        FileExistsError: There is one, or another process was faster.
    """
    with _temp_file(target, content) as draft:
        try:
            os.link(draft, target)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            os.replace(draft, target)
        else:
            os.remove(draft)


@contextmanager
def _temp_file(target: str, content: bytes) -> Iterator[str]:
    """Yield the name of a file beside ``target`` that holds ``content``; removed if an error comes."""
    folder, _, name = target.rpartition("/")
    os.makedirs(folder, exist_ok=True)
    draft = f"{folder}/_{name}.{uuid.uuid4().hex}"  # readers of Parquet folders skip names that begin with _
    try:
        with open(draft, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    except BaseException:
        if os.path.exists(draft):
            os.remove(draft)
        raise


def private_folder(parent: str | None = None) -> Path:
    """Return this user's own folder for temporary files, which is made where it is missing.

    Args:
        parent: Where it lies; the system's folder for temporary files if None.

    Raises:
        OSError: It cannot be made, or it is somebody else's, or others may enter it: what lies in it could be theirs.
    """
    folder = Path(parent or tempfile.gettempdir()) / f"sparsweep-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise OSError(errno.EACCES, "not a folder of yours. Remove it, or set TMPDIR to a folder of yours", str(folder))
    if found.st_mode & 0o077:  # of an earlier version
        folder.chmod(0o700)
    return folder
