"""Specification of a trial: a frozen, validated, hashed value. Equal specifications are the same trial everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Self, get_args

from pydantic import Field, TypeAdapter, ValidationError, ValidationInfo, field_validator, model_validator

from sparsweep.trainables.specs.base import PartlyHashed, SpecError, format_error
from sparsweep.trainables.specs.ood import OodImagesSpec
from sparsweep.trainables.specs.parts import (
    DatasetField,
    DatasetSpec,
    DifficultyField,
    ModelField,
    ShiftsField,
    SparsifierField,
    Split,
    registry_of,
)
from sparsweep.trainables.specs.profiles import Profile, apply_profile
from sparsweep.trainables.specs.recipe import Recipe
from sparsweep.trainables.specs.run import RunSpec, digest


class Evaluation(PartlyHashed):
    """When a network is evaluated on the test set, and what is kept of it. The last epoch is always evaluated."""

    unhashed = frozenset({"outcomes", "corruptions", "ood"})

    every: int = Field(default=1, ge=1, description="number of epochs between two evaluations")
    outcomes: tuple[Split, ...] = Field(
        default=("test",), description="splits whose prediction of every sample is stored after training"
    )

    corruptions: ShiftsField = Field(
        default=None, description="corruptions of the test images on which the trained network is evaluated"
    )

    ood: DatasetField | None = Field(
        default=None, description="data set whose test images the trained network should detect as foreign"
    )

    @property
    def idle(self) -> frozenset[str]:
        defaults = type(self)()  # of fields that do not change a training: the JSON of older trials stays the same
        return frozenset(name for name in self.unhashed if getattr(self, name) == getattr(defaults, name))

    @field_validator("outcomes")
    @classmethod
    def _in_fixed_order(cls, outcomes: tuple[Split, ...]) -> tuple[Split, ...]:
        return tuple(split for split in get_args(Split) if split in outcomes)

    def merge(self, other: Evaluation) -> Evaluation:
        """Return an evaluation with the outcomes of both, and of other settings this one's, else those of ``other``."""
        outcomes = self._in_fixed_order((*self.outcomes, *other.outcomes))
        rest = {name: getattr(self, name) or getattr(other, name) for name in ("corruptions", "ood")}
        return self.model_copy(update={"outcomes": outcomes, **rest})

    def shift_runs(self, spec: TrialSpec) -> tuple[Any, ...]:
        """Return the runs that write the shifted test images of ``spec``."""
        return self.corruptions.runs(spec) if self.corruptions else ()

    @property
    def ood_runs(self) -> tuple[OodImagesSpec, ...]:
        """The run that writes the out-of-distribution images, if any."""
        return () if self.ood is None else (OodImagesSpec(dataset=self.ood),)

    def check(self, spec: TrialSpec) -> None:
        """Raise SpecError if ``spec`` has no images of a split, or images of another shape than ``ood``."""
        if self.corruptions is not None:
            self.corruptions.check(spec)
        if self.ood is not None:
            self._check_ood(self.ood, spec.dataset)
        measured = spec.difficulty.measured
        needs: dict[Split, tuple[bool, str]] = {
            "validation": (spec.dataset.validation > 0, "dataset.validation above 0"),
            "corrupted": ("corrupted_accuracy" in measured, "a difficulty that corrupts test images"),
            "robust": ("robust_accuracy" in measured, "a difficulty with an attack"),
        }
        for split, (is_met, need) in needs.items():
            if split in self.outcomes and not is_met:
                problem = f"{split} needs {need} (got {list(self.outcomes)}). Leave it out."
                raise SpecError("evaluation.outcomes", problem)

    def _check_ood(self, ood: DatasetSpec, dataset: DatasetSpec) -> None:
        if ood.name == dataset.name:
            raise SpecError("evaluation.ood", f"must be another data set than {dataset.name} (got {ood.name!r}).")
        if ood.image_shape != dataset.image_shape:
            problem = f"images must have shape {dataset.image_shape} as {dataset.name} (got {ood.image_shape})."
            raise SpecError("evaluation.ood", f"{problem} Choose another data set.")


Sparsity = Annotated[float, Field(ge=0, lt=1)]


def subset_size(total: int, data_ratio: float) -> int:
    """Return the number of samples at a data ratio in (0, 1]: rounded to the nearest integer, at least 1."""
    return max(1, round(total * data_ratio))


