"""Local files that appear whole or not at all, and paths to them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def expanded(path: str | Path) -> Path:
    """Return ``path`` with the home folder in the place of ``~``.

    Raises:
        ValueError: There is no such user, or the home folder of this one is not known, as in some containers.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ValueError(f"the home folder in {str(path)!r} is not known. Write the whole path.") from None


def write_local(target: str, content: bytes) -> None:
    """Write a local file, whole or not at all: under another name first, on the disk, then renamed."""
    with _draft(target, content) as draft:
        os.replace(draft, target)


def create_local(target: str, content: bytes) -> None:
    """Write a local file that was not there, whole or not at all.

    Raises:
        FileExistsError: There is one, or another process was faster.
    """
    with _draft(target, content) as draft:
        try:
            os.link(draft, target)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            os.replace(draft, target)
        else:
            os.remove(draft)


@contextmanager
def _draft(target: str, content: bytes) -> Iterator[str]:
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
