"""Common corruptions: training and test images are corrupted once (paper, section 3.3.1 and appendix A.3).

The corruptions are those of Hendrycks & Dietterich, ICLR 2019 (see ``trainables.corruptions``). Every image gets one
independently drawn type at one severity. The draw depends on the corruption's own ``corruption_seed``, the split and
the index of the image in the data set. All trials therefore train and are evaluated on the same pixels. The corrupted
data set is created once and stored. Images are corrupted as stored, before augmentation.

The paper names three types as examples. It gives no list, no assignment and no parameters for severity 6, which the
benchmark does not have. The defaults are the benchmark's 15 types without frost, drawn uniformly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from sparsweep.trainables import corruptions
from sparsweep.trainables.corruptions import CORRUPTIONS, TYPE_SETS, Glass
from sparsweep.trainables.data import DataError, ImageData
from sparsweep.trainables.data.image_cache import listing_digest
from sparsweep.trainables.data.image_files import SUFFIXES, find_images, warn_left_out
from sparsweep.trainables.difficulties.base import Difficulty, PrerequisiteOutputs, difficulties
from sparsweep.trainables.lazy import torch
from sparsweep.trainables.pipeline.device_data import DeviceData, resize_to_model
from sparsweep.trainables.specs.base import PartlyHashed, SpecError, unknown_choice
from sparsweep.trainables.specs.parts import DatasetField, DatasetSpec, EvalImages
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.filesystem import expand_home


class Corruption(PartlyHashed):
    """Type and severity of the corruption of each image of a data set."""

    unhashed = frozenset({"frost_folder"})

    types: str | tuple[str, ...] = Field(default="h14", description="name of a set, a type, or a list of types")
    severity: int = Field(default=5, ge=1, le=6, description="1-5 of the benchmark, 6 extrapolated")
    test_severity: int | None = Field(
        default=None, ge=0, le=6, description="severity of test images; 0: clean, null: same"
    )
    train_severity: int | None = Field(
        default=None, ge=0, le=6, description="severity of training images; 0: clean, null: same"
    )
    assignment: Literal["uniform", "balanced", "class_skewed"] = Field(
        default="uniform", description="assignment of types to images: at random, in equal numbers, or by class"
    )
    skew: float = Field(default=0.9, ge=0, le=1, description="class_skewed: probability of the type of the class")
    frost_folder: str | None = Field(default=None, description="folder of frost photographs, for the type frost")
    frost_digest: str | None = Field(
        default=None, description="digest of the names and sizes of the photographs; computed if null"
    )
    corruption_seed: int = Field(default=0, ge=0, lt=2**31, description="seed of the corruptions")
    glass: Glass = Field(
        default="copy", description="glass_blur: copy pixels as the benchmark's code does, or swap them"
    )

    @model_validator(mode="before")
    @classmethod
    def _identify_frost(cls, data: Any) -> Any:
        """Add the digest of the frost folder: the id contains its photographs, not its path."""
        if not isinstance(data, Mapping) or data.get("frost_digest") or not isinstance(data.get("frost_folder"), str):
            return data
        folder = expand_home(data["frost_folder"])
        if not folder.is_dir():
            raise SpecError("frost_folder", f"folder not found (got {folder}).")
        try:
            listing = find_images(folder)
        except (DataError, OSError) as error:
            raise SpecError("frost_folder", f"{error}") from None
        if not listing.images:
            raise SpecError("frost_folder", f"no photograph in {folder}. Supported formats: {', '.join(SUFFIXES)}.")
        warn_left_out(folder, listing.left_out)
        return {**data, "frost_folder": str(folder.resolve()), "frost_digest": listing_digest(listing.images)}

    @property
    def type_names(self) -> tuple[str, ...]:
        """Names of the types."""
        if isinstance(self.types, str):
            return tuple(TYPE_SETS.get(self.types, (self.types,)))
        return self.types

    @property
    def idle(self) -> frozenset[str]:
        unused = set() if "glass_blur" in self.type_names else {"glass"}
        return frozenset(unused | (set() if self.train_severity is not None else {"train_severity"}))

    @model_validator(mode="after")
    def _types_are_known(self) -> Corruption:
        for name in self.type_names:
            if name not in CORRUPTIONS:
                raise SpecError("types", f"{unknown_choice('corruption', name, [*TYPE_SETS, *CORRUPTIONS])}")
        if not self.type_names or len(set(self.type_names)) < len(self.type_names):
            raise SpecError("types", f"must be a list of different types (got {list(self.type_names)}).")
        if "frost" in self.type_names and self.frost_folder is None:
            raise SpecError(
                "frost_folder",
                "needed: the package has no frost photographs (got null). "
                "Set a folder with photographs, or leave out frost (types: h14).",
            )
        return self

    @model_validator(mode="after")
    def _glass_is_used(self) -> Corruption:
        if self.glass != "copy" and "glass" in self.idle:
            raise SpecError("glass", f"glass_blur is not among the types (got {self.glass!r}). Leave it out.")
        return self

    def __str__(self) -> str:
        types = self.types if isinstance(self.types, str) else "/".join(self.types)
        return f"{types} at severity {self.severity}"


class CorruptionSpec(RunSpec):
    """Run that corrupts all images of a data set once, for all trials."""

    dataset: DatasetField
    corruption: Corruption

    @property
    def dataset_spec(self) -> DatasetSpec:
        return self.dataset

    @property
    def num_epochs(self) -> int:
        return 1

    def __str__(self) -> str:
        return f"{self.dataset.name} under {self.corruption}"


@difficulties.register
class Corrupted(Difficulty, Corruption):
    """Training and test images with common corruptions, one type per image."""

    name: Literal["corruption"] = "corruption"
    stage = "images"

    @property
    def measured(self) -> frozenset[str]:
        return frozenset({"corrupted_accuracy"})

    @property
    def eval_images(self) -> EvalImages:
        return "clean" if self.test_severity == 0 else "corrupted"

    def corruption_run(self, spec: TrialSpec) -> CorruptionSpec:
        """Return the run that corrupts the data set of ``spec``."""
        return CorruptionSpec(dataset=spec.dataset, corruption=Corruption(**self.model_dump(exclude={"name"})))

    def prerequisites(self, spec: TrialSpec) -> tuple[CorruptionSpec, ...]:
        return (self.corruption_run(spec),)

    def transform(self, spec: TrialSpec, data: DeviceData, sources: PrerequisiteOutputs) -> DeviceData:
        images = sources.corrupted(self.corruption_run(spec))

        def prepare(split: str) -> torch.Tensor:
            resized = resize_to_model(images[split], data.train_images.shape[1], spec.model.min_size)
            return resized.to(data.train_images.device)

        corrupted = dataclasses.replace(data, train_images=prepare("train"), corrupted_images=prepare("test"))
        if len(data.validation_labels):
            corrupted = dataclasses.replace(corrupted, validation_images=prepare("validation"))
        return corrupted


def corrupt_dataset(data: ImageData, run: CorruptionSpec) -> dict[str, np.ndarray]:
    """Corrupt all images of ``data``.

    Args:
        data: Data set to corrupt.
        run: Spec of the corruption.

    Returns:
        uint8 ``(N, C, H, W)`` for ``train``, ``test``, and ``validation`` if the data set has validation images.
        Validation images are corrupted like test images.
    """
    corruption = run.corruption
    test_severity = corruption.severity if corruption.test_severity is None else corruption.test_severity
    train_severity = corruption.severity if corruption.train_severity is None else corruption.train_severity
    severities = {"train": train_severity, "test": test_severity, "validation": test_severity}
    splits = {"train": (data.train_images, data.train_labels), "test": (data.test_images, data.test_labels)}
    if len(data.validation_labels):
        splits["validation"] = data.validation_images, data.validation_labels
    corrupted = {}
    for split, (images, labels) in splits.items():
        if severities[split] == 0:
            corrupted[split] = images
            continue
        seed, names = corruption.corruption_seed, np.array(corruption.type_names)
        assigned = corruptions.assign(
            len(images), labels, names.tolist(), corruption.assignment, corruption.skew, seed, split
        )
        corrupted[split] = corruptions.corrupt(
            images,
            names[assigned],
            severities[split],
            seed,
            split,
            frost_folder=corruption.frost_folder,
            glass=corruption.glass,
        )
    return corrupted
