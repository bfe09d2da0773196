"""Base class of downloadable data sets: an archive and published channel statistics."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import ClassVar

from sparsweep.trainables.data.base import Dataset, ImageData, Statistics
from sparsweep.trainables.data.paths import DataError, MissingDataError, data_root
from sparsweep.trainables.specs.base import SpecError
from sparsweep.trainables.specs.trial import TrialSpec


class DownloadableDataset(Dataset):
    """Published data set. Sizes and checksums are class attributes, so a test can replace them and use small files.

    The field ``statistics`` selects the channel statistics for normalization. ``train``: those of the training images,
    without held-out images. The other values are constants of the authors' code: ``standard`` from its loader for
    standard training (EL2N, corruptions), ``adversarial`` from its adversarial training.
    """

    url: ClassVar[str]
    md5: ClassVar[str]
    folder: ClassVar[str]
    """Name of the folder in the archive."""
    train_images: ClassVar[int]
    test_images: ClassVar[int]
    class_count: ClassVar[int]
    published_statistics: ClassVar[Mapping[str, Statistics]]
    """Constants by value of the field ``statistics``."""
    statistics: str

    @property
    def available(self) -> int:
        return self.train_images

    @property
    def classes(self) -> int:
        return self.class_count

    @classmethod
    def fix_hint(cls, root: Path) -> str:
        """Return the command that downloads the data set into ``root``, for error messages."""
        option = "" if root == data_root() else f" --data {root}"
        return f"download it with: sparsweep data get {cls.model_fields['name'].default}{option}"

    def check(self, spec: TrialSpec) -> None:
        channels = self.image_shape[0]
        if self.statistics in self.published_statistics and spec.model.channels != channels:
            raise SpecError(
                "dataset.statistics",
                f"{self.statistics} has {channels} channels, {spec.model.name} needs {spec.model.channels}. Use train.",
            )

    @classmethod
    def fetch(cls, root: Path) -> None:
        """Download the archive into ``root`` (if it is missing), check its MD5 and unpack it.

        Raises:
            DataError: The download, the check or the unpacking failed.
        """
        # Imported here: the import takes seconds, and only this function needs torchvision.
        from torchvision.datasets.utils import download_and_extract_archive

        try:
            download_and_extract_archive(cls.url, str(root), md5=cls.md5)
        except (OSError, RuntimeError, HTTPException, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{cls.url} cannot be downloaded to {root}: {reason or type(error).__name__}") from None

    def load(self, root: Path | None = None) -> ImageData:
        root = data_root(root)
        if not (root / self.folder).is_dir():
            raise MissingDataError(f"{self.name}: no {self.folder} in {root}; {self.fix_hint(root)}")
        return self.read(root)

    def read(self, root: Path) -> ImageData:
        """Load the data set from its folder in ``root``, which exists."""
        raise NotImplementedError
