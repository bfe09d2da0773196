"""User images in one NumPy file: a ``.npz`` archive of arrays, as ``np.savez`` and MedMNIST write it.

Names of the arrays, in this order of preference: ``train_images``, ``train_labels``, ``test_images``, ``test_labels``
(MedMNIST: Yang et al., Scientific Data, 2023); ``x_train``, ``y_train``, ``x_test``, ``y_test`` (Keras); ``images``,
``labels`` without test images, which ``test_fraction`` then splits off. Other arrays, such as validation images, are
not read: ``validation`` holds images out of the training set.

Images are uint8 of shape (N, H, W), (N, H, W, C) or (N, C, H, W) with C = 1 or 3. Labels are integers of shape (N,) or
(N, 1), from 0 to one less than the number of classes. Each class needs a training image. Held-out images come from a
fixed permutation (see :func:`trainables.data.splits.split_permuted`).

The id of a trial contains the SHA-256 of the file, not its path. The file is read once per process. The computed fields
are part of the spec, so workers do not need the file to validate a spec.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from sparsweep.trainables.data.base import Dataset, ImageData, datasets
from sparsweep.trainables.data.paths import CorruptDataError, DataError, MissingDataError
from sparsweep.trainables.data.splits import split_permuted, split_stratified
from sparsweep.trainables.specs.base import PartlyHashed, SpecError
from sparsweep.trainables.storage.filesystem import expand_home
from sparsweep.trainables.storage.user_files import user_file_digest

LAYOUTS = (
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
    ("images", "labels"),
)
"""Names of the arrays. The last layout has no test images."""
COMPUTED = ("digest", "num_images", "class_count", "shape")
CHANNELS = (1, 3)


def array_names(present: frozenset[str], path: Path) -> tuple[str, ...]:
    """Return the names of LAYOUTS that a file has. Raise CorruptDataError if it has none completely."""
    for names in LAYOUTS:
        if present.issuperset(names):
            return names
    needed = "; or ".join(", ".join(names) for names in LAYOUTS)
    raise CorruptDataError(f"{path}: needs the arrays {needed} (got {', '.join(sorted(present)) or 'none'})")


def read_arrays(path: Path) -> tuple[np.ndarray, ...]:
    """Return images and labels of each part in a file: training, then test if there is one.

    Images are uint8 ``(N, C, H, W)``, labels int64 ``(N,)``.

    Raises:
        MissingDataError: The file does not exist.
        CorruptDataError: The file or an array is invalid.
    """
    if not path.is_file():
        raise MissingDataError(f"{path} is not a file. Write one with np.savez: train_images, train_labels, ...")
    try:
        with np.load(path, allow_pickle=False) as file:
            names = array_names(frozenset(file.files), path)
            arrays = [file[name] for name in names]
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        if isinstance(error, DataError):
            raise
        raise CorruptDataError(f"{path}: not a readable .npz file: {' '.join(str(error).split())}") from None
    parts: list[np.ndarray] = []
    for images, labels in zip(names[::2], names[1::2], strict=True):
        both = checked_images(arrays[names.index(images)], f"{path}: {images}")
        parts += [both, checked_labels(arrays[names.index(labels)], len(both), f"{path}: {labels}")]
    _check_parts(parts, path)
    return tuple(parts)


def checked_images(images: np.ndarray, name: str) -> np.ndarray:
    """Return images as contiguous uint8 ``(N, C, H, W)``. Raise CorruptDataError that starts with ``name``."""
    if images.dtype != np.uint8:
        kind = "with NaN" if images.dtype.kind == "f" and np.isnan(images).any() else ""
        problem = f"must be uint8 from 0 to 255 (got {images.dtype} {kind}".rstrip() + ")"
        raise CorruptDataError(f"{name}: {problem}. Convert: (255 * images).round().astype('uint8')")
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[1] not in CHANNELS and images.shape[3] in CHANNELS:
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in CHANNELS or not images.size:
        shapes = "(N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels"
        raise CorruptDataError(f"{name}: must have shape {shapes} (got {images.shape})")
    return np.ascontiguousarray(images)


def checked_labels(labels: np.ndarray, count: int, name: str) -> np.ndarray:
    """Return labels as int64 ``(N,)``. Raise CorruptDataError that starts with ``name``."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        shape = f"one integer per image, shape ({count},)"
        raise CorruptDataError(f"{name}: must be {shape} (got {labels.dtype} {labels.shape})")
    if labels.min() < 0:
        raise CorruptDataError(f"{name}: must be from 0 (got {labels.min()})")
    return labels.astype(np.int64)


