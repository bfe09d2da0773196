"""What a trial is: a frozen, validated, hashed value. The same spec is the same trial everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Self

from pydantic import Field, TypeAdapter, ValidationError, ValidationInfo, field_validator, model_validator

from sparsweep.trainables.specs.base import FrozenModel, SpecError, format_error
from sparsweep.trainables.specs.parts import (
    DatasetField,
    DatasetSpec,
    DifficultyField,
    ModelField,
    SparsifierField,
    registry_of,
)
from sparsweep.trainables.specs.profiles import Profile, apply_profile
from sparsweep.trainables.specs.recipe import Recipe
from sparsweep.trainables.specs.run import RunSpec, digest


class Evaluation(FrozenModel):
    """When a network is judged on the test set. The last epoch always is."""

    every: int = Field(default=1, ge=1, description="epochs between two evaluations")


Sparsity = Annotated[float, Field(ge=0, lt=1)]


def subset_size(total: int, data_ratio: float) -> int:
    """Return how many of ``total`` samples a ratio in (0, 1] keeps: the nearest whole number, at least 1."""
    return max(1, round(total * data_ratio))


class TrialSpec(RunSpec):
    """One training run."""

    dataset: DatasetField = Field(description="images to train and test on: a name, or {name: ..., fields}")
    model: ModelField = Field(description="network: a name, or {name: ..., fields}")
    sparsifier: SparsifierField = Field(description="method: a name, or {name: ..., fields}")
    sparsity: Sparsity = Field(default=0.0, description="fraction of maskable weights that is zero")
    difficulty: DifficultyField = Field(
        default_factory=lambda: registry_of("difficulty").parse("none"),
        description="what makes the samples hard: a name, or {name: ..., fields}",
    )
    data_ratio: float = Field(default=1.0, gt=0, le=1, description="fraction of the training set that is used")
    recipe: Recipe = Field(default=Recipe(), description="how the network is trained")
    evaluation: Evaluation = Field(default=Evaluation(), description="when the network is judged")
    seed: int = Field(default=0, ge=0, lt=2**31, description="the replicate: initial weights, masks, order of batches")
    profile: Profile = Field(default="clean", description="named bundle of fidelity choices")

    @model_validator(mode="before")
    @classmethod
    def _start_from_profile(cls, data: Any) -> Any:
        return _with_canonical_method(apply_profile(data)) if isinstance(data, Mapping) else data

    @field_validator("recipe")
    @classmethod
    def _canonical_recipe(cls, recipe: Recipe, info: ValidationInfo) -> Recipe:
        if not {"dataset", "model"} <= info.data.keys():  # one of them is wrong, which is the error to report
            return recipe
        canonical = recipe.canonical(info.data["model"].auto_precision)
        return canonical.in_epochs(canonical.steps_per_pass(info.data["dataset"].train_size))

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        for part in (self.dataset, self.model, self.sparsifier, self.difficulty):
            part.check(self)
        self._check_batches()
        return self

    def _check_batches(self) -> None:
        """Raise SpecError if an epoch would have no batch, or one that is too small for the network."""
        size, least = self.recipe.batch_size, self.model.min_batch
        rest = self.num_samples % size
        if self.recipe.drop_last and self.num_samples < size:
            raise SpecError(
                "recipe.drop_last", f"true leaves no batch of {size} of {self.num_samples} training samples"
            )
        if not self.recipe.drop_last and 0 < rest < least:
            remedy = "choose another recipe.batch_size or data_ratio, or recipe.drop_last: true"
            raise SpecError(
                "recipe.batch_size",
                f"{size} leaves a last batch of {rest} of {self.num_samples} training samples, "
                f"{self.model.name} trains on {least} or more; {remedy}",
            )
        if least > 1:
            try:
                self.prerequisites()  # scoring runs train on all samples: the checks of their making count here too
            except ValidationError as error:
                raise SpecError("", format_error(error)) from None

    def prerequisites(self) -> tuple[RunSpec, ...]:
        return (*self.sparsifier.prerequisites(self), *self.difficulty.prerequisites(self))

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
        """16 hex digits that two trials share if they differ in nothing but sparsifier, sparsity and seed."""
        own = {"sparsifier", "sparsity", "seed"}
        return digest("Comparison", {name: value for name, value in self.hashed_fields().items() if name not in own})

    @property
    def num_samples(self) -> int:
        """Number of training samples."""
        return subset_size(self.dataset.train_size, self.data_ratio)

    @property
    def pass_steps(self) -> int:
        """Optimizer steps of one pass over the trial's training samples."""
        return self.recipe.steps_per_pass(self.num_samples)

    @property
    def epoch_steps(self) -> int:
        """Optimizer steps of one epoch: a pass, or one over the whole training set if the recipe is in steps."""
        return self.pass_steps if self.recipe.steps is None else self.recipe.steps_per_pass(self.dataset.train_size)

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole training."""
        return self.recipe.steps or self.recipe.epochs * self.pass_steps

    def images_until(self, epoch: int) -> int:
        """Return the number of training images that the first ``epoch`` epochs process."""
        steps = min(epoch * self.epoch_steps, self.steps)
        whole, rest = divmod(steps, self.pass_steps)
        size = self.recipe.batch_size
        in_pass = self.pass_steps * size if self.recipe.drop_last else self.num_samples
        return whole * in_pass + min(rest * size, in_pass)

    def __str__(self) -> str:
        name = self.sparsifier.name if self.sparsity == 0 else f"{self.sparsifier.name} {self.sparsity:g}"
        data = f"{self.dataset.name}/{self.model.name} {self.difficulty.table_name} {self.data_ratio:g}"
        return f"{name} on {data} seed {self.seed}"


_SPARSITY = TypeAdapter(Sparsity)


def _with_canonical_method(fields: dict[str, Any]) -> dict[str, Any]:
    """Return ``fields`` with the canonical form of the method. Fields that are wrong stay, to be reported later."""
    with suppress(ValueError, LookupError):
        sparsity = _SPARSITY.validate_python(fields.get("sparsity", 0.0))
        method = registry_of("sparsifier").parse(fields["sparsifier"])
        return {**fields, "sparsifier": method.canonical(sparsity)}
    return fields
