"""Test images with a shifted distribution, on which a network is evaluated after training on others.

Train clean, test corrupted (Wu et al., ICLR 2025): one trained network is evaluated on all types and severities of the
corruption benchmark. The images of each type and severity are made once per data set, for all trials. Alternatively
they are read from the files of CIFAR-10-C or CIFAR-100-C. CIFAR-10.1 (Recht et al., ICML 2019), newly collected test
images of the classes of CIFAR-10, is a shift of severity 0 with labels of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, field_validator, model_validator

from sparsweep.trainables import corruptions
from sparsweep.trainables.corruptions import Glass
from sparsweep.trainables.data import DataError, ImageData, cifar10_1
from sparsweep.trainables.data.image_cache import listing_digest
from sparsweep.trainables.difficulties.corruption import Corruption
from sparsweep.trainables.specs.base import PartlyHashed, SpecError
from sparsweep.trainables.specs.parts import DatasetField, DatasetSpec, ShiftsSpec
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.filesystem import expand_home

LABELS = "labels.npy"
"""File with the labels in a folder of CIFAR-10-C, CIFAR-100-C or a data set in their form."""
FILE_SEVERITIES = range(1, 6)
"""Severities in a file of these data sets: as many images for each, one severity after the other."""


class Shifts(ShiftsSpec):
    """Types and severities of corruptions of the test images."""

    types: str | tuple[str, ...] = Field(default="h14", description="name of a set, a type, or a list of types")
    severities: tuple[int, ...] = Field(
        default=(1, 2, 3, 4, 5), min_length=1, description="1-5 of the benchmark, 6 extrapolated"
    )
    folder: str | None = Field(
        default=None, description="folder of CIFAR-10-C or CIFAR-100-C; null: the images are made here"
    )
    corruption_seed: int = Field(default=0, ge=0, lt=2**31, description="seed of the corruptions")
    glass: Glass = Field(
        default="copy", description="glass_blur: copy pixels as the benchmark's code does, or swap them"
    )
    frost_folder: str | None = Field(default=None, description="folder of frost photographs, for the type frost")
    new_test_folder: str | None = Field(
        default=None, description="folder of CIFAR-10.1, newly collected test images of CIFAR-10; null: not evaluated"
    )

    @field_validator("severities")
    @classmethod
    def _in_order(cls, severities: tuple[int, ...]) -> tuple[int, ...]:
        if not set(severities) <= set(corruptions.SEVERITIES):
            choices = ", ".join(map(str, corruptions.SEVERITIES))
            raise SpecError("", f"must be among {choices} (got {list(severities)}).")
        return tuple(sorted(set(severities)))

    @model_validator(mode="after")
    def _images_exist(self) -> Shifts:
        names = self.template.type_names
        if self.folder is not None:
            for name in names:
                file_digest(self.folder, name)
            if not set(self.severities) <= set(FILE_SEVERITIES):
                raise SpecError("severities", f"{self.folder} has severities 1 to 5 (got {list(self.severities)}).")
        return self

    @model_validator(mode="after")
    def _new_test_exists(self) -> Shifts:
        if self.new_test_folder is not None:
            try:
                cifar10_1.identify(self.new_test_folder)
            except DataError as error:
                raise SpecError("new_test_folder", f"{error}") from None
        return self

    def check(self, spec: TrialSpec) -> None:
        if self.new_test_folder is not None and spec.dataset.name != "cifar10":
            raise SpecError(
                "evaluation.corruptions.new_test_folder",
                f"needs dataset cifar10 (got {spec.dataset.name}). Leave it out.",
            )

    @property
    def template(self) -> Corruption:
        """Corruption with these types. Its other fields are those of the first severity."""
        if self.folder is not None:  # frost needs no photographs if its images are read
            return Corruption.model_construct(types=self.types)
        return Corruption(
            types=self.types,
            severity=self.severities[0],
            corruption_seed=self.corruption_seed,
            glass=self.glass,
            frost_folder=self.frost_folder,
        )

    def runs(self, spec: TrialSpec) -> tuple[ShiftRunSpec, ...]:
        return _runs(self, spec.dataset)


@lru_cache(maxsize=64)  # ten thousand trials share these runs
def _runs(shifts: Shifts, dataset: DatasetSpec) -> tuple[ShiftRunSpec, ...]:
    template = shifts.template
    conditions = [(name, severity) for name in template.type_names for severity in shifts.severities]
    new = () if shifts.new_test_folder is None else (NewTestSpec(dataset=dataset, folder=shifts.new_test_folder),)
    if shifts.folder is not None:
        return new + tuple(
            ReadShiftSpec(dataset=dataset, type_name=name, severity=severity, folder=shifts.folder)
            for name, severity in conditions
        )
    return new + tuple(
        CorruptedTestSpec(dataset=dataset, corruption=_of_one_type(template, name, severity))
        for name, severity in conditions
    )


def _of_one_type(template: Corruption, name: str, severity: int) -> Corruption:
    """Return the corruption of one type, without the fields that this type does not use: they would change the id."""
    used = ("corruption_seed", *(["glass"] if name == "glass_blur" else []))
    fields = {field: getattr(template, field) for field in used}
    if name == "frost":
        fields |= {"frost_folder": template.frost_folder, "frost_digest": template.frost_digest}
    return Corruption(types=(name,), severity=severity, **fields)


class ShiftRunSpec(RunSpec):
    """Run that writes the test images of one type and severity, for all trials."""

    dataset: DatasetField

    @property
    def dataset_spec(self) -> DatasetSpec:
        return self.dataset

    @property
    def num_epochs(self) -> int:
        return 1

    @property
    def condition(self) -> tuple[str, int]:
        """Type and severity."""
        raise NotImplementedError

    def images(self, data: ImageData) -> np.ndarray:
        """Return the images, uint8 ``(N, C, H, W)`` in the order of the test set.

        Args:
            data: The data set.
        """
        raise NotImplementedError

    def labels(self, of_test: np.ndarray) -> np.ndarray:
        """Return the labels of the images, int64 ``(N,)``.

        Args:
            of_test: Labels of the test set, which the images share unless they are others.
        """
        return of_test

    def __str__(self) -> str:
        name, severity = self.condition
        return f"test images of {self.dataset.name} under {name} at severity {severity}"


class CorruptedTestSpec(ShiftRunSpec):
    """Run that corrupts the test images."""

    corruption: Corruption

    @property
    def condition(self) -> tuple[str, int]:
        return self.corruption.type_names[0], self.corruption.severity

    def images(self, data: ImageData) -> np.ndarray:
        chosen, (name, severity) = self.corruption, self.condition
        return corruptions.corrupt(
            data.test_images,
            name,
            severity,
            chosen.corruption_seed,
            "test",
            frost_folder=chosen.frost_folder,
            glass=chosen.glass,
        )


class ReadShiftSpec(PartlyHashed, ShiftRunSpec):
    """Run that reads corrupted test images from a folder of CIFAR-10-C or CIFAR-100-C."""

    unhashed = frozenset({"folder"})

    type_name: str
    severity: int
    folder: str
    file_digest: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _identify(cls, data: Any) -> Any:
        """Add the digest of the files: the id contains them, not their path."""
        if not isinstance(data, Mapping) or data.get("file_digest"):
            return data
        return {**data, "file_digest": file_digest(data["folder"], data["type_name"])}

    @property
    def condition(self) -> tuple[str, int]:
        return self.type_name, self.severity

    def images(self, data: ImageData) -> np.ndarray:
        folder, count = expand_home(self.folder), len(data.test_labels)
        try:
            images, labels = (np.load(folder / name, mmap_mode="r") for name in (f"{self.type_name}.npy", LABELS))
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{folder}: cannot read {self.type_name}: {error}") from None
        _, height, width = data.test_images.shape[1:]
        expected = (len(FILE_SEVERITIES) * count, height, width, 3)
        if images.shape != expected or images.dtype != np.uint8:
            raise DataError(
                f"{folder}/{self.type_name}.npy: must be uint8 {expected} (got {images.dtype} {images.shape})."
            )
        part = slice((self.severity - 1) * count, self.severity * count)
        if not np.array_equal(labels[part], data.test_labels):
            raise DataError(f"{folder}/{LABELS}: the labels are not those of the test images of {self.dataset.name}.")
        return np.ascontiguousarray(images[part].transpose(0, 3, 1, 2))


class NewTestSpec(PartlyHashed, ShiftRunSpec):
    """Run that reads newly collected test images from a folder of CIFAR-10.1."""

    unhashed = frozenset({"folder"})

    folder: str
    version: str = ""
    file_digest: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _identify(cls, data: Any) -> Any:
        """Add the version and the digest of the files: the id contains them, not the path."""
        if not isinstance(data, Mapping) or data.get("file_digest"):
            return data
        return {**data, **cifar10_1.identify(data["folder"])}

    @property
    def condition(self) -> tuple[str, int]:
        return "cifar10.1", 0

    def images(self, data: ImageData) -> np.ndarray:
        images, _ = cifar10_1.read(self.folder, self.version)
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))

    def labels(self, of_test: np.ndarray) -> np.ndarray:
        return cifar10_1.read(self.folder, self.version)[1].astype(np.int64)


def file_digest(folder: str, name: str) -> str:
    """Return the digest of the files of one type: their names and sizes.

    Args:
        folder: Folder of the data set.
        name: Name of the type.

    Raises:
        SpecError: A file is missing.
    """
    files = {file: expand_home(folder) / file for file in (f"{name}.npy", LABELS)}
    missing = [str(path) for path in files.values() if not Path(path).is_file()]
    if missing:
        raise SpecError("folder", f"file not found (got {missing[0]}). Download the data set, or leave out folder.")
    return listing_digest(files)
