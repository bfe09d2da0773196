"""Reader for CIFAR-10 and CIFAR-100 (Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009).

A file is a pickled dictionary with a list of labels and the images as uint8 (N, 3072). A row has 1024 red pixels in
row-major order, then green, then blue. The published MD5 of a file is checked before the file is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from sparsweep.trainables.data.base import ImageData
from sparsweep.trainables.data.download import DownloadableDataset
from sparsweep.trainables.data.paths import CorruptDataError, check_md5, data_root
from sparsweep.trainables.data.safe_pickle import read_arrays
from sparsweep.trainables.data.splits import split_last

SHAPE = (3, 32, 32)


class CIFAR(DownloadableDataset):
    """Base class of both data sets. Held-out images are the last ones, as in the authors' adversarial training."""

    train_images = 50_000
    test_images = 10_000
    train_files: ClassVar[Mapping[str, str]]
    test_files: ClassVar[Mapping[str, str]]
    """MD5 of each file by name, in sample order."""
    label_key: ClassVar[bytes]
    names_file: ClassVar[str]
    names_key: ClassVar[bytes]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return SHAPE

    def read(self, root: Path) -> ImageData:
        images, labels = self._read_files(root, self.train_files, self.train_images)
        train, validation = split_last(images, labels, self.validation)
        test = self._read_files(root, self.test_files, self.test_images)
        return ImageData(*train, *test, self.classes, *validation, self.published_statistics.get(self.statistics))

    def class_names(self, root: Path | None = None) -> tuple[str, ...]:
        folder = data_root(root) / self.folder
        try:
            names = [name.decode() for name in read_arrays(folder / self.names_file, "")[self.names_key]]
        except (CorruptDataError, AttributeError, KeyError, TypeError, UnicodeError):
            names = []
        return tuple(names) if len(names) == self.classes else super().class_names(root)

    def _read_files(self, root: Path, files: Mapping[str, str], count: int) -> tuple[np.ndarray, np.ndarray]:
        folder, remedy = root / self.folder, self.fix_hint(root)
        for name, md5 in files.items():
            check_md5(folder / name, md5, remedy)
        parts = [self._read_file(folder / name, remedy) for name in files]
        images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        if len(images) != count:
            problem = f"{', '.join(files)} have {len(images)} images, not {count}"
            raise CorruptDataError(f"{folder} is damaged: {problem}; {remedy}")
        return images.reshape(-1, *SHAPE), labels

    def _read_file(self, path: Path, remedy: str) -> tuple[np.ndarray, np.ndarray]:
        content = read_arrays(path, remedy)
        try:
            images, labels = content[b"data"], np.asarray(content[self.label_key], np.int64)
            has_images = images.dtype == np.uint8 and images.shape == (len(labels), np.prod(SHAPE))
            is_valid = has_images and labels.min() >= 0 and labels.max() < self.classes
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
            is_valid = False
        if not is_valid:
            raise CorruptDataError(f"{path} is damaged: no images with labels below {self.classes}; {remedy}")
        return images, labels
