"""A folder of one's own images: ``train/CLASS/*`` and ``test/CLASS/*``, folders below a class included.

What counts as an image and how it becomes RGB is said in :mod:`trainables.data.image_files`; what is left out is named
in the log. Classes are numbered in the order of their names; images lie in the order of class and file name; held-out
images are those of a fixed permutation (see :func:`trainables.data.splits.split_permuted`). Each image is scaled
bilinearly until its shorter side has ``image_size`` pixels, and is cropped at the centre.

A trial is what its images are and not where they lie: the path is no part of its id, a digest of the names and sizes of
all files is. The folder is listed once a process; what was found (``digest``, ``train_images``, ``class_count``) is
part of the spec, so that workers need no folder, and is checked again when the images are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from sparsweep.trainables.data.splits import split_permuted
from sparsweep.trainables.specs.base import FileBacked, SpecError
from sparsweep.trainables.storage.filesystem import expand_home

PARTS = ("train", "test")
REMEDY = "replace or remove it"

Files = Mapping[str, Path]
"""Images by their names in a folder, in order."""


@dataclass(frozen=True)
class Listing:
    """The image files of a folder by part, and their labels; the names of its classes, and of what is left out."""

    classes: tuple[str, ...]
    files: Mapping[str, Files]
    labels: Mapping[str, np.ndarray]
    digest: str
    left_out: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """What of it is in a spec."""
        return {
            "digest": self.digest,
            "train_images": len(self.files["train"]),
            "class_count": len(self.classes),
        }


def list_folder(folder: Path) -> Listing:
    """The images in ``folder``; MissingData or DamagedData with one line that names what is not as it should be."""
    found = {part: _list_part(folder, part) for part in PARTS}
    classes = _checked_classes(folder, found)
    files = {part: {name: path for one in found[part].values() for name, path in one.images.items()} for part in PARTS}
    numbers = np.arange(len(classes))  # int64
    labels = {part: np.repeat(numbers, [len(one.images) for one in found[part].values()]) for part in PARTS}
    left_out = [name for part in PARTS for one in found[part].values() for name in one.left_out]
    digest = listing_digest({**files["train"], **files["test"]})
    return Listing(classes, files, labels, digest, (*_beside(folder), *left_out))


def _checked_classes(folder: Path, found: Mapping[str, Mapping[str, ImageFiles]]) -> tuple[str, ...]:
    """The names of the classes, in order; DamagedData unless both parts have the same, and more than one."""
    for name in found["train"].keys() ^ found["test"].keys():
        there, missing = PARTS if name in found["train"] else PARTS[::-1]
        raise CorruptDataError(
            f"{folder}: class {name} is in {there} and not in {missing}; both must have the same classes"
        )
    classes = tuple(found["train"])
    if len(classes) == 1:
        raise CorruptDataError(
            f"{folder}: one class alone, with nothing to tell it from (got {classes[0]}). "
            "Put the images of each class into a folder of its own, train/CLASS and test/CLASS."
        )
    return classes


def _list_part(folder: Path, part: str) -> dict[str, ImageFiles]:
    """What the folders of the classes hold, by class, in order; names are those in ``folder``."""
    place, formats = folder / part, ", ".join(SUFFIXES)
    if not place.is_dir():
        raise MissingDataError(f"{place} is no folder; images ({formats}) are expected in train/CLASS and test/CLASS")
    classes: dict[str, Path] = {}
    for path in place.iterdir():
        if path.is_dir() and not is_hidden(path.name):
            name = normalize_name(path.name, place)
            if name in classes:
                raise CorruptDataError(f"{place}: two classes are named {name!r}, in two forms of Unicode. Merge them.")
            classes[name] = path
    if not classes:
        raise CorruptDataError(f"{place} holds no folder of a class")
    found = {name: find_images(path).under(f"{part}/{name}/") for name, path in sorted(classes.items())}
    for name, pictures in found.items():
        if not pictures.images:
            raise CorruptDataError(f"{place / name} holds no image that ends in {formats}")
    return found


def _beside(folder: Path) -> list[str]:
    """What lies where no image is looked for: folders beside the parts, and files beside the classes."""
    folders = [f"{path.name}/" for path in folder.iterdir() if path.is_dir() and path.name not in PARTS]
    files = [f"{part}/{path.name}" for part in PARTS for path in (folder / part).iterdir() if not path.is_dir()]
    return sorted(name for name in (*folders, *files) if not is_hidden(Path(name).name))


@cache
def summarize_folder(path: str) -> dict[str, Any]:
    listing = list_folder(Path(path))
    warn_left_out(Path(path), listing.left_out)
    return listing.summary()


def _is_plain(images: np.ndarray) -> bool:
    """Return whether all pixels have one colour."""
    return all((image == images[0, :, :1, :1]).all() for image in images)


@datasets.register
class ImageFolder(Dataset, FileBacked):
    """Your own images: a folder with train/CLASS/*.png and test/CLASS/*.png (or .jpg, ...), fitted to a square."""

    name: Literal["imagefolder"] = "imagefolder"
    path_fields = frozenset({"path"})
    path: str = Field(description="the folder, absolute or with ~; no part of a trial's id")
    image_size: int = Field(ge=8, le=1024, description="pixels of a side that every image is fitted to")
    digest: str = Field(pattern="^[0-9a-f]{16}$", description="of names and sizes of all files; found if not given")
    train_images: int = Field(ge=1, description="training images in the folder; found")
    class_count: int = Field(ge=1, description="classes in the folder; found")

    @model_validator(mode="before")
    @classmethod
    def _fill_from_folder(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or not isinstance(data.get("path"), str):
            return data
        path = expand_home(data["path"])
        if not path.is_absolute():
            raise SpecError("path", f"{data['path']} is relative; give it from / or ~ on, to mean the same everywhere")
        if {"digest", "train_images", "class_count"} <= data.keys():
            return data
        try:
            found = summarize_folder(str(path))
        except (DataError, OSError) as error:
            raise SpecError("path", f"{error}") from None
        if data.get("digest", found["digest"]) != found["digest"]:
            raise SpecError("digest", f"{path} has {found['digest']}, not {data['digest']}: its files are others")
        return {**data, **found}

    @property
    def available(self) -> int:
        return self.train_images

    @property
    def classes(self) -> int:
        return self.class_count

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return 3, self.image_size, self.image_size

    def class_names(self, root: Path | None = None) -> tuple[str, ...]:
        try:
            return list_folder(expand_home(self.path)).classes
        except (DataError, OSError, ValueError):
            return super().class_names(root)

    def load(self, root: Path | None = None) -> ImageData:
        folder = expand_home(self.path)
        listing = list_folder(folder)
        if listing.summary() != self.model_dump(include={"digest", "train_images", "class_count"}):
            raise CorruptDataError(
                f"{folder} has changed: the digest of its files is {listing.digest}, not the trial's {self.digest}; "
                "bring the old files back, or run the sweep anew with the new ones"
            )
        cache_folder, size = data_root(root) / CACHE, self.image_size
        train, test = (load_or_decode([*listing.files[part].values()], size, cache_folder, REMEDY) for part in PARTS)
        if _is_plain(train):
            raise CorruptDataError(f"{folder}/train: all pixels of all images have one colour. Replace the images.")
        left, held = split_permuted(train, listing.labels["train"], self.validation)
        return ImageData(*left, test, listing.labels["test"], self.classes, *held)
