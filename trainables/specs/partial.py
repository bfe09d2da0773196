"""Runs of the first epochs of a trial: scoring runs and snapshots."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field

from sparsweep.trainables.specs.base import HASH_CONTEXT
from sparsweep.trainables.specs.parts import DatasetSpec, registry_of
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.trial import TrialSpec


class PartialTrainingSpec(RunSpec):
    """Run of the first ``epochs`` epochs of ``trial``."""

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
    """First epochs of a dense ``trial`` on the whole training set. The run computes scores of all training samples.

    ``scores`` are excluded from the id: trials with different scores share one scoring run.
    """

    scores: tuple[str, ...]

    @classmethod
    def of(cls, trial: TrialSpec, seed: int, epochs: int, score: str) -> ScoringSpec:
        """Return a scoring run for the training set of ``trial``.

        Args:
            trial: Trial with the data set, model and recipe to use.
            seed: Seed of the scoring run.
            epochs: Number of epochs to train.
            score: Name of the score.
        """
        sparsifier = registry_of("sparsifier").parse("dense")
        dense = TrialSpec(
            dataset=trial.dataset, model=trial.model, sparsifier=sparsifier, recipe=trial.recipe, seed=seed
        )
        return cls(trial=dense, epochs=epochs, scores=(score,))

    def hashed_fields(self) -> dict[str, Any]:
        return self.model_dump(mode="json", context=HASH_CONTEXT, exclude={"scores"})

    def merge(self, other: Self) -> Self:
        return self.replace(scores=tuple(sorted({*self.scores, *other.scores})))

    def __str__(self) -> str:
        scores = f"{', '.join(self.scores)} of {self.trial.dataset.name}/{self.trial.model.name}"
        return f"{scores} seed {self.trial.seed} epoch {self.epochs}"


class SnapshotSpec(PartialTrainingSpec):
    """First epochs of ``trial``. The run stores its weights; lottery tickets are rewound to them."""

    def __str__(self) -> str:
        return f"weights of {self.trial} at epoch {self.epochs}"
