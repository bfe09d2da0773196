"""What a trial is: a frozen, validated, hashed value. The same spec is the same trial, everywhere and for ever.

What does not change the result (workers, devices, storage, progress) is not in it; what does is, defaults included,
so that a later change of a default never renames an old trial.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from sparsweep.trainables.data import Dataset, datasets
from sparsweep.trainables.difficulties import Difficulty, difficulties, subset_size
from sparsweep.trainables.difficulties.corruption import Corruption
from sparsweep.trainables.models import Model, models
from sparsweep.trainables.sparsifiers import Sparsifier, sparsifiers
from sparsweep.trainables.specs.base import FOR_ID, Value, explain
from sparsweep.trainables.specs.profiles import Profile, apply_profile
from sparsweep.trainables.specs.recipe import Recipe

SCHEMA_VERSION = 1
"""Part of every id; raised when the meaning of a field changes, so that old results are not taken for new ones."""

# A field that holds one registered value, given by its name or in full.
DatasetField = Annotated[SerializeAsAny[Dataset], BeforeValidator(datasets.parse)]
ModelField = Annotated[SerializeAsAny[Model], BeforeValidator(models.parse)]
SparsifierField = Annotated[SerializeAsAny[Sparsifier], BeforeValidator(sparsifiers.parse)]
DifficultyField = Annotated[SerializeAsAny[Difficulty], BeforeValidator(difficulties.parse)]


class Evaluation(Value):
    """When a network is judged on the test set. The last epoch always is."""

    every: int = Field(default=1, ge=1, description="epochs between two evaluations")


def digest(kind: str, content: Mapping[str, Any]) -> str:
    """16 hex digits of the SHA-256 of ``content`` as canonical JSON, its kind and the schema version."""
    whole = {"schema": SCHEMA_VERSION, "kind": kind, "spec": content}
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Spec(Value):
    """What all runs share: an id from all that they are."""

    @cached_property
    def id(self) -> str:
        """16 hex digits: SHA-256 of the canonical JSON, the kind and the schema version."""
        return digest(type(self).__name__, self.identity())

    def identity(self) -> dict[str, Any]:
        """What tells this run from others: everything, unless a field only says what to keep of it."""
        return self.model_dump(mode="json", context=FOR_ID)

    def requirements(self) -> tuple[Spec, ...]:
        """What must be finished before this can start."""
        return ()

    def join(self, other: Self) -> Self:
        """One run that leaves what this one and ``other``, of the same id, leave behind."""
        return self

    @property
    def source(self) -> Dataset:
        """The data set that it needs."""
        raise NotImplementedError

    @property
    def training(self) -> TrialSpec | None:
        """The trial whose network is trained by its recipe; None if nothing is trained."""
        return None

    @property
    def length(self) -> int:
        """Epochs that are trained, or the number of parts of the work."""
        raise NotImplementedError

    def replace(self, **changes: Any) -> Self:
        """The same with some fields changed, validated again."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate({**fields, **changes})


