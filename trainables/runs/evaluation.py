"""Runs that evaluate the stored weights of a finished trial."""

from __future__ import annotations

from functools import partial

from sparsweep.trainables.difficulties import difficulties
from sparsweep.trainables.models.build import build_model
from sparsweep.trainables.runs.base import Progress, Run, RunInputs
from sparsweep.trainables.runs.measurements import measurement_paths, write_missing
from sparsweep.trainables.runs.prerequisites import training_data
from sparsweep.trainables.runs.soundness import check_weights
from sparsweep.trainables.specs.evaluation import EvaluationSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training.evaluation import Evaluator
from sparsweep.trainables.training.execution import StepSignature


class EvaluationRun(Run):
    """Run that writes the outcomes and shifts of a finished trial, without training."""

    def __init__(self, spec: EvaluationSpec, inputs: RunInputs, store: Store, sweep: str) -> None:
        self.spec, self.inputs, self.store = spec, inputs, store
        self.progress = Progress(0, spec.num_epochs, None)

    @staticmethod
    def output_paths(spec: EvaluationSpec, store: Store) -> tuple[str, ...]:
        return measurement_paths(spec.trial, store)

    def run_for(self, seconds: float) -> Progress:
        write_missing(self.evaluator(), self.store)
        self.progress = Progress(self.spec.num_epochs, self.spec.num_epochs, None)
        return self.progress

    def evaluator(self) -> Evaluator:
        """Return the evaluator of the stored weights."""
        trial = self.spec.trial
        weights = self.store.read_weights(trial.id, partial(check_weights, trial=trial))
        data, indices, _ = training_data(trial, self.inputs.device_data(trial), self.store)
        model = build_model(trial, data)
        model.load_state_dict(weights["model"])
        runner = self.inputs.runner_cache.acquire(StepSignature.of(trial, data), model)
        indices = indices.to(data.train_images.device)
        return Evaluator(trial, runner.network, data, difficulties.cast(trial.difficulty), indices)
