"""Runs that write scores of training samples."""

from __future__ import annotations

from typing import Any

from sparsweep.trainables.difficulties.scores.base import SCORES, ScoringContext
from sparsweep.trainables.lazy import torch
from sparsweep.trainables.runs.base import RunInputs, TrainingRun
from sparsweep.trainables.runs.soundness import check_like, check_ranking
from sparsweep.trainables.specs.partial import ScoringSpec
from sparsweep.trainables.storage.provenance import dump_code
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.storage.tensor_file import CorruptFileError
from sparsweep.trainables.training.throughput import no_parent
from sparsweep.trainables.training.trainer import DivergedError, Trainer


class ScoringRun(TrainingRun):
    """Run of the first epochs of a dense trial on the full training set. It writes scores of every sample."""

    spec: ScoringSpec

    def __init__(self, spec: ScoringSpec, inputs: RunInputs, store: Store, sweep: str) -> None:
        data = inputs.device_data(spec.trial)
        # Existing scores are never written again: trials may have used them.
        missing = [name for name in spec.scores if not store.exists(store.scores_path(spec.id, name))]
        self.scores = {name: SCORES[name](data) for name in missing}
        indices = torch.arange(len(data.train_labels))
        super().__init__(spec, Trainer(spec.trial, data, indices, no_parent, inputs.runner_cache), store, sweep)

    @staticmethod
    def output_paths(spec: ScoringSpec, store: Store) -> tuple[str, ...]:
        return tuple(store.scores_path(spec.id, score) for score in spec.scores)

    def train_epoch(self) -> None:
        super().train_epoch()
        training = self.training
        self.context = ScoringContext(training.epoch, training.data, training.network, training.batches.batch_size)
        for score in self.scores.values():
            score.on_epoch_end(self.context)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "scores": {name: score.state for name, score in self.scores.items()}}

    def check(self, state: Any) -> None:
        super().check(state)
        if not isinstance(state.get("scores"), dict):
            raise CorruptFileError("its scores have an unexpected structure")
        for name in self.scores.keys() & state["scores"].keys():
            check_like(state["scores"][name], self.scores[name].state, f"scores.{name}")

    def restore(self, state: dict[str, Any]) -> None:
        if not set(self.scores) <= set(state["scores"]):
            return  # a new score may need every epoch: start from the beginning
        super().restore(state)
        for name, score in self.scores.items():
            score.state = {key: value.to(self.training.device) for key, value in state["scores"][name].items()}

    def finish(self) -> None:
        labels = self.training.data.train_labels.cpu().numpy()
        for name, score in self.scores.items():
            values = score.compute(self.context)
            try:
                check_ranking(values.cpu().numpy())
            except CorruptFileError as error:
                raise DivergedError(f"{name}: unusable scores: {error}") from None
            self.store.write_scores(self.spec.id, name, labels, values.cpu().numpy(), dump_code(self.code))
