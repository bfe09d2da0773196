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
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from sparsweep.trainables.lazy import torch
from sparsweep.trainables.sparsifiers.base import InitContext, MaskedSparsifier, layer_shapes, sparsifiers
from sparsweep.trainables.sparsifiers.masks import Masks, is_plain, num_active
from sparsweep.trainables.specs.base import FileBacked, SpecError, shortened
from sparsweep.trainables.specs.distributions import num_weights
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.addresses import resolve_storage
from sparsweep.trainables.storage.user_files import read_user_file, user_file_digest


@sparsifiers.register
class Static(MaskedSparsifier, FileBacked):
    """Masks from a file (.pt or .npz), fixed from the start."""

    name: Literal["static"] = "static"
    file: str = Field(description="a local path, or an s3:// or gs:// address")
    digest: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file; computed where it is not given")
    path_fields: ClassVar[frozenset[str]] = frozenset({"file"})

    @model_validator(mode="before")
    @classmethod
    def _identify(cls, data: Any) -> Any:
        """An absolute path, and the digest of what lies there."""
        if not isinstance(data, Mapping) or not isinstance(data.get("file"), str):
            return data
        file = data["file"]
        try:
            file = file if "://" in file else resolve_storage(file)[1]
            digest = data.get("digest") or user_file_digest(file)
        except (OSError, ValueError) as error:
            reason = f"{file}: {shortened(str(error))}"
            raise SpecError("file", reason) from None
        return {**data, "file": file, "digest": digest}

    def check(self, spec: TrialSpec) -> None:
        super().check(spec)
        shapes = layer_shapes(spec.model, spec.dataset)
        try:
            found, kept = contents(self.file, self.digest, num_weights(shapes))
        except OSError:
            return  # nothing but the training itself needs the file
        for name in {**shapes, **found}:
            if found.get(name) != shapes.get(name):
                there, here = (sides.get(name, "missing") for sides in (found, shapes))
                raise SpecError(
                    "sparsifier.file", f"{shortened(name)} is {there} in {self.file}, {here} in the network"
                )
        total = num_weights(found)
        if kept != num_active(total, spec.sparsity):
            why = f"{self.file} keeps {kept} of {total} weights, which is {1 - kept / total:.6f}"
            raise SpecError("sparsity", f"{why}, got {spec.sparsity}")

    def initialize(self, start: InitContext) -> Masks:
        weights = start.weights
        masks = load(self.file, self.digest, sum(weight.numel() for weight in weights.values()))
        return Masks({name: masks[name] for name in weights})


MOST_BYTES_PER_WEIGHT = 32
"""Of a file, unpacked: masks of 64 bits beside weights, momenta and gradients of 32 take less."""
LEAST_BYTES = 2**20
"""Which any file may unpack to: names and headings."""


@lru_cache(maxsize=4)
def load(file: str, digest: str, weights: int) -> Masks:
    """The masks in ``file`` for a network of so many ``weights``, on the CPU.

    Raises:
        ValueError: The file is no longer the one of that digest, holds no masks, or unpacks to more than such masks.
        OSError: It cannot be read.
    """
    most = LEAST_BYTES + MOST_BYTES_PER_WEIGHT * weights
    content = read_user_file(file)
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise SpecError("sparsifier.file", f"{file} has changed: its SHA-256 is {found}, not {digest}")
    try:
        if (size := unpacked_size(content)) > most:
            raise ValueError(f"it unpacks to {size:,} bytes, masks of {weights:,} weights to {most:,} at the most")
        tensors = FORMATS[file.rpartition(".")[2]](content)
        return Masks({str(name): as_mask(str(name), tensor, weights) for name, tensor in tensors.items()})
    except Exception as error:  # whatever a reader makes of bytes that anybody may have written
        kind = "" if type(error) is ValueError else f"{type(error).__name__} "
        why = f"{kind}{shortened(str(error))}"
        raise SpecError("sparsifier.file", f"{file} holds no masks (.pt or .npz are read): {why}") from None


def unpacked_size(content: bytes) -> int:
    """Bytes that the members of an archive unpack to, by its own word, which readers hold it to; else of the file."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return len(content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return sum(member.file_size for member in archive.infolist())


def contents(file: str, digest: str, weights: int) -> tuple[dict[str, tuple[int, ...]], int]:
    """Shapes of the masks in ``file``, and how many weights they keep."""
    masks = load(file, digest, weights)
    return {name: tuple(mask.shape) for name, mask in masks.items()}, sum(masks.counts().values()) if masks else 0


def from_torch(content: bytes) -> Mapping[str, torch.Tensor]:
    try:
        value = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError("it is not of torch.save, or holds more than plain tensors") from None
    masks = value.get("masks", value) if isinstance(value, Mapping) else value
    if not isinstance(masks, Mapping):
        raise ValueError(f"a mapping of tensors by name was expected, not {type(masks).__name__}")
    return masks


def from_numpy(content: bytes) -> Mapping[str, torch.Tensor]:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive.files}


FORMATS = {"pt": from_torch, "npz": from_numpy}


def as_mask(name: str, tensor: Any, weights: int) -> torch.Tensor:
    """Boolean, from boolean or 0-1 numbers, of at most ``weights`` elements."""
    if not is_plain(tensor):
        raise ValueError(f"the mask of {name} is no tensor of numbers in memory")
    if tensor.numel() > weights:  # before anything is computed: one number can stand for any shape
        raise ValueError(f"the mask of {name} has {tensor.numel():,} elements, the network {weights:,} weights")
    if not torch.equal(tensor, (tensor != 0).to(tensor.dtype)):
        raise ValueError(f"the mask of {name} is not made of 0 and 1")
    return tensor != 0
