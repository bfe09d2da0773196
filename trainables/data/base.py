"""Base class of data sets. Images (uint8) and labels are loaded once and shared by all trials of a node."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sparsweep.trainables.specs.base import Registry
from sparsweep.trainables.specs.parts import DatasetSpec

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation per channel, for pixels in [0, 1]."""

CHUNK = 1000
"""Number of images per chunk in operations that need a copy with a wider type."""


@dataclass(frozen=True)
class ImageData:
    """Data set in memory: uint8 images (N, C, H, W) with C = 1 or 3, int64 labels (N,) in [0, classes).

    The driver puts it into Ray's object store once. All processes of a node then read the same shared memory, because
    an array from the store is a read-only view. :func:`to_device_data` keeps these views on a CPU, so many workers
    share one copy. Do not write into these arrays.

    Attributes:
        validation_images: Images held out of the training set. Can be empty.
        statistics: Published statistics for normalization. None: use those of the training images.
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
    """Base class of data sets. A subclass registers under its name and implements :meth:`load`."""

    def class_names(self, root: Path | None = None) -> tuple[str, ...]:
        """Return the class names in label order, from files under ``root``. Without files: "class 0", "class 1", ..."""
        return tuple(f"class {label}" for label in range(self.classes))

    def load(self, root: Path | None = None) -> ImageData:
        """Load the data set.

        Args:
            root: Folder of all data sets. Default: :func:`trainables.data.paths.data_root`.

        Raises:
            MissingDataError: A file is missing. The message is one line with the file and the fix.
            CorruptDataError: A file is damaged. The message is one line with the file and the fix.
        """
        raise NotImplementedError


datasets: Registry[Dataset] = Registry("dataset")
