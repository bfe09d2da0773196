"""Local copies of image files from a bucket. All processes of a node share one copy in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pyarrow import fs

from sparsweep.trainables.storage import image_file
from sparsweep.trainables.storage.filesystem import atomic_write, private_folder
from sparsweep.trainables.storage.tensor_file import CorruptFileError

HEAD_BYTES = 4096
"""Number of bytes that certainly contain the first line: a checksum and the shapes of two arrays."""


def open_through_cache(filesystem: fs.FileSystem, path: str, run: str = "") -> dict[str, np.ndarray]:
    """Return the arrays of an image file in a bucket, by name: read-only and memory-mapped from a local copy.

    The first line of a file contains the checksum of the rest. A local copy is valid only if its first line equals the
    first line of the file in the bucket.

    Args:
        filesystem: File system of the bucket.
        path: Path of the file in the bucket.
        run: Id of the run that must own the file. An empty id skips this check.

    Raises:
        FileNotFoundError: The file is not in the bucket, even if a local copy exists.
        CorruptFileError: The file in the bucket is damaged, or belongs to another run.
    """
    local = private_folder() / "images" / path.rpartition("/")[2]
    with filesystem.open_input_file(path) as remote:
        if _head(local) == _first_line(remote.read(HEAD_BYTES)):
            try:
                return image_file.open_mapped(local, run)
            except CorruptFileError:  # only the local copy is damaged: fetch the file again
                pass
        remote.seek(0)
        atomic_write(str(local), remote.read())
    try:
        return image_file.open_mapped(local, run)
    except CorruptFileError:
        local.unlink()
        raise


def _head(local: Path) -> bytes | None:
    """Return the first line of the local copy, or None if there is no copy."""
    try:
        with local.open("rb") as file:
            return _first_line(file.read(HEAD_BYTES))
    except FileNotFoundError:
        return None


def _first_line(content: bytes) -> bytes:
    return content.partition(b"\n")[0]
