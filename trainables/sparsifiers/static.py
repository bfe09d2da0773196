"""Masks from a file, fixed from the start: masks of another tool, or of ``sparsweep export``.

The file has one mask for every maskable weight, under its name in the table ``layers``. Two formats are supported: a
PyTorch file (``.pt``) with a mapping of boolean or 0-1 tensors, possibly under the key ``masks``; and a NumPy archive
(``.npz``). The reader unpickles no objects. The trial id contains the file's SHA-256 digest, not its path. Every node
must be able to read the path (a shared folder, or an s3:// or gs:// address).
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
from sparsweep.trainables.specs.base import PartlyHashed, SpecError, shortened
from sparsweep.trainables.specs.distributions import num_weights
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.addresses import resolve_storage
from sparsweep.trainables.storage.user_files import read_user_file, user_file_digest


@sparsifiers.register
class Static(MaskedSparsifier, PartlyHashed):
    """Masks from a file (.pt or .npz), fixed from the start."""

    name: Literal["static"] = "static"
    file: str = Field(description="a local path, or an s3:// or gs:// address")
    digest: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file; computed if missing")
    unhashed: ClassVar[frozenset[str]] = frozenset({"file"})

    @model_validator(mode="before")
    @classmethod
    def _identify(cls, data: Any) -> Any:
        """Make the path absolute and compute the digest of the file."""
        if not isinstance(data, Mapping) or not isinstance(data.get("file"), str):
            return data
        file = data["file"]
        try:
            file = file if "://" in file else resolve_storage(file)[1]
            digest = data.get("digest") or user_file_digest(file)
        except (OSError, ValueError) as error:
            raise SpecError("file", f"{file}: {shortened(str(error))}") from None
        return {**data, "file": file, "digest": digest}

    def check(self, spec: TrialSpec) -> None:
        super().check(spec)
        shapes = layer_shapes(spec.model, spec.dataset)
        try:
            file_shapes, kept = contents(self.file, self.digest, num_weights(shapes))
        except OSError:
            return  # only the training needs the file
        for name in {**shapes, **file_shapes}:
            if file_shapes.get(name) != shapes.get(name):
                in_file, in_network = (sides.get(name, "missing") for sides in (file_shapes, shapes))
                raise SpecError(
                    "sparsifier.file", f"{shortened(name)} is {in_file} in {self.file}, {in_network} in the network"
                )
        total = num_weights(file_shapes)
        if kept != num_active(total, spec.sparsity):
            problem = f"{self.file} keeps {kept} of {total} weights (got {spec.sparsity})"
            raise SpecError("sparsity", f"{problem}. Set sparsity to {1 - kept / total:.6f}.")

    def initialize(self, start: InitContext) -> Masks:
        weights = start.weights
        masks = load(self.file, self.digest, sum(weight.numel() for weight in weights.values()))
        return Masks({name: masks[name] for name in weights})


MOST_BYTES_PER_WEIGHT = 32
"""Maximum unpacked bytes per weight: 64-bit masks beside 32-bit weights, momenta and gradients need less."""
LEAST_BYTES = 2**20
"""Unpacked bytes that every file may have for names and headers."""


@lru_cache(maxsize=4)
def load(file: str, digest: str, weights: int) -> Masks:
    """Load the masks in ``file`` to the CPU.

    Args:
        file: Path or address.
        digest: Expected SHA-256 of the file.
        weights: Number of maskable weights of the network.

    Raises:
        SpecError: The digest differs, the file has no masks, or it unpacks to more bytes than masks need.
        OSError: The file cannot be read.
    """
    max_bytes = LEAST_BYTES + MOST_BYTES_PER_WEIGHT * weights
    content = read_user_file(file)
    actual = hashlib.sha256(content).hexdigest()
    if actual != digest:
        raise SpecError("sparsifier.file", f"{file} has changed: its SHA-256 is {actual}, not {digest}")
    try:
        if (size := unpacked_size(content)) > max_bytes:
            raise ValueError(f"it unpacks to {size:,} bytes; masks of {weights:,} weights need at most {max_bytes:,}")
        tensors = FORMATS[file.rpartition(".")[2]](content)
        return Masks({str(name): as_mask(str(name), tensor, weights) for name, tensor in tensors.items()})
    except Exception as error:  # readers raise many types for malformed bytes
        kind = "" if type(error) is ValueError else f"{type(error).__name__} "
        problem = f"{kind}{shortened(str(error))}"
        raise SpecError("sparsifier.file", f"{file} has no masks in .pt or .npz format: {problem}") from None


def unpacked_size(content: bytes) -> int:
    """Return the unpacked size in bytes that an archive declares (readers enforce it), or the size of the file."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return len(content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return sum(member.file_size for member in archive.infolist())


def contents(file: str, digest: str, weights: int) -> tuple[dict[str, tuple[int, ...]], int]:
    """Return the shapes of the masks in ``file`` by name, and their number of active weights.

    Args:
        file: Path or address.
        digest: Expected SHA-256 of the file.
        weights: Number of maskable weights of the network.
    """
    masks = load(file, digest, weights)
    return {name: tuple(mask.shape) for name, mask in masks.items()}, sum(masks.counts().values()) if masks else 0


def from_torch(content: bytes) -> Mapping[str, torch.Tensor]:
    """Parse the content of a PyTorch file.

    Raises:
        ValueError: The content is not a mapping of plain tensors.
    """
    try:
        value = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError("torch.save did not write it, or it contains more than plain tensors") from None
    masks = value.get("masks", value) if isinstance(value, Mapping) else value
    if not isinstance(masks, Mapping):
        raise ValueError(f"it must be a mapping from name to tensor (got {type(masks).__name__})")
    return masks


def from_numpy(content: bytes) -> Mapping[str, torch.Tensor]:
    """Parse the content of a NumPy archive."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive.files}


FORMATS = {"pt": from_torch, "npz": from_numpy}


def as_mask(name: str, tensor: Any, weights: int) -> torch.Tensor:
    """Convert a tensor of booleans or of 0 and 1 to a boolean mask.

    Args:
        name: Name of the weight, for errors.
        tensor: Value from the file.
        weights: Maximum number of elements.

    Raises:
        ValueError: The value is not a boolean or 0-1 tensor in CPU memory.
    """
    if not is_plain(tensor):
        raise ValueError(f"the mask of {name} is not a dense CPU tensor")
    if tensor.numel() > weights:  # check before any computation: an expanded tensor can have any shape
        raise ValueError(f"the mask of {name} has {tensor.numel():,} elements; the network has {weights:,} weights")
    if not torch.equal(tensor, (tensor != 0).to(tensor.dtype)):
        raise ValueError(f"the mask of {name} has values other than 0 and 1")
    return tensor != 0
