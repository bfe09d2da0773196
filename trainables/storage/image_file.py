"""Images on their way to storage and back: raw uint8 arrays with a checksum in front, mapped into memory when read.

A mapped file stands in memory once a machine, however many processes read it. The file is a line of JSON (format,
SHA-256 of the rest, id of the run, names and shapes) and the bytes of the arrays one after the other.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sparsweep.trainables.storage.tensor_file import CorruptFileError, check_owner

IMAGE_MAGIC = "sparsweep-images-1"


def dumps(arrays: Mapping[str, np.ndarray], run: str = "") -> bytes:
    """Bytes of uint8 ``arrays`` by name, with the id of their ``run``."""
    body = b"".join(np.ascontiguousarray(array, dtype=np.uint8).tobytes() for array in arrays.values())
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    head = {"format": IMAGE_MAGIC, "sha256": hashlib.sha256(body).hexdigest(), "run": run, "shapes": shapes}
    return json.dumps(head).encode() + b"\n" + body


def open_mapped(path: Path, run: str = "") -> dict[str, np.ndarray]:
    """What :func:`encode` was given, read-only, from a local file.

    Raises:
        Damaged: The bytes are not whole, or of another run than ``run``. Files of earlier versions name none.
    """
    with path.open("rb") as file:
        line = file.readline(1_000_000)
        try:
            head = json.loads(line)
            shapes, checksum, owner = head["shapes"], head["sha256"], head.get("run", "")
            sizes = [math.prod(shape) for shape in shapes.values()]
            sides = [side for shape in shapes.values() for side in shape]
            if (
                head["format"] != IMAGE_MAGIC
                or not shapes
                or not all(type(side) is int and side >= 0 for side in sides)
            ):
                raise ValueError
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise CorruptFileError("not an image file of this version") from None
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    whole = np.frombuffer(mapped, dtype=np.uint8, offset=len(line))
    if len(whole) != sum(sizes) or hashlib.sha256(whole.data).hexdigest() != checksum:
        raise CorruptFileError("checksum does not match")
    check_owner(owner, run)
    parts = np.split(whole, np.cumsum(sizes)[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