def _check_parts(parts: list[np.ndarray], path: Path) -> None:
    """Raise CorruptDataError unless each class has a training image and all images have one shape."""
    labels = parts[1]
    counts = np.bincount(labels)
    if len(counts) < 2 or not counts.all():
        missing = "at least two classes" if len(counts) < 2 else f"class {int(np.flatnonzero(counts == 0)[0])}"
        raise CorruptDataError(f"{path}: no training image of {missing}. Number the classes 0, 1, 2, ...")
    for images, other in zip(parts[2::2], parts[3::2], strict=True):
        if images.shape[1:] != parts[0].shape[1:]:
            problem = f"test images have shape {images.shape[1:]}"
            raise CorruptDataError(f"{path}: {problem}, training images {parts[0].shape[1:]}. Use one shape.")
        if other.max() >= len(counts):
            raise CorruptDataError(f"{path}: class {other.max()} is in the test labels only. Add training images.")


@cache
def summarize_file(path: str, size: int, modified: int) -> dict[str, Any]:
    """Return the fields of the spec that the file determines, and whether it has ``test`` images.

    Args:
        path: Path of the file.
        size: Size in bytes, part of the cache key.
        modified: Time of the last change in ns, part of the cache key.
    """
    parts = read_arrays(Path(path))
    return {
        "digest": user_file_digest(path)[:16],
        "num_images": len(parts[1]),
        "class_count": int(parts[1].max()) + 1,
        "shape": parts[0].shape[1:],
        "test": len(parts) > 2,
    }


@datasets.register
class Arrays(Dataset, PartlyHashed):
    """Your own images in one .npz file, also the files of MedMNIST."""

    name: Literal["arrays"] = "arrays"
    unhashed = frozenset({"path"})
    path: str = Field(description="the .npz file, absolute or with ~; not part of the trial id")
    test_fraction: float | None = Field(
        default=None, gt=0, lt=1, description="share of test images, for a file without; the same share of each class"
    )
    split_seed: int = Field(default=0, ge=0, lt=2**32, description="seed of that split")
    digest: str = Field(pattern="^[0-9a-f]{16}$", description="start of the SHA-256 of the file; computed if not given")
    num_images: int = Field(ge=1, description="number of images before a split; computed")
    class_count: int = Field(ge=2, description="number of classes; computed")
    shape: tuple[int, int, int] = Field(description="channels, height and width; computed")

    @property
    def idle(self) -> frozenset[str]:
        return frozenset({"test_fraction", "split_seed"}) if self.test_fraction is None else frozenset()

    @model_validator(mode="before")
    @classmethod
    def _fill_from_file(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or not isinstance(data.get("path"), str):
            return data
        path = expand_home(data["path"])
        if not path.is_absolute():
            raise SpecError("path", f"must be absolute (got {data['path']}). Start it with / or ~.")
        if data.keys() >= set(COMPUTED):
            return data
        try:
            state = path.stat() if path.is_file() else None
            facts = summarize_file(str(path), *((state.st_size, state.st_mtime_ns) if state else (0, 0)))
        except (DataError, OSError) as error:
            raise SpecError("path", f"{error}") from None
        if facts["test"] == (data.get("test_fraction") is not None):
            problem = "has test images" if facts["test"] else "has no test images"
            raise SpecError("test_fraction", f"{path} {problem}. {'Leave it out' if facts['test'] else 'Set it'}.")
        if data.get("digest", facts["digest"]) != facts["digest"]:
            raise SpecError("digest", f"{path} has digest {facts['digest']} (got {data['digest']})")
        return {**data, **{name: facts[name] for name in COMPUTED}}

    @property
    def available(self) -> int:
        return self.num_images - round(self.num_images * (self.test_fraction or 0.0))

    @property
    def classes(self) -> int:
        return self.class_count

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.shape

    def load(self, root: Path | None = None) -> ImageData:
        path = expand_home(self.path)
        parts = read_arrays(path)
        if (found := user_file_digest(str(path))[:16]) != self.digest:
            raise CorruptDataError(
                f"{path} has changed: its digest is {found}, not the trial's {self.digest}; "
                "restore the old file, or start a new sweep with the new file"
            )
        if self.test_fraction is not None:
            left, test = split_stratified(parts[0], parts[1], self.test_fraction, self.split_seed)
            parts = (*left, *test)
        left, held = split_permuted(parts[0], parts[1], self.validation)
        return ImageData(*left, parts[2], parts[3], self.classes, *held)
