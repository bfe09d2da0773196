"""Tensors on their way to storage and back: one versioned value, its checksum in front, never unpickled.

The file is one line of text (format, SHA-256 of the rest, id of the run) and the bytes of ``torch.save``. Reading
checks sum and id first and then loads with ``weights_only=True``: a torn file is found, so is one that was copied under
another name, and a hostile one runs nothing. Files of earlier versions have no id, and are read without that check.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any

from sparsweep.trainables.lazy import torch

TENSOR_MAGIC = b"sparsweep-tensors-1"


class CorruptFileError(Exception):
    """The bytes are not what was written: truncated, altered, of another format, or of another run."""


Check = Callable[[Any], object]
"""Raises Damaged on content that is whole, and still not what its run would have left."""


def accept(content: Any) -> None:
    """Let any content pass whose checksum and run are right."""


def dumps(value: Any, run: str = "") -> bytes:
    """Bytes of ``value``: tensors and plain Python values in dicts, lists and tuples; with the id of their ``run``."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    body = buffer.getvalue()
    head = [TENSOR_MAGIC.decode(), hashlib.sha256(body).hexdigest(), *([run] if run else [])]
    return " ".join(head).encode() + b"\n" + body


def loads(content: bytes, run: str = "") -> Any:
    """What :func:`encode` was given, on the CPU.

    Raises:
        Damaged: The bytes are not whole, or of another run than ``run``.
    """
    head, _, body = content.partition(b"\n")
    magic, _, rest = head.partition(b" ")
    checksum, _, owner = rest.partition(b" ")
    if magic != TENSOR_MAGIC:
        raise CorruptFileError("not a tensor file of this version")
    if hashlib.sha256(body).hexdigest().encode() != checksum:
        raise CorruptFileError("checksum does not match")
    check_owner(owner.decode(errors="replace"), run)
    try:
        return torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the reader makes of bytes that torch.save did not write
        raise CorruptFileError(
            f"not tensors alone: {type(error).__name__} {str(error).partition(chr(10))[0]}"
        ) from error


def check_owner(owner: str, run: str) -> None:
    """Raise Damaged if a file that names ``owner`` as its run is not of ``run``. An empty id is not checked."""
    if owner and run and owner != run:
        raise CorruptFileError(f"it is of another run, {owner}")
