"""What the data sets of the paper have in common: an archive to download, and published channel statistics."""

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
    """A published data set. Its sizes and checksums are class attributes, so that a test can put small files in place.

    The field ``statistics`` chooses what the channels are normalised by: ``train``, those of the training images
    (without the ones held out); or constants of the authors' code: ``standard`` from its loader for standard training
    (EL2N, corruptions), ``adversarial`` from its adversarial training.
    """

    url: ClassVar[str]
    md5: ClassVar[str]
    folder: ClassVar[str]
    """Name of the folder that the archive holds."""
    train_images: ClassVar[int]
    test_images: ClassVar[int]
    class_count: ClassVar[int]
    published_statistics: ClassVar[Mapping[str, Statistics]]
    """Constants by the name that the field ``statistics`` has for them."""
    statistics: str

    @property
    def available(self) -> int:
        return self.train_images

    @property
    def classes(self) -> int:
        return self.class_count

    @classmethod
    def fix_hint(cls, root: Path) -> str:
        """What to do where a file is missing or damaged."""
        where = "" if root == data_root() else f" --data {root}"
        return f"fetch it with: sparsweep data get {cls.model_fields['name'].default}{where}"

    def check(self, spec: TrialSpec) -> None:
        channels = self.image_shape[0]
        if self.statistics in self.published_statistics and spec.model.channels != channels:
            raise SpecError(
                "dataset.statistics",
                f"{self.statistics} is for {channels} channels, {spec.model.name} takes "
                f"{spec.model.channels}; choose train",
            )

    @classmethod
    def fetch(cls, root: Path) -> None:
        """Download the archive into ``root``, unless it is there, check it and unpack it; DataError if that fails."""
        # Imported here: torchvision takes seconds to import and only this function needs it.
        from torchvision.datasets.utils import download_and_extract_archive

        try:
            download_and_extract_archive(cls.url, str(root), md5=cls.md5)
        except (OSError, RuntimeError, HTTPException, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{cls.url} cannot be fetched into {root}: {reason or type(error).__name__}") from None

    def load(self, root: Path | None = None) -> ImageData:
        root = data_root(root)
        if not (root / self.folder).is_dir():
            raise MissingDataError(f"{self.name}: no {self.folder} in {root}; {self.fix_hint(root)}")
        return self.read(root)

    def read(self, root: Path) -> ImageData:
        """The images from the folder in ``root``, which is there."""
        raise NotImplementedError
