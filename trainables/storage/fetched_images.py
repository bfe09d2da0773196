"""Files of images from a bucket, kept on this machine so that its processes share one copy in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pyarrow import fs

from sparsweep.trainables.storage import image_file
from sparsweep.trainables.storage.filesystem import atomic_write, private_folder
from sparsweep.trainables.storage.tensor_file import CorruptFileError

HEAD_BYTES = 4096
"""Longer than a first line, which has a checksum and the shapes of two arrays."""


def open_through_cache(filesystem: fs.FileSystem, path: str, run: str = "") -> dict[str, np.ndarray]:
    """Return the arrays of an image file in a bucket, by name, read-only and mapped from a copy here.

    The copy is used only if its first line, which has the checksum of the rest, is that of the file in the bucket.

    Raises:
        FileNotFoundError: There is no such file in the bucket, whatever may be here.
        Damaged: The file in the bucket is not whole, or of another run than ``run``.
    """
    local = private_folder() / "images" / path.rpartition("/")[2]
    with filesystem.open_input_file(path) as remote:
        if _head(local) == _first_line(remote.read(HEAD_BYTES)):
            try:
                return image_file.open_mapped(local, run)
            except CorruptFileError:  # here; the bucket's may be whole
                pass
        remote.seek(0)
        atomic_write(str(local), remote.read())
    try:
        return image_file.open_mapped(local, run)
    except CorruptFileError:
        local.unlink()
        raise


def _head(local: Path) -> bytes | None:
    """Return the first line of the copy here, None if there is no copy."""
    try:
        with local.open("rb") as file:
            return _first_line(file.read(HEAD_BYTES))
    except FileNotFoundError:
        return None


def _first_line(content: bytes) -> bytes:
    return content.partition(b"\n")[0]
