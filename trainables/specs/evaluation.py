"""Evaluation of a finished trial from its stored weights."""

from __future__ import annotations

from typing import Any

from sparsweep.trainables.specs.parts import DatasetSpec
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.trial import TrialSpec


class EvaluationSpec(RunSpec):
    """Run that evaluates the stored weights of ``trial`` and writes the outcomes that the storage lacks."""

    trial: TrialSpec

    @property
    def dataset_spec(self) -> DatasetSpec:
        return self.trial.dataset

    @property
    def num_epochs(self) -> int:
        return 1

    def hashed_fields(self) -> dict[str, Any]:
        return {"trial": self.trial.id}

    def prerequisites(self) -> tuple[RunSpec, ...]:
        trial = self.trial
        images = (*trial.evaluation.shift_runs(trial), *trial.evaluation.ood_runs)
        return (*trial.difficulty.prerequisites(trial), *images)

    def __str__(self) -> str:
        return f"evaluation of {self.trial}"
