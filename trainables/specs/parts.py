"""Base classes of the four parts of a trial (data set, model, sparsifier, difficulty), without PyTorch.

The packages ``data``, ``models``, ``sparsifiers`` and ``difficulties`` extend these classes by the code that needs
PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from sparsweep.trainables.specs.base import FrozenModel, NamedSpec, Registry, SpecError
from sparsweep.trainables.specs.layers import Layer

if TYPE_CHECKING:
    from sparsweep.trainables.specs.run import RunSpec
    from sparsweep.trainables.specs.trial import TrialSpec

Part = Literal["dataset", "model", "sparsifier", "difficulty"]
Stage = Literal["selection", "labels", "images", "attack"]
EvalImages = Literal["clean", "corrupted"]
Split = Literal["test", "clean", "corrupted", "validation", "robust", "train"]
"""Images that a network is evaluated on. ``test``: those of ``test_accuracy``; ``train``: the trial's own samples."""

REGISTRIES: dict[Part, str] = {
    "dataset": "sparsweep.trainables.data:datasets",
    "model": "sparsweep.trainables.models:models",
    "sparsifier": "sparsweep.trainables.sparsifiers:sparsifiers",
    "difficulty": "sparsweep.trainables.difficulties:difficulties",
}
"""Module and name of each part's registry. Imported on first use, because these packages import this module."""


def registry_of(part: Part) -> Registry[Any]:
    """Import the package of ``part`` and return its registry."""
    package, _, name = REGISTRIES[part].partition(":")
    registry: Registry[Any] = getattr(importlib.import_module(package), name)
    return registry


class DatasetSpec(NamedSpec):
    """Description of a data set of labeled images, known without loading the images."""

    validation: int = Field(default=0, ge=0, description="number of training images held out for validation")

    @property
    def available(self) -> int:
        """Number of training images, held-out images included."""
        raise NotImplementedError

    @property
    def train_size(self) -> int:
        """Number of training images without held-out images."""
        return self.available - self.validation

    @property
    def classes(self) -> int:
        """Number of classes."""
        raise NotImplementedError

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape (channels, height, width) of a stored image."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _require_train_images(self) -> Self:
        if self.train_size < 1:
            reason = f"must be less than the {self.available} training images (got {self.validation})"
            raise SpecError("validation", reason)
        return self

    def check(self, spec: TrialSpec) -> None:
        """Raise SpecError if ``spec`` cannot use this data set."""


class ModelSpec(NamedSpec):
    """Description of a network architecture, known without building the network.

    Attributes:
        channels: Number of input channels (1: gray, 3: RGB).
        min_size: Minimum side of an input image in pixels. Smaller images are enlarged.
        min_batch: Minimum number of images per training batch. It is 2 if a batch norm has one value per image,
            because a variance needs two values.
        auto_precision: Precision for ``precision: auto``. It is bf16 for networks that are large enough to use tensor
            cores.
    """

    channels: ClassVar[int]
    min_size: ClassVar[int]
    min_batch: ClassVar[int] = 1
    auto_precision: ClassVar[Literal["fp32", "bf16"]] = "fp32"

    def check(self, spec: TrialSpec) -> None:
        """Raise SpecError if the network cannot use the images of ``spec``."""

    def layers(self, classes: int, shape: tuple[int, int, int]) -> tuple[Layer, ...]:
        """Return the maskable layers in network order.

        Args:
            classes: Number of classes.
            shape: Shape (channels, height, width) of the input images.
        """
        raise NotImplementedError


class SparsifierSpec(NamedSpec):
    """Description of a sparsification method, known without computing masks."""

    def canonical(self, sparsity: float) -> Self:
        """Return the canonical form of this method at ``sparsity``, so that equal trials have equal ids."""
        return self

    def check(self, spec: TrialSpec) -> None:
        """Raise SpecError if the method cannot train ``spec``."""

    def check_updates(self, spec: TrialSpec) -> None:
        """Raise SpecError if the method updates masks during training but ``spec`` has no update."""

    def prerequisites(self, spec: TrialSpec) -> tuple[RunSpec, ...]:
        """Return the trials and snapshots whose weights ``spec`` needs."""
        return ()

    def start_epoch(self, spec: TrialSpec) -> int:
        """Return the first epoch to train, counted from 0. Above 0 if a prerequisite trained the earlier epochs."""
        return 0


class DifficultySpec(NamedSpec):
    """Description of a way to make training data hard, known without data."""

    stage: ClassVar[Stage] = "selection"

    @property
    def table_name(self) -> str:
        """Name of the difficulty in the tables."""
        return self.name

    @property
    def eval_images(self) -> EvalImages:
        """Kind of test images whose accuracy is ``test_accuracy``."""
        return "clean"

    @property
    def learnable(self) -> float | None:
        """Fraction of the training labels that a converged network predicts. None if no fit is expected."""
        return 1.0

    @property
    def measured(self) -> frozenset[str]:
        """Names of the accuracies that this difficulty adds to the clean accuracy."""
        return frozenset()

    def check(self, spec: TrialSpec) -> None:
        """Raise SpecError if this difficulty cannot be applied to ``spec``."""

    def num_scoring_runs(self, spec: TrialSpec) -> int:
        """Return the number of scoring runs in :meth:`prerequisites`, without creating them."""
        return 0

    def prerequisites(self, spec: TrialSpec) -> tuple[RunSpec, ...]:
        """Return the runs whose scores or images ``spec`` needs."""
        return ()


class ShiftsSpec(FrozenModel):
    """Description of shifted test images, known without images."""

    def check(self, spec: TrialSpec) -> None:
        """Raise SpecError if these images cannot be used for ``spec``."""

    def runs(self, spec: TrialSpec) -> tuple[Any, ...]:
        """Return the runs that write the images for ``spec``."""
        raise NotImplementedError


def _parse_shifts(value: Any) -> Any:
    """Return the value of ``evaluation.corruptions``. Imported on first use, as the registries are."""
    if value is None or isinstance(value, ShiftsSpec):
        return value
    shifts: type[ShiftsSpec] = importlib.import_module("sparsweep.trainables.difficulties.shifts").Shifts
    return shifts.model_validate(value)


ShiftsField = Annotated[SerializeAsAny[ShiftsSpec] | None, BeforeValidator(_parse_shifts)]

# Types of fields with one registered part. The input is a name, or a mapping with all fields.
DatasetField = Annotated[
    SerializeAsAny[DatasetSpec], BeforeValidator(lambda value: registry_of("dataset").parse(value))
]
ModelField = Annotated[SerializeAsAny[ModelSpec], BeforeValidator(lambda value: registry_of("model").parse(value))]
SparsifierField = Annotated[
    SerializeAsAny[SparsifierSpec], BeforeValidator(lambda value: registry_of("sparsifier").parse(value))
]
DifficultyField = Annotated[
    SerializeAsAny[DifficultySpec], BeforeValidator(lambda value: registry_of("difficulty").parse(value))
]
