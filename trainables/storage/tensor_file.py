"""Tensors in storage: one versioned value with a checksum. No pickles.

A file is one line of text (format, SHA-256 of the rest, id of the run) and a safetensors archive. The archive holds the
tensors; its metadata holds the structure around them as JSON. Reading checks sum and id first. So a torn file is
detected, and a file that was copied under another name. Files of version 0.1 are read too (``torch.load`` with
``weights_only=True``); files without an id are read without that check.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

from sparsweep.trainables.lazy import torch

TENSOR_MAGIC = b"sparsweep-tensors-2"
FORMER_MAGIC = b"sparsweep-tensors-1"
STRUCTURE = "sparsweep"
"""Key of the structure in the metadata of the archive."""


class CorruptFileError(Exception):
    """The bytes are not those that were written: truncated, altered, of another format, or of another run."""


Check = Callable[[Any], object]
"""Raises CorruptFileError for valid content that its run cannot have written."""


def accept(content: Any) -> None:
    """Accept any content."""


def dumps(value: Any, run: str = "") -> bytes:
    """Return the bytes of a value.

    Args:
        value: Tensors, numbers, texts, booleans and None in dicts, lists and tuples.
        run: Id of the run that writes it.

    Raises:
        TypeError: ``value`` holds something else.
    """
    from safetensors.torch import save

    tensors: dict[str, torch.Tensor] = {}
    structure = json.dumps(_pack(value, tensors))
    body = save(tensors, metadata={STRUCTURE: structure})
    head = [TENSOR_MAGIC.decode(), hashlib.sha256(body).hexdigest(), *([run] if run else [])]
    return " ".join(head).encode() + b"\n" + body


def loads(content: bytes, run: str = "") -> Any:
    """Return the value that :func:`dumps` got, on the CPU.

    Raises:
        CorruptFileError: The bytes are damaged, or belong to another run than ``run``.
    """
    head, _, body = content.partition(b"\n")
    magic, _, rest = head.partition(b" ")
    checksum, _, owner = rest.partition(b" ")
    if magic not in (TENSOR_MAGIC, FORMER_MAGIC):
        raise CorruptFileError("not a tensor file of this version")
    if hashlib.sha256(body).hexdigest().encode() != checksum:
        raise CorruptFileError("checksum does not match")
    check_owner(owner.decode(errors="replace"), run)
    try:
        if magic == FORMER_MAGIC:
            return torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
        return _read_archive(body)
    except Exception as error:  # any error of a reader on bytes that it did not write
        reason = f"{type(error).__name__} {str(error).partition(chr(10))[0]}"
        raise CorruptFileError(f"not tensors alone: {reason}") from error


def check_owner(owner: str, run: str) -> None:
    """Raise CorruptFileError if a file of the run ``owner`` is not of ``run``. An empty id is not checked."""
    if owner and run and owner != run:
        raise CorruptFileError(f"it belongs to another run, {owner}")


def _read_archive(body: bytes) -> Any:
    from safetensors.torch import load

    length = int.from_bytes(body[:8], "little")
    metadata = json.loads(body[8 : 8 + length])["__metadata__"]
    return _unpack(json.loads(metadata[STRUCTURE]), load(body))


def _pack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Return ``value`` as JSON. Tensors move to ``tensors``; containers are tagged, since JSON lacks some of them."""
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        # A copy: safetensors refuses tensors that share memory, as tied weights do.
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"dict": [[_pack(key, tensors), _pack(part, tensors)] for key, part in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_pack(part, tensors) for part in value]}
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f"a tensor file holds tensors and plain values, not {type(value).__name__}")


def _unpack(value: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {_unpack(key, tensors): _unpack(part, tensors) for key, part in content}
    return {"list": list, "tuple": tuple}[kind](_unpack(part, tensors) for part in content)
