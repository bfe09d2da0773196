"""What a trial asks of its four parts without computing anything: data set, model, sparsifier, difficulty.

The packages ``data``, ``models``, ``sparsifiers`` and ``difficulties`` extend these classes by what needs PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from sparsweep.trainables.specs.base import NamedSpec, Registry, SpecError
from sparsweep.trainables.specs.layers import Layer

if TYPE_CHECKING:
    from sparsweep.trainables.specs.run import RunSpec
    from sparsweep.trainables.specs.trial import TrialSpec

Part = Literal["dataset", "model", "sparsifier", "difficulty"]
Stage = Literal["selection", "labels", "images", "attack"]
EvalImages = Literal["clean", "corrupted"]

REGISTRIES: dict[Part, str] = {
    "dataset": "sparsweep.trainables.data:datasets",
    "model": "sparsweep.trainables.models:models",
    "sparsifier": "sparsweep.trainables.sparsifiers:sparsifiers",
    "difficulty": "sparsweep.trainables.difficulties:difficulties",
}
"""Where the registry of each part is. Named, not imported: their packages import this one."""


def registry_of(part: Part) -> Registry[Any]:
    """Return the registry of ``part``, filled with the classes of its package."""
    package, _, name = REGISTRIES[part].partition(":")
    registry: Registry[Any] = getattr(importlib.import_module(package), name)
    return registry


class DatasetSpec(NamedSpec):
    """A source of labelled images: what is known of it without loading it."""

    validation: int = Field(default=0, ge=0, description="training images that are held out to validate on")

    @property
    def available(self) -> int:
        """Number of training images, including those that are held out."""
        raise NotImplementedError

    @property
    def train_size(self) -> int:
        """Number of training images without those that are held out."""
        return self.available - self.validation

    @property
    def classes(self) -> int:
        """Number of classes."""
        raise NotImplementedError

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image as stored."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Self:
        if self.train_size < 1:
            reason = f"{self.validation} leaves nothing to train on of {self.available} images"
            raise SpecError("validation", reason)
        return self

    def check(self, spec: TrialSpec) -> None:
        """Raise SpecError if ``spec`` cannot use these images."""


class ModelSpec(NamedSpec):
    """A network architecture: what is known of it without building it.

    Attributes:
        channels: Channels of the images that it takes (1: grey, 3: RGB).
        min_size: Smallest side of an image in pixels. Smaller images are enlarged to it.
        min_batch: Fewest images that it can train on at once. 2 if a norm has one value per image, for it needs their
            variance.
        auto_precision: What ``precision: auto`` means: bf16 for networks that are large enough for tensor cores.
    """

    channels: ClassVar[int]
    min_size: ClassVar[int]
    min_batch: ClassVar[int] = 1
    auto_precision: ClassVar[Literal["fp32", "bf16"]] = "fp32"

    def check(self, spec: TrialSpec) -> None:
        """Raise SpecError if the images of ``spec`` do not suit it."""

    def layers(self, classes: int, shape: tuple[int, int, int]) -> tuple[Layer, ...]:
        """Return the maskable layers in network order for images of ``shape`` (channels, height, width)."""
        raise NotImplementedError


class SparsifierSpec(NamedSpec):
    """A method: what is known of it without computing masks."""

    def canonical(self, sparsity: float) -> Self:
        """Return the one way to write this method in a trial of ``sparsity``, so that equal trials have one id."""
        return self

    def check(self, spec: TrialSpec) -> None:
        """Raise SpecError if the method cannot train ``spec``."""

    def check_updates(self, spec: TrialSpec) -> None:
        """Raise SpecError if the masks are to change during training but never would."""

    def prerequisites(self, spec: TrialSpec) -> tuple[RunSpec, ...]:
        """Return the trials and snapshots whose weights ``spec`` needs before it can start."""
        return ()

    def start_epoch(self, spec: TrialSpec) -> int:
        """Return the epoch, counted from 0, at which training starts. Above 0 if a prerequisite trained the first."""
        return 0


class DifficultySpec(NamedSpec):
    """A way to make training data hard: what is known of it without data."""

    stage: ClassVar[Stage] = "selection"

    @property
    def table_name(self) -> str:
        """Name of the difficulty in the tables."""
        return self.name

    @property
    def eval_images(self) -> EvalImages:
        """The test images whose accuracy is ``test_accuracy``."""
        return "clean"

    @property
    def learnable(self) -> float | None:
        """Fraction of the training labels that a converged network predicts; None if no fit is expected."""
        return 1.0

    @property
    def measured(self) -> frozenset[str]:
        """The accuracies that a trial has because of it, besides the one on clean images."""
        return frozenset()

    def check(self, spec: TrialSpec) -> None:
        """Raise SpecError if ``spec`` cannot be made this hard."""

    def num_scoring_runs(self, spec: TrialSpec) -> int:
        """Return the number of scoring runs among :meth:`prerequisites`, without making them."""
        return 0

    def prerequisites(self, spec: TrialSpec) -> tuple[RunSpec, ...]:
        """Return the runs whose scores or images ``spec`` needs before it can start."""
        return ()


# A field that holds one registered part, given by its name or in full.
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
