"""Runs that write corrupted images."""

from __future__ import annotations

from sparsweep.trainables.difficulties.corruption import CorruptionSpec, corrupt_dataset
from sparsweep.trainables.runs.base import Progress, Run, RunInputs
from sparsweep.trainables.storage.store import Store


class CorruptionRun(Run):
    """Run that corrupts a data set and writes the images."""

    def __init__(self, spec: CorruptionSpec, inputs: RunInputs, store: Store, sweep: str) -> None:
        self.spec, self.inputs, self.store = spec, inputs, store
        self.progress = Progress(0, spec.num_epochs, None)

    @staticmethod
    def output_paths(spec: CorruptionSpec, store: Store) -> tuple[str, ...]:
        return (store.artifact_path("corrupted", spec.id),)

    def run_for(self, seconds: float) -> Progress:
        self.store.write_corrupted(self.spec.id, corrupt_dataset(self.inputs.load_images(), self.spec))
        self.progress = Progress(self.spec.num_epochs, self.spec.num_epochs, None)
        return self.progress
