"""TinyImageNet: 64x64 color images of 200 ImageNet classes (Le & Yang, CS 231N, 2015), from its JPEG files.

The test set is the official validation set, in the order of ``val_annotations.txt``: the official test set has no
labels. Classes are numbered in the order of their WordNet ids. Training images are sorted by class and file name. All
this follows the authors' code. Gray images become RGB by repetition. Held-out images come from a fixed permutation (see
:func:`trainables.data.splits.split_permuted`). With ``validation: 10000`` they are the same as in the authors'
adversarial loader.

Paper: EL2N and corruptions on all 100,000 training images, with ``resnet34`` and its ``7x7`` stem.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from sparsweep.trainables.data.base import ImageData, datasets
from sparsweep.trainables.data.download import DownloadableDataset
from sparsweep.trainables.data.image_cache import CACHE, load_or_decode
from sparsweep.trainables.data.image_files import find_images
from sparsweep.trainables.data.paths import CorruptDataError, data_root
from sparsweep.trainables.data.splits import split_permuted

SIZE = 64

Labelled = tuple[list[str], np.ndarray]
"""Paths of image files, relative to the folder, and their labels (N,)."""


@datasets.register
class TinyImageNet(DownloadableDataset):
    """TinyImageNet, 64x64 RGB, 200 classes, 100,000 training and 10,000 test images; 248 MB to download."""

    name: Literal["tinyimagenet"] = "tinyimagenet"
    statistics: Literal["train", "standard"] = Field(
        default="train", description="mean and standard deviation for normalization: of the images, or published ones"
    )

    url = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
    md5 = "90528d7ca1a48142e341f4ef8d21d0de"
    folder = "tiny-imagenet-200"
    train_images = 100_000
    test_images = 10_000
    class_count = 200
    published_statistics: ClassVar = {"standard": ((0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262))}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return 3, SIZE, SIZE

    def read(self, root: Path) -> ImageData:
        folder, remedy = root / self.folder, self.fix_hint(root)
        classes = self._classes(folder, remedy)
        files = self._train_files(folder, classes, remedy), self._test_files(folder, classes, remedy)
        try:
            images = [
                load_or_decode([folder / name for name in names], SIZE, root / CACHE, remedy) for names, _ in files
            ]
        except FileNotFoundError as error:
            raise CorruptDataError(f"{error.filename} is missing; {remedy}") from None
        train, validation = split_permuted(images[0], files[0][1], self.validation)
        return ImageData(
            *train, images[1], files[1][1], self.classes, *validation, self.published_statistics.get(self.statistics)
        )

    def class_names(self, root: Path | None = None) -> tuple[str, ...]:
        folder = data_root(root) / self.folder
        try:
            # Format of a line: WordNet id, tab, class name and its synonyms, separated by commas.
            rows = (line.partition("\t") for line in (folder / "words.txt").read_text().splitlines())
            names = {wnid: synonyms.partition(",")[0].strip() for wnid, _, synonyms in rows}
            return tuple(names[wnid] for wnid in self._classes(folder, ""))
        except (CorruptDataError, OSError, KeyError, UnicodeError):
            return super().class_names(root)

    def _classes(self, folder: Path, remedy: str) -> list[str]:
        classes = sorted(path.parent.name for path in (folder / "train").glob("*/images"))
        if len(classes) != self.classes:
            raise CorruptDataError(
                f"{folder}/train is damaged: it has {len(classes)} classes, not {self.classes}; {remedy}"
            )
        return classes

    def _train_files(self, folder: Path, classes: list[str], remedy: str) -> Labelled:
        names, wanted = [], self.train_images // self.classes
        for wnid in classes:
            images = find_images(folder / "train" / wnid / "images").images
            if len(images) != wanted:
                problem = f"it has {len(images)} images, not {wanted}"
                raise CorruptDataError(f"{folder}/train/{wnid} is damaged: {problem}; {remedy}")
            names += [f"train/{wnid}/images/{name}" for name in images]
        return names, np.repeat(np.arange(self.classes, dtype=np.int64), wanted)

    def _test_files(self, folder: Path, classes: list[str], remedy: str) -> Labelled:
        path = folder / "val" / "val_annotations.txt"
        numbers = {wnid: number for number, wnid in enumerate(classes)}
        try:
            # Format of a line: file name, WordNet id, four sides of the bounding box, separated by tabs.
            rows = [line.split("\t")[:2] for line in path.read_text().splitlines()]
            labels = [numbers[wnid] for _, wnid in rows]
        except (OSError, ValueError, KeyError) as error:
            raise CorruptDataError(f"{path} is damaged: {error}; {remedy}") from None
        if len(rows) != self.test_images:
            raise CorruptDataError(f"{path} is damaged: it has {len(rows)} lines, not {self.test_images}; {remedy}")
        return [f"val/images/{name}" for name, _ in rows], np.asarray(labels, np.int64)