class TrialSpec(RunSpec):
    """Specification of one training run."""

    dataset: DatasetField = Field(description="images to train and test on: a name, or {name: ..., fields}")
    model: ModelField = Field(description="network: a name, or {name: ..., fields}")
    sparsifier: SparsifierField = Field(description="method: a name, or {name: ..., fields}")
    sparsity: Sparsity = Field(default=0.0, description="fraction of maskable weights that is masked (zero)")
    difficulty: DifficultyField = Field(
        default_factory=lambda: registry_of("difficulty").parse("none"),
        description="how the samples are made hard: a name, or {name: ..., fields}",
    )
    data_ratio: float = Field(default=1.0, gt=0, le=1, description="fraction of the training set to use")
    recipe: Recipe = Field(default=Recipe(), description="how the network is trained")
    evaluation: Evaluation = Field(default=Evaluation(), description="when the network is evaluated")
    seed: int = Field(default=0, ge=0, lt=2**31, description="seed of initial weights, masks and batch order")
    profile: Profile = Field(default="clean", description="fidelity profile: named set of default values")

    @model_validator(mode="before")
    @classmethod
    def _start_from_profile(cls, data: Any) -> Any:
        return _with_canonical_method(apply_profile(data)) if isinstance(data, Mapping) else data

    @field_validator("recipe")
    @classmethod
    def _canonical_recipe(cls, recipe: Recipe, info: ValidationInfo) -> Recipe:
        if not {"dataset", "model"} <= info.data.keys():  # one of them is invalid: pydantic reports that error
            return recipe
        canonical = recipe.canonical(info.data["model"].auto_precision)
        return canonical.in_epochs(canonical.steps_per_pass(info.data["dataset"].train_size))

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        for part in (self.dataset, self.model, self.sparsifier, self.difficulty, self.evaluation):
            part.check(self)
        self._check_batches()
        return self

    def _check_batches(self) -> None:
        """Raise SpecError if an epoch has no batch, or if a batch is too small for the network."""
        size, min_batch = self.recipe.batch_size, self.model.min_batch
        rest = self.num_samples % size
        if self.recipe.drop_last and self.num_samples < size:
            raise SpecError(
                "recipe.drop_last",
                f"true leaves no batch: {self.num_samples} training samples, batches of {size}. "
                "Reduce recipe.batch_size, or set recipe.drop_last: false.",
            )
        if not self.recipe.drop_last and 0 < rest < min_batch:
            raise SpecError(
                "recipe.batch_size",
                f"the last batch has {rest} of {self.num_samples} training samples, {self.model.name} needs at least "
                f"{min_batch} (got {size}). Change recipe.batch_size or data_ratio, or set recipe.drop_last: true.",
            )
        if min_batch > 1:
            try:
                self.prerequisites()  # scoring runs train on all samples: creating them runs the same check
            except ValidationError as error:
                raise SpecError("", format_error(error)) from None

    def prerequisites(self) -> tuple[RunSpec, ...]:
        images = (*self.evaluation.shift_runs(self), *self.evaluation.ood_runs)
        return (*self.sparsifier.prerequisites(self), *self.difficulty.prerequisites(self), *images)

    def merge(self, other: Self) -> Self:
        if self.evaluation == other.evaluation:
            return self
        return self.model_copy(update={"evaluation": self.evaluation.merge(other.evaluation)})

    @property
    def dataset_spec(self) -> DatasetSpec:
        return self.dataset

    @property
    def trained_trial(self) -> TrialSpec:
        return self

    @property
    def num_epochs(self) -> int:
        return self.recipe.epochs - self.sparsifier.start_epoch(self)

    @property
    def comparison(self) -> str:
        """Digest of all fields except sparsifier, sparsity and seed (16 hex digits). Equal for comparable trials."""
        excluded = {"sparsifier", "sparsity", "seed"}
        shared = {name: value for name, value in self.hashed_fields().items() if name not in excluded}
        return digest("Comparison", shared)

    @property
    def num_samples(self) -> int:
        """Number of training samples."""
        return subset_size(self.dataset.train_size, self.data_ratio)

    @property
    def pass_steps(self) -> int:
        """Number of optimizer steps per pass over the training samples of the trial."""
        return self.recipe.steps_per_pass(self.num_samples)

    @property
    def epoch_steps(self) -> int:
        """Number of optimizer steps per epoch: one pass, over the whole training set if the recipe is in steps."""
        return self.pass_steps if self.recipe.steps is None else self.recipe.steps_per_pass(self.dataset.train_size)

    @property
    def steps(self) -> int:
        """Total number of optimizer steps."""
        return self.recipe.steps or self.recipe.epochs * self.pass_steps

    def images_until(self, epoch: int) -> int:
        """Return the number of training images that the first ``epoch`` epochs process."""
        steps = min(epoch * self.epoch_steps, self.steps)
        passes, rest = divmod(steps, self.pass_steps)
        size = self.recipe.batch_size
        pass_images = self.pass_steps * size if self.recipe.drop_last else self.num_samples
        return passes * pass_images + min(rest * size, pass_images)

    def __str__(self) -> str:
        name = self.sparsifier.name if self.sparsity == 0 else f"{self.sparsifier.name} {self.sparsity:g}"
        data = f"{self.dataset.name}/{self.model.name} {self.difficulty.table_name} {self.data_ratio:g}"
        return f"{name} on {data} seed {self.seed}"


_SPARSITY = TypeAdapter(Sparsity)


def _with_canonical_method(fields: dict[str, Any]) -> dict[str, Any]:
    """Return ``fields`` with the canonical form of the sparsifier. Invalid fields stay and are reported later."""
    with suppress(ValueError, LookupError):
        sparsity = _SPARSITY.validate_python(fields.get("sparsity", 0.0))
        method = registry_of("sparsifier").parse(fields["sparsifier"])
        return {**fields, "sparsifier": method.canonical(sparsity)}
    return fields
