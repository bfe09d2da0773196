"""What a data set is: uint8 images and labels in memory, fetched once and shared by every trial of a node."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field, model_validator

from sparsweep.trainables.specs.base import Named, Registry

if TYPE_CHECKING:
    from sparsweep.trainables.specs.trial import TrialSpec

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel, of pixels in [0, 1]."""

CHUNK = 1000
"""Images that are worked on at a time where a copy in a wider type is needed."""


@dataclass(frozen=True)
class ImageData:
    """A data set in memory, as NumPy arrays: uint8 images [N, C, H, W] with C of 1 or 3, int64 labels in [0, classes).

    The driver puts it into Ray's object store once; there every process of a node reads the same pages of shared
    memory, for an array taken out of the store is a read-only view of them. :func:`place` keeps it that way on a CPU,
    so that many workers hold one copy between them. Nothing may write into these arrays.

    ``validation_images`` were held out of the training set and may be none. ``statistics``: published ones to
    normalise by; None for those of the training images.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: int
    validation_images: np.ndarray = field(default_factory=lambda: np.empty((0, 1, 1, 1), np.uint8))
    validation_labels: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    statistics: Statistics | None = None


class Dataset(Named):
    """A source of labelled images; a subclass registers under its name and loads itself."""

    validation: int = Field(default=0, ge=0, description="training images that are held out to validate on")

    @property
    def available(self) -> int:
        """Number of training images that there are, those held out included; known without loading them."""
        raise NotImplementedError

    @property
    def train_size(self) -> int:
        """Number of training images, known without loading them (it prices a sweep)."""
        return self.available - self.validation

    @property
    def classes(self) -> int:
        raise NotImplementedError

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image as stored."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Self:
        if self.train_size < 1:
            raise ValueError(f"validation: {self.validation} leaves nothing to train on of {self.available} images")
        return self

    def class_names(self, root: Path | None = None) -> tuple[str, ...]:
        """What the classes are called, in the order of their labels; numbers where no file under ``root`` says."""
        return tuple(f"class {label}" for label in range(self.classes))

    def check(self, spec: TrialSpec) -> None:
        """ValueError if ``spec`` cannot use it as it is described."""

    def load(self, root: Path | None = None) -> ImageData:
        """The images, from files under ``root`` (default: :func:`trainables.data.paths.data_root`) where there are any.

        MissingData or DamagedData, each with one line that names the file and the remedy.
        """
        raise NotImplementedError


datasets: Registry[Dataset] = Registry("dataset")