class TrialSpec(Spec):
    """One training run."""

    dataset: DatasetField = Field(description="images to train and test on: a name, or {name: ..., fields}")
    model: ModelField = Field(description="network: a name, or {name: ..., fields}")
    sparsifier: SparsifierField = Field(description="method: a name, or {name: ..., fields}")
    sparsity: float = Field(default=0.0, ge=0, lt=1, description="fraction of maskable weights that is zero")
    difficulty: DifficultyField = Field(
        default_factory=lambda: difficulties.parse("none"),
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
        return apply_profile(data) if isinstance(data, Mapping) else data

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        # Frozen, but nobody has seen it yet.
        self.__dict__["sparsifier"] = self.sparsifier.settled(self.sparsity)
        try:
            self.__dict__["recipe"] = self.recipe.settled(self.model).in_epochs(self._passes(self.dataset.train_size))
            for part in (self.dataset, self.model, self.sparsifier, self.difficulty):
                part.check(self)
            self._check_batches()
        except ValueError as error:
            # A check names its field in front ("sparsity: ..."); one that does not is taken as it is.
            path, colon, reason = str(error).partition(": ")
            place = {"path": path if colon else "", "reason": reason or path}
            raise PydanticCustomError("nested", "{path}: {reason}", place) from None
        return self

    def _check_batches(self) -> None:
        """ValueError if an epoch would have no batch, or one too small for the network."""
        size, least = self.recipe.batch_size, self.model.min_batch
        rest = self.samples % size
        if self.recipe.drop_last and self.samples < size:
            raise ValueError(f"recipe.drop_last: true leaves no batch of {size} of {self.samples} training samples")
        if not self.recipe.drop_last and 0 < rest < least:
            raise ValueError(
                f"recipe.batch_size: {size} leaves a last batch of {rest} of {self.samples} training samples, "
                f"{self.model.name} trains on {least} or more; choose another recipe.batch_size or data_ratio, or "
                "recipe.drop_last: true"
            )
        if least > 1:
            try:
                self.requirements()  # scoring runs train on all samples: the checks of their making count here too
            except ValidationError as error:
                raise ValueError(explain(error)) from None

    def requirements(self) -> tuple[Spec, ...]:
        return (*self.sparsifier.requirements(self), *self.difficulty.requirements(self))

    @property
    def source(self) -> Dataset:
        return self.dataset

    @property
    def training(self) -> TrialSpec:
        return self

    @property
    def length(self) -> int:
        return self.recipe.epochs - self.sparsifier.first_epoch(self)

    @property
    def comparison(self) -> str:
        """16 hex digits that two trials share if they differ in nothing but sparsifier, sparsity and seed."""
        own = {"sparsifier", "sparsity", "seed"}
        return digest("Comparison", {name: value for name, value in self.identity().items() if name not in own})

    @property
    def samples(self) -> int:
        """Number of training samples."""
        return subset_size(self.dataset.train_size, self.data_ratio)

    def _passes(self, samples: int) -> int:
        """Steps of one pass over ``samples`` samples, at least one."""
        size = self.recipe.batch_size
        return max(1, samples // size if self.recipe.drop_last else math.ceil(samples / size))

    @property
    def pass_steps(self) -> int:
        """Optimizer steps of one pass over the trial's training samples."""
        return self._passes(self.samples)

    @property
    def epoch_steps(self) -> int:
        """Optimizer steps of one epoch: a pass, or one over the whole training set where the recipe is in steps."""
        return self.pass_steps if self.recipe.steps is None else self._passes(self.dataset.train_size)

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole training."""
        return self.recipe.steps or self.recipe.epochs * self.pass_steps

    def images_until(self, epoch: int) -> int:
        """Training images that the first ``epoch`` epochs go through."""
        steps = min(epoch * self.epoch_steps, self.steps)
        whole, rest = divmod(steps, self.pass_steps)
        size = self.recipe.batch_size
        in_pass = self.pass_steps * size if self.recipe.drop_last else self.samples
        return whole * in_pass + min(rest * size, in_pass)

    def scoring(self, seed: int, epochs: int, score: str) -> ScoringSpec:
        """The scoring run of ``seed`` that judges this trial's training set after ``epochs`` epochs by ``score``."""
        dense = sparsifiers.parse("dense")
        trial = TrialSpec(dataset=self.dataset, model=self.model, sparsifier=dense, recipe=self.recipe, seed=seed)
        return ScoringSpec(trial=trial, epochs=epochs, scores=(score,))

    def snapshot(self, epochs: int) -> SnapshotSpec:
        """The weights of this trial after its first ``epochs`` epochs."""
        return SnapshotSpec(trial=self, epochs=epochs)

    def __str__(self) -> str:
        name = self.sparsifier.name if self.sparsity == 0 else f"{self.sparsifier.name} {self.sparsity:g}"
        data = f"{self.dataset.name}/{self.model.name} {self.difficulty.label} {self.data_ratio:g}"
        return f"{name} on {data} seed {self.seed}"


class Prefix(Spec):
    """The first ``epochs`` epochs of a ``trial``."""

    trial: TrialSpec
    epochs: int = Field(ge=1)

    @property
    def source(self) -> Dataset:
        return self.trial.dataset

    @property
    def training(self) -> TrialSpec:
        return self.trial

    @property
    def length(self) -> int:
        return self.epochs

    def requirements(self) -> tuple[Spec, ...]:
        return self.trial.requirements()


class ScoringSpec(Prefix):
    """The first epochs of a dense ``trial`` on the whole training set, which is scored on the way and at the end.

    ``scores`` are not part of its id: trials that want several scores of one run share it.
    """

    scores: tuple[str, ...]

    def identity(self) -> dict[str, Any]:
        return self.model_dump(mode="json", context=FOR_ID, exclude={"scores"})

    def join(self, other: Self) -> Self:
        return self.replace(scores=tuple(sorted({*self.scores, *other.scores})))

    def __str__(self) -> str:
        what = f"{', '.join(self.scores)} of {self.trial.dataset.name}/{self.trial.model.name}"
        return f"{what} seed {self.trial.seed} epoch {self.epochs}"


class SnapshotSpec(Prefix):
    """The first epochs of a ``trial``, whose weights are kept: where lottery tickets are rewound to."""

    def __str__(self) -> str:
        return f"weights of {self.trial} at epoch {self.epochs}"


class CorruptionSpec(Spec):
    """All images of a data set, corrupted once (``corruption`` says how) and shared by all trials."""

    dataset: DatasetField
    corruption: Corruption

    @property
    def source(self) -> Dataset:
        return self.dataset

    @property
    def length(self) -> int:
        return 1

    def __str__(self) -> str:
        return f"{self.dataset.name} under {self.corruption}"


KINDS: dict[str, type[Spec]] = {kind.__name__: kind for kind in (TrialSpec, ScoringSpec, SnapshotSpec, CorruptionSpec)}


def dump(spec: Spec) -> str:
    """JSON from which :func:`load` makes the same spec."""
    return json.dumps({"kind": type(spec).__name__, "spec": spec.model_dump(mode="json")})


def load(text: str) -> Spec:
    content = json.loads(text)
    return KINDS[content["kind"]].model_validate(content["spec"])
