"""User images in a folder: ``train/CLASS/*`` and ``test/CLASS/*``, subfolders of a class included.

Without a folder ``test``, ``test_fraction`` splits test images off (see :func:`.splits.split_stratified`).

:mod:`trainables.data.image_files` defines which files are images and how they become RGB. Skipped files are logged.
Classes are numbered in the order of their names. Images are sorted by class and file name. Held-out images come from a
fixed permutation (see :func:`trainables.data.splits.split_permuted`). Each image is scaled bilinearly until its shorter
side has ``image_size`` pixels, then center-cropped.

The id of a trial depends on the images, not on their location: it contains a digest of the names and sizes of all
files, but not the path. The folder is listed once per process. The result (``digest``, ``train_images``,
``class_count``) is part of the spec, so workers do not need the folder to validate a spec. It is checked again when the
images are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from sparsweep.trainables.data.base import Dataset, ImageData, datasets
from sparsweep.trainables.data.image_cache import CACHE, listing_digest, load_or_decode
from sparsweep.trainables.data.image_files import (
    SUFFIXES,
    ImageFiles,
    find_images,
    is_hidden,
    normalize_name,
    warn_left_out,
)
from sparsweep.trainables.data.paths import CorruptDataError, DataError, MissingDataError, data_root
from sparsweep.trainables.data.splits import split_permuted, split_stratified
from sparsweep.trainables.specs.base import PartlyHashed, SpecError
from sparsweep.trainables.storage.filesystem import expand_home

PARTS = ("train", "test")
REMEDY = "replace or remove it"

Files = Mapping[str, Path]
"""Paths of images by their names in a folder, sorted by class and name."""


@dataclass(frozen=True)
class Listing:
    """Listing of an image folder.

    Attributes:
        classes: Class names in label order.
        files: Image files by part ("train", "test").
        labels: int64 labels (N,) by part.
        digest: Digest of the names and sizes of all files.
        left_out: Names of skipped files and folders.
    """

    classes: tuple[str, ...]
    files: Mapping[str, Files]
    labels: Mapping[str, np.ndarray]
    digest: str
    left_out: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """Return the fields of the spec that the folder determines."""
        return {
            "digest": self.digest,
            "train_images": len(self.files["train"]),
            "class_count": len(self.classes),
        }


def list_folder(folder: Path, names: Sequence[str] = PARTS) -> Listing:
    """List an image folder.

    Args:
        folder: The folder.
        names: Its parts.

    Raises:
        MissingDataError: ``train`` or ``test`` does not exist.
        CorruptDataError: A class has no images or is missing in one part, or a name is invalid.
    """
    parts = {part: _list_part(folder, part) for part in names}
    classes = _checked_classes(folder, parts)
    files = {part: {name: path for one in parts[part].values() for name, path in one.images.items()} for part in names}
    numbers = np.arange(len(classes))  # int64
    labels = {part: np.repeat(numbers, [len(one.images) for one in parts[part].values()]) for part in names}
    left_out = [name for part in names for one in parts[part].values() for name in one.left_out]
    digest = listing_digest({name: path for part in names for name, path in files[part].items()})
    return Listing(classes, files, labels, digest, (*_unused_entries(folder, names), *left_out))


def _checked_classes(folder: Path, parts: Mapping[str, Mapping[str, ImageFiles]]) -> tuple[str, ...]:
    """Return the class names in order. Raise CorruptDataError unless both parts have the same two or more classes."""
    for name in parts["train"].keys() ^ parts.get("test", parts["train"]).keys():
        present, missing = PARTS if name in parts["train"] else PARTS[::-1]
        raise CorruptDataError(
            f"{folder}: class {name} is in {present} but not in {missing}. Both need the same classes."
        )
    classes = tuple(parts["train"])
    if len(classes) == 1:
        raise CorruptDataError(
            f"{folder}: at least two classes are needed (got only {classes[0]}). "
            "Put the images of each class into its own folders, train/CLASS and test/CLASS."
        )
    return classes


def _list_part(folder: Path, part: str) -> dict[str, ImageFiles]:
    """Return the images of one part by class, sorted. Names are relative to ``folder``."""
    part_folder, formats = folder / part, ", ".join(SUFFIXES)
    if not part_folder.is_dir():
        raise MissingDataError(
            f"{part_folder} is not a folder. Put images ({formats}) into train/CLASS and test/CLASS."
        )
    classes: dict[str, Path] = {}
    for path in part_folder.iterdir():
        if path.is_dir() and not is_hidden(path.name):
            name = normalize_name(path.name, part_folder)
            if name in classes:
                problem = f"two classes have the name {name!r} in different Unicode forms"
                raise CorruptDataError(f"{part_folder}: {problem}. Merge them.")
            classes[name] = path
    if not classes:
        raise CorruptDataError(f"{part_folder} has no class folders")
    files = {name: find_images(path).under(f"{part}/{name}/") for name, path in sorted(classes.items())}
    for name, class_files in files.items():
        if not class_files.images:
            raise CorruptDataError(f"{part_folder / name} has no image that ends in {formats}")
    return files


def _unused_entries(folder: Path, names: Sequence[str]) -> list[str]:
    """Return the names of entries that are never searched: folders next to the parts, files next to the classes."""
    folders = [f"{path.name}/" for path in folder.iterdir() if path.is_dir() and path.name not in names]
    files = [f"{part}/{path.name}" for part in names for path in (folder / part).iterdir() if not path.is_dir()]
    return sorted(name for name in (*folders, *files) if not is_hidden(Path(name).name))


@cache
def summarize_folder(path: str, names: Sequence[str] = PARTS) -> dict[str, Any]:
    """List the folder once per process, log skipped files and return :meth:`Listing.summary`."""
    listing = list_folder(Path(path), names)
    warn_left_out(Path(path), listing.left_out)
    return listing.summary()


def _is_plain(images: np.ndarray) -> bool:
    """Return whether all pixels of all images have the same color."""
    return all((image == images[0, :, :1, :1]).all() for image in images)


@datasets.register
class ImageFolder(Dataset, PartlyHashed):
    """Your own images: a folder with train/CLASS/*.png and test/CLASS/*.png (or .jpg, ...), cropped to squares."""

    name: Literal["imagefolder"] = "imagefolder"
    unhashed = frozenset({"path"})
    path: str = Field(description="folder of the images, absolute or with ~; not part of the trial id")
    image_size: int = Field(ge=8, le=1024, description="side in pixels of the square that each image is fitted to")
    digest: str = Field(
        pattern="^[0-9a-f]{16}$", description="digest of names and sizes of all files; computed if not given"
    )
    train_images: int = Field(ge=1, description="number of images in train; computed")
    class_count: int = Field(ge=1, description="number of classes; computed")
    test_fraction: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="share of test images, for a folder without test; the same share of each class",
    )
    split_seed: int = Field(default=0, ge=0, lt=2**32, description="seed of that split")

    @property
    def idle(self) -> frozenset[str]:
        return frozenset({"test_fraction", "split_seed"}) if self.test_fraction is None else frozenset()

    @property
    def folder_parts(self) -> tuple[str, ...]:
        """Names of the folders with images."""
        return PARTS if self.test_fraction is None else PARTS[:1]

    @model_validator(mode="before")
    @classmethod
    def _fill_from_folder(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or not isinstance(data.get("path"), str):
            return data
        path = expand_home(data["path"])
        if not path.is_absolute():
            raise SpecError("path", f"must be absolute (got {data['path']}). Start it with / or ~.")
        if {"digest", "train_images", "class_count"} <= data.keys():
            return data
        split = data.get("test_fraction") is not None
        if split and (path / PARTS[1]).is_dir():
            raise SpecError("test_fraction", f"{path} has a folder test. Leave it out.")
        try:
            summary = summarize_folder(str(path), PARTS[:1] if split else PARTS)
        except (DataError, OSError) as error:
            raise SpecError("path", f"{error}") from None
        if data.get("digest", summary["digest"]) != summary["digest"]:
            raise SpecError("digest", f"the files in {path} have digest {summary['digest']} (got {data['digest']})")
        return {**data, **summary}

    @property
    def available(self) -> int:
        return self.train_images - round(self.train_images * (self.test_fraction or 0.0))

    @property
    def classes(self) -> int:
        return self.class_count

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return 3, self.image_size, self.image_size

    def class_names(self, root: Path | None = None) -> tuple[str, ...]:
        try:
            return list_folder(expand_home(self.path), self.folder_parts).classes
        except (DataError, OSError, ValueError):
            return super().class_names(root)

    def load(self, root: Path | None = None) -> ImageData:
        folder = expand_home(self.path)
        listing = list_folder(folder, self.folder_parts)
        if listing.summary() != self.model_dump(include={"digest", "train_images", "class_count"}):
            raise CorruptDataError(
                f"{folder} has changed: the digest of its files is {listing.digest}, not the trial's {self.digest}; "
                "restore the old files, or start a new sweep with the new files"
            )
        cache_folder, size = data_root(root) / CACHE, self.image_size
        images = {
            part: load_or_decode([*listing.files[part].values()], size, cache_folder, REMEDY)
            for part in self.folder_parts
        }
        if _is_plain(images["train"]):
            raise CorruptDataError(f"{folder}/train: all pixels have the same color. Replace the images.")
        train = images["train"], listing.labels["train"]
        if self.test_fraction is None:
            test = images["test"], listing.labels["test"]
        else:
            train, test = split_stratified(*train, self.test_fraction, self.split_seed)
        left, held = split_permuted(*train, self.validation)
        return ImageData(*left, *test, self.classes, *held)
