"""Masks from a file, fixed from the start: those of another tool, or what ``sparsweep export`` wrote.

The file holds a mask for every maskable weight by its name (as in the table ``layers``): in PyTorch's format a mapping
of boolean or 0-1 tensors, or one with such a mapping under ``masks``; or a NumPy archive (``.npz``). It is read as
data: nothing in it is unpickled. A trial is identified by the file's SHA-256 and not by where it lies, which every node
must be able to read (a shared folder, or s3:// and the like).
"""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from trainables.deferred import torch
from trainables.records import resolve
from trainables.sparsifiers.base import Sparse, Start, layer_shapes, sparsifiers
from trainables.sparsifiers.distributions import sizes
from trainables.sparsifiers.masks import Masks, kept_weights
from trainables.values import Placed

if TYPE_CHECKING:
    from trainables.spec import TrialSpec


@sparsifiers.register
class Static(Sparse, Placed):
    """Masks from a file (.pt or .npz), fixed from the start."""

    name: Literal["static"] = "static"
    file: str = Field(description="a local path, or an s3:// or gs:// address")
    digest: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file; computed where it is not given")
    whereabouts: ClassVar[frozenset[str]] = frozenset({"file"})

    @model_validator(mode="before")
    @classmethod
    def _identify(cls, data: Any) -> Any:
        """An absolute path, and the digest of what lies there."""
        if not isinstance(data, Mapping) or not isinstance(data.get("file"), str):
            return data
        file = data["file"] if "://" in data["file"] else resolve(data["file"])[1]
        try:
            digest = data.get("digest") or hashlib.sha256(read(file)).hexdigest()
        except OSError as error:
            raise PydanticCustomError("nested", "{reason}", {"path": "file", "reason": f"{file}: {error}"}) from None
        return {**data, "file": file, "digest": digest}

    def check(self, spec: TrialSpec) -> None:
        super().check(spec)
        try:
            found, kept = contents(self.file, self.digest)
        except OSError:
            return  # nothing but the training itself needs the file
        shapes = layer_shapes(spec.model, spec.dataset)
        for name in {**shapes, **found}:
            if found.get(name) != shapes.get(name):
                there, here = (sides.get(name, "missing") for sides in (found, shapes))
                raise ValueError(f"sparsifier.file: {name} is {there} in {self.file}, {here} in the network")
        total = sizes(found)
        if kept != kept_weights(total, spec.sparsity):
            why = f"{self.file} keeps {kept} of {total} weights, which is {1 - kept / total:.6f}"
            raise ValueError(f"sparsity: {why}, got {spec.sparsity}")

    def initialize(self, start: Start) -> Masks:
        masks = load(self.file, self.digest)
        return Masks({name: masks[name] for name in start.weights})


def read(file: str) -> bytes:
    """The bytes of a local file or of an address in an object store; OSError if there are none."""
    filesystem, path = resolve(file)
    with filesystem.open_input_file(path) as stream:
        return bytes(stream.read())


@lru_cache(maxsize=4)
def load(file: str, digest: str) -> Masks:
    """The masks in ``file``, on the CPU; ValueError if it is no longer the one of that digest, or holds no masks."""
    content = read(file)
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise ValueError(f"sparsifier.file: {file} has changed: its SHA-256 is {found}, not {digest}")
    try:
        tensors = FORMATS[file.rpartition(".")[2]](content)
    except UNREADABLE as error:
        why = f"{type(error).__name__} {str(error).partition(chr(10))[0]}"
        raise ValueError(f"sparsifier.file: {file} holds no masks (.pt or .npz are read): {why}") from None
    return Masks({name: as_mask(name, tensor) for name, tensor in tensors.items()})


def contents(file: str, digest: str) -> tuple[dict[str, tuple[int, ...]], int]:
    """Shapes of the masks in ``file``, and how many weights they keep."""
    masks = load(file, digest)
    return {name: tuple(mask.shape) for name, mask in masks.items()}, sum(masks.counts().values())


def from_torch(content: bytes) -> Mapping[str, torch.Tensor]:
    value = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if not isinstance(value, Mapping):
        raise ValueError(f"a mapping of tensors by name was expected, not {type(value).__name__}")
    return value.get("masks", value)


def from_numpy(content: bytes) -> Mapping[str, torch.Tensor]:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive.files}


FORMATS = {"pt": from_torch, "npz": from_numpy}
UNREADABLE = (KeyError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile)


def as_mask(name: str, tensor: Any) -> torch.Tensor:
    """Boolean, from boolean or 0-1 numbers."""
    if not isinstance(tensor, torch.Tensor) or not torch.equal(tensor, (tensor != 0).to(tensor.dtype)):
        raise ValueError(f"sparsifier.file: the mask of {name} is not made of 0 and 1")
    return tensor != 0
