"""Handwritten digits from scikit-learn: real images, no download.

1797 gray 8x8 images of 10 classes (Alpaydin & Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998).
The library has no official split. Our split is fixed: the test set is a random fifth of each class, drawn with a
constant seed. Held-out images are the last images of the training set, in the library's order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from sparsweep.trainables.data.base import Dataset, ImageData, datasets
from sparsweep.trainables.data.splits import split_last

SPLIT_SEED = 0
TEST_FRACTION = 0.2
LEVELS = 16  # pixels are integers from 0 to 16


@datasets.register
class Digits(Dataset):
    """Handwritten digits, 8x8 gray, 10 classes, 1437 training and 360 test images; no download."""

    name: Literal["digits"] = "digits"

    @property
    def available(self) -> int:
        return 1437

    @property
    def classes(self) -> int:
        return 10

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return 1, 8, 8

    def class_names(self, root: Path | None = None) -> tuple[str, ...]:
        return tuple(str(digit) for digit in range(self.classes))

    def load(self, root: Path | None = None) -> ImageData:
        # Imported here: the import takes a second, and only this function needs scikit-learn.
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        raw = load_digits()
        images = np.rint(raw.images * (255 / LEVELS)).astype(np.uint8)[:, None]
        train, test = train_test_split(
            np.arange(len(images)), test_size=TEST_FRACTION, stratify=raw.target, random_state=SPLIT_SEED
        )
        train, test = np.sort(train), np.sort(test)
        labels = raw.target.astype(np.int64)
        left, held = split_last(images[train], labels[train], self.validation)
        return ImageData(*left, images[test], labels[test], self.classes, *held)
