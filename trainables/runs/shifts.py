"""Evaluation of a trained network on shifted test images (table ``shifts``), and the runs that write these images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from sparsweep.trainables.difficulties.shifts import ShiftRunSpec
from sparsweep.trainables.lazy import torch
from sparsweep.trainables.pipeline.device_data import resize_to_model, tensor_view
from sparsweep.trainables.runs.base import Progress, Run, RunInputs
from sparsweep.trainables.runs.soundness import check_images
from sparsweep.trainables.specs.ood import OodImagesSpec
from sparsweep.trainables.specs.run import digest
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training.evaluation import Evaluator
from sparsweep.trainables.training.outcomes import outcomes_of

SPLIT = "test"
"""Name of the images in their file."""


class ShiftRun(Run):
    """Run that writes shifted test images, or those of another data set."""

    def __init__(self, spec: ShiftRunSpec | OodImagesSpec, inputs: RunInputs, store: Store, sweep: str) -> None:
        self.spec, self.inputs, self.store = spec, inputs, store
        self.progress = Progress(0, spec.num_epochs, None)

    @staticmethod
    def output_paths(spec: ShiftRunSpec | OodImagesSpec, store: Store) -> tuple[str, ...]:
        return (store.artifact_path("corrupted", spec.id),)

    def run_for(self, seconds: float) -> Progress:
        self.store.write_corrupted(self.spec.id, {SPLIT: self.spec.images(self.inputs.load_images())})
        self.progress = Progress(self.spec.num_epochs, self.spec.num_epochs, None)
        return self.progress


def shift_path(trial: TrialSpec, store: Store) -> str:
    """Return the path of the rows of ``trial`` in ``shifts``. The name has a digest of the images."""
    images = digest("Shifts", {"runs": sorted(run.id for run in trial.evaluation.shift_runs(trial))})
    return store.result_path("shifts", f"{trial.id}-{images}")


def shift_rows(evaluator: Evaluator, store: Store) -> list[dict[str, Any]]:
    """Evaluate the trained network on all shifted test images. Return the rows of the table ``shifts``.

    Args:
        evaluator: Evaluator of the trained network.
        store: Storage with the images.
    """
    return [_row(evaluator, run, store) for run in evaluator.spec.evaluation.shift_runs(evaluator.spec)]


def _row(evaluator: Evaluator, run: ShiftRunSpec, store: Store) -> dict[str, Any]:
    trial, data = evaluator.spec, evaluator.data
    device = data.test_images.device
    labels = torch.from_numpy(run.labels(data.test_labels.cpu().numpy())).to(device)
    shape = (len(labels), *trial.dataset.image_shape)
    stored = store.read_corrupted(run.id, partial(check_images, shapes={SPLIT: shape}))[SPLIT]
    images = resize_to_model(tensor_view(stored), trial.model.channels, trial.model.min_size)
    outcomes = outcomes_of(evaluator.network.logits(images.to(device)), labels)
    name, severity = run.condition
    accuracy, loss = outcomes.accuracy, float(outcomes.losses.mean())
    return {"trial": trial.id, "type": name, "severity": severity, "accuracy": accuracy, "loss": loss, "images": run.id}


def mean_corruption_accuracy(rows: Sequence[dict[str, Any]]) -> float | None:
    """Return the mean accuracy over the types and severities of corruptions, or None without any."""
    accuracies = [row["accuracy"] for row in rows if row["severity"] > 0]
    return float(np.mean(accuracies)) if accuracies else None
