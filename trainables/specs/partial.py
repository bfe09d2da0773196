"""Runs that are the first epochs of a trial: scoring runs and snapshots."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field

from sparsweep.trainables.specs.base import HASH_CONTEXT
from sparsweep.trainables.specs.parts import DatasetSpec, registry_of
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.trial import TrialSpec


class PartialTrainingSpec(RunSpec):
    """The first ``epochs`` epochs of a ``trial``."""

    trial: TrialSpec
    epochs: int = Field(ge=1)

    @property
    def dataset_spec(self) -> DatasetSpec:
        return self.trial.dataset

    @property
    def trained_trial(self) -> TrialSpec:
        return self.trial

    @property
    def num_epochs(self) -> int:
        return self.epochs

    def prerequisites(self) -> tuple[RunSpec, ...]:
        return self.trial.prerequisites()


class ScoringSpec(PartialTrainingSpec):
    """The first epochs of a dense ``trial`` on the whole training set, which is scored on the way and at the end.

    ``scores`` are not part of its id: trials that want several scores of one run share it.
    """

    scores: tuple[str, ...]

    @classmethod
    def of(cls, trial: TrialSpec, seed: int, epochs: int, score: str) -> ScoringSpec:
        """Return the scoring run of ``seed`` that computes ``score`` of the training set of ``trial``."""
        dense = registry_of("sparsifier").parse("dense")
        same = TrialSpec(dataset=trial.dataset, model=trial.model, sparsifier=dense, recipe=trial.recipe, seed=seed)
        return cls(trial=same, epochs=epochs, scores=(score,))

    def hashed_fields(self) -> dict[str, Any]:
        return self.model_dump(mode="json", context=HASH_CONTEXT, exclude={"scores"})

    def merge(self, other: Self) -> Self:
        return self.replace(scores=tuple(sorted({*self.scores, *other.scores})))

    def __str__(self) -> str:
        what = f"{', '.join(self.scores)} of {self.trial.dataset.name}/{self.trial.model.name}"
        return f"{what} seed {self.trial.seed} epoch {self.epochs}"


class SnapshotSpec(PartialTrainingSpec):
    """The first epochs of a ``trial``, whose weights are stored: lottery tickets are rewound to them."""

    def __str__(self) -> str:
        return f"weights of {self.trial} at epoch {self.epochs}"
