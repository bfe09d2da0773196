"""A folder of one's own images: ``train/CLASS/*`` and ``test/CLASS/*``, PNG or JPEG.

Classes are numbered in the order of their names; images lie in the order of class and file name; held-out images are
those of a fixed permutation (see :func:`trainables.data.splits.hold_out_permuted`). Each image becomes RGB, is scaled
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

from trainables.data.base import Dataset, ImageData, datasets
from trainables.data.decoded import CACHE, decoded, listing_digest
from trainables.data.files import DamagedData, DataError, MissingData, data_root
from trainables.data.splits import hold_out_permuted
from trainables.values import Placed

SUFFIXES = {".png", ".jpg", ".jpeg"}
PARTS = ("train", "test")
REMEDY = "replace or remove it"


@dataclass(frozen=True)
class Listing:
    """The image files of a folder, as names in it, and their labels; the names of its classes."""

    classes: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]]
    labels: Mapping[str, np.ndarray]
    digest: str

    def stock(self) -> dict[str, Any]:
        """What of it is in a spec."""
        return {
            "digest": self.digest,
            "train_images": len(self.names["train"]),
            "class_count": len(self.classes),
        }


def list_folder(folder: Path) -> Listing:
    """The images in ``folder``; MissingData or DamagedData with one line that names what is not as it should be."""
    found = {part: _list_part(folder / part) for part in PARTS}
    classes = tuple(found["train"])
    for name in found["train"].keys() ^ found["test"].keys():
        there, missing = PARTS if name in found["train"] else PARTS[::-1]
        raise DamagedData(f"{folder}: class {name} is in {there} and not in {missing}; both must have the same classes")
    names = {
        part: tuple(f"{part}/{name}/{file}" for name, files in found[part].items() for file in files) for part in PARTS
    }
    numbers = np.arange(len(classes))  # int64
    labels = {part: np.repeat(numbers, [len(files) for files in found[part].values()]) for part in PARTS}
    return Listing(classes, names, labels, listing_digest(folder, [*names["train"], *names["test"]]))


def _list_part(folder: Path) -> dict[str, list[str]]:
    """Names of the image files by class, both in order."""
    if not folder.is_dir():
        raise MissingData(f"{folder} is no folder; images are expected in train/CLASS and test/CLASS, PNG or JPEG")
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    found = {path.name: sorted(file.name for file in path.iterdir() if _is_image(file)) for path in classes}
    if not found:
        raise DamagedData(f"{folder} holds no folder of a class")
    for name, files in found.items():
        if not files:
            raise DamagedData(f"{folder / name} holds no image that ends in {', '.join(sorted(SUFFIXES))}")
    return found


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".")


@cache
def _stock(path: str) -> dict[str, Any]:
    return list_folder(Path(path)).stock()


@datasets.register
class ImageFolder(Dataset, Placed):
    """Your own images: a folder with train/CLASS/*.png and test/CLASS/*.png (or .jpg), fitted to a square."""

    name: Literal["imagefolder"] = "imagefolder"
    whereabouts = frozenset({"path"})
    path: str = Field(description="the folder, absolute or with ~; no part of a trial's id")
    image_size: int = Field(ge=8, le=1024, description="pixels of a side that every image is fitted to")
    digest: str = Field(pattern="^[0-9a-f]{16}$", description="of names and sizes of all files; found if not given")
    train_images: int = Field(ge=1, description="training images in the folder; found")
    class_count: int = Field(ge=1, description="classes in the folder; found")

    @model_validator(mode="before")
    @classmethod
    def _take_stock(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or not isinstance(data.get("path"), str):
            return data
        path = Path(data["path"]).expanduser()
        if not path.is_absolute():
            raise ValueError(f"path: {data['path']} is relative; give it from / or ~ on, to mean the same everywhere")
        if {"digest", "train_images", "class_count"} <= data.keys():
            return data
        try:
            found = _stock(str(path))
        except (DataError, OSError) as error:
            raise ValueError(f"path: {error}") from None
        if data.get("digest", found["digest"]) != found["digest"]:
            raise ValueError(f"digest: {path} has {found['digest']}, not {data['digest']}: its files are others")
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
            return list_folder(Path(self.path).expanduser()).classes
        except (DataError, OSError):
            return super().class_names(root)

    def load(self, root: Path | None = None) -> ImageData:
        folder = Path(self.path).expanduser()
        listing = list_folder(folder)
        if listing.stock() != self.model_dump(include={"digest", "train_images", "class_count"}):
            raise DamagedData(
                f"{folder} has changed: the digest of its files is {listing.digest}, not the trial's {self.digest}; "
                "bring the old files back, or run the sweep anew with the new ones"
            )
        cache_folder = data_root(root) / CACHE
        train, test = (decoded(folder, listing.names[part], self.image_size, cache_folder, REMEDY) for part in PARTS)
        left, held = hold_out_permuted(train, listing.labels["train"], self.validation)
        return ImageData(*left, test, listing.labels["test"], self.classes, *held)
