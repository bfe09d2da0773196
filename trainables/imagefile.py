"""Images on their way to storage and back: raw uint8 arrays with a checksum in front, mapped into memory when read.

A mapped file stands in memory once a machine, however many processes read it. The file is a line of JSON (format,
SHA-256 of the rest, names and shapes) and the bytes of the arrays one after the other.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from trainables.checkpoint import Damaged

MAGIC = "sparsweep-images-1"


def encode(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Bytes of uint8 ``arrays`` by name."""
    body = b"".join(np.ascontiguousarray(array, dtype=np.uint8).tobytes() for array in arrays.values())
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    head = {"format": MAGIC, "sha256": hashlib.sha256(body).hexdigest(), "shapes": shapes}
    return json.dumps(head).encode() + b"\n" + body


def open_mapped(path: Path) -> dict[str, np.ndarray]:
    """What :func:`encode` was given, read-only, from a local file; :class:`Damaged` if the bytes are not whole."""
    with path.open("rb") as file:
        line = file.readline(1_000_000)
        try:
            head = json.loads(line)
            shapes, checksum = head["shapes"], head["sha256"]
            if head["format"] != MAGIC:
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise Damaged("not an image file of this version") from None
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    whole = np.frombuffer(mapped, dtype=np.uint8, offset=len(line))
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    if len(whole) != sum(sizes) or hashlib.sha256(whole.data).hexdigest() != checksum:
        raise Damaged("checksum does not match")
    parts = np.split(whole, np.cumsum(sizes)[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
