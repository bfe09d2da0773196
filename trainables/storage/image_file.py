"""Image files: raw uint8 arrays with a checksum, memory-mapped for reading.

All processes of a node share one copy of a mapped file in memory. A file starts with one line of JSON: format, SHA-256
of the rest, id of the run, names and shapes. The bytes of the arrays follow in order.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from sparsweep.trainables.storage.tensor_file import CorruptFileError, check_owner

IMAGE_MAGIC = "sparsweep-images-1"


def dumps(arrays: Mapping[str, np.ndarray], run: str = "") -> bytes:
    """Return the bytes of an image file.

    Args:
        arrays: uint8 arrays by name.
        run: Id of the run that made them.
    """
    body = b"".join(np.ascontiguousarray(array, dtype=np.uint8).tobytes() for array in arrays.values())
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    head = {"format": IMAGE_MAGIC, "sha256": hashlib.sha256(body).hexdigest(), "run": run, "shapes": shapes}
    return json.dumps(head).encode() + b"\n" + body


def open_mapped(path: Path, run: str = "") -> dict[str, np.ndarray]:
    """Return the arrays of a local image file by name: read-only and memory-mapped.

    The checksum of a file is checked once per process: a worker evaluates many trials on the same files.

    Args:
        path: Path of the file.
        run: Id of the run that must own the file. An empty id skips this check. Files of earlier versions have no id.

    Raises:
        CorruptFileError: The file is damaged or has another format, or belongs to another run.
    """
    state = path.stat()
    return dict(_open_verified(path, run, state.st_ino, state.st_size, state.st_mtime_ns))


@lru_cache(maxsize=128)  # more than the files of one evaluation, 19 types at 5 severities
def _open_verified(path: Path, run: str, *state: int) -> dict[str, np.ndarray]:
    """Return what :func:`open_mapped` returns. ``state`` changes when the file changes."""
    with path.open("rb") as file:
        line = file.readline(1_000_000)
        try:
            head = json.loads(line)
            shapes, checksum, owner = head["shapes"], head["sha256"], head.get("run", "")
            sizes = [math.prod(shape) for shape in shapes.values()]
            dimensions = [size for shape in shapes.values() for size in shape]
            is_valid = all(type(size) is int and size >= 0 for size in dimensions)
            if head["format"] != IMAGE_MAGIC or not shapes or not is_valid:
                raise ValueError
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise CorruptFileError("not an image file of this version") from None
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    body = np.frombuffer(mapped, dtype=np.uint8, offset=len(line))
    if len(body) != sum(sizes) or hashlib.sha256(body.data).hexdigest() != checksum:
        raise CorruptFileError("checksum does not match")
    check_owner(owner, run)
    parts = np.split(body, np.cumsum(sizes)[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
