"""Tensors on their way to storage and back: one versioned value, its checksum in front, never unpickled.

The file is one line of text (format, SHA-256 of the rest) and the bytes of ``torch.save``. Reading checks the sum
first and then loads with ``weights_only=True``, so that a torn file is found and a hostile one runs nothing.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from typing import Any

from trainables.deferred import torch

MAGIC = b"sparsweep-tensors-1"


class Damaged(Exception):
    """The bytes are not what was written: truncated, altered, or of another format."""


def encode(value: Any) -> bytes:
    """Bytes of ``value``: tensors and plain Python values in dicts, lists and tuples."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    body = buffer.getvalue()
    return b"%s %s\n%s" % (MAGIC, hashlib.sha256(body).hexdigest().encode(), body)


def decode(content: bytes) -> Any:
    """What :func:`encode` was given, on the CPU; :class:`Damaged` if the bytes are not whole."""
    head, _, body = content.partition(b"\n")
    magic, _, checksum = head.partition(b" ")
    if magic != MAGIC:
        raise Damaged("not a tensor file of this version")
    if hashlib.sha256(body).hexdigest().encode() != checksum:
        raise Damaged("checksum does not match")
    try:
        return torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise Damaged(f"not tensors alone: {str(error).splitlines()[0]}") from error
