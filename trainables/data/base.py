"""What a data set is: uint8 images and labels in memory, fetched once and shared by every trial of a node."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sparsweep.trainables.specs.base import Registry
from sparsweep.trainables.specs.parts import DatasetSpec

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel, of pixels in [0, 1]."""

CHUNK = 1000
"""Images that are worked on at a time where a copy in a wider type is needed."""


@dataclass(frozen=True)
class ImageData:
    """A data set in memory, as NumPy arrays: uint8 images [N, C, H, W] with C of 1 or 3, int64 labels in [0, classes).

    The driver puts it into Ray's object store once; there every process of a node reads the same pages of shared
    memory, for an array taken out of the store is a read-only view of them. :func:`to_device_data` keeps it that way
    on a CPU, so that many workers hold one copy between them. Nothing may write into these arrays.

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


class Dataset(DatasetSpec):
    """A source of labelled images; a subclass registers under its name and loads itself."""

    def class_names(self, root: Path | None = None) -> tuple[str, ...]:
        """What the classes are called, in the order of their labels; numbers where no file under ``root`` says."""
        return tuple(f"class {label}" for label in range(self.classes))

    def load(self, root: Path | None = None) -> ImageData:
        """The images, from files under ``root`` (default: :func:`trainables.data.paths.data_root`) where there are any.

        MissingData or DamagedData, each with one line that names the file and the remedy.
        """
        raise NotImplementedError


datasets: Registry[Dataset] = Registry("dataset")
