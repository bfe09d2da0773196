"""Tensor files: one versioned value with a checksum, read without running pickled code.

A file is one line of text (format, SHA-256 of the rest, id of the run), then the bytes of ``torch.save``. The reader
checks checksum and id, then loads with ``weights_only=True``. It therefore rejects a truncated file and a file copied
from another run, and a malicious file cannot run code. Files of earlier versions have no id; their id is not checked.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any

from sparsweep.trainables.lazy import torch

TENSOR_MAGIC = b"sparsweep-tensors-1"


class CorruptFileError(Exception):
    """Error for a file that is truncated, altered, of another format, or of another run."""


Check = Callable[[Any], object]
"""Function that raises CorruptFileError if the content, although its checksum matches, cannot come from its run."""


def accept(content: Any) -> None:
    """Accept any content. Use it where the checks of checksum and run are enough."""


def dumps(value: Any, run: str = "") -> bytes:
    """Return the bytes of a tensor file.

    Args:
        value: Tensors and plain Python values in dicts, lists and tuples.
        run: Id of the run that made it.
    """
    buffer = io.BytesIO()
    torch.save(value, buffer)
    body = buffer.getvalue()
    head = [TENSOR_MAGIC.decode(), hashlib.sha256(body).hexdigest(), *([run] if run else [])]
    return " ".join(head).encode() + b"\n" + body


def loads(content: bytes, run: str = "") -> Any:
    """Return the value in the bytes of a tensor file, with all tensors on the CPU.

    Args:
        content: The bytes that :func:`dumps` returned.
        run: Id of the run that must own the file. An empty id skips this check.

    Raises:
        CorruptFileError: The file is damaged or has another format, or belongs to another run.
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
    except Exception as error:  # torch.load raises any error on bytes that torch.save did not write
        reason = f"{type(error).__name__} {str(error).partition(chr(10))[0]}"
        raise CorruptFileError(f"torch.load cannot read it with weights_only=True: {reason}") from error


def check_owner(owner: str, run: str) -> None:
    """Raise CorruptFileError if the recorded ``owner`` of a file is not ``run``. Ignore empty ids."""
    if owner and run and owner != run:
        raise CorruptFileError(f"it belongs to another run, {owner}")
