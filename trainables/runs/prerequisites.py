"""Outputs of scoring and corruption runs that a trial reads, each checked against its data set."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pyarrow as pa

from sparsweep.trainables.difficulties import PrerequisiteOutputs, difficulties
from sparsweep.trainables.lazy import torch
from sparsweep.trainables.pipeline.device_data import DeviceData, tensor_view
from sparsweep.trainables.runs.soundness import check_images, check_scores
from sparsweep.trainables.specs.partial import ScoringSpec
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.provenance import Code, load_code
from sparsweep.trainables.storage.score_files import code_of_scores
from sparsweep.trainables.storage.store import Store


def training_data(trial: TrialSpec, original: DeviceData, store: Store) -> tuple[DeviceData, torch.Tensor, list[Code]]:
    """Return what a trial trains and is tested on.

    Args:
        trial: The trial.
        original: Its data set on the device of the run.
        store: Storage of the outputs of its prerequisites.

    Returns:
        Data set under the difficulty, ascending int64 indices of the training samples on the CPU, and the code of all
        scores that selected them.
    """
    codes: list[Code] = []
    outputs = read_outputs(store, original, codes.append)
    difficulty = difficulties.cast(trial.difficulty)
    indices = difficulty.select(trial, original.train_labels.cpu(), outputs)
    return difficulty.transform(trial, original, outputs), indices, codes


def read_outputs(store: Store, data: DeviceData, made_by: Callable[[Code], None]) -> PrerequisiteOutputs:
    """Return readers of the scores and corrupted images of a data set.

    The readers delete a damaged output and raise ArtifactLost. A resume then creates the output again.

    Args:
        store: Storage of the outputs.
        data: Data set on the device of the run.
        made_by: Called with the code of all scores that are read.
    """

    def scored(run: ScoringSpec, score: str) -> torch.Tensor:
        def check(table: pa.Table) -> None:
            check_scores(table, data.train_labels.cpu().numpy())
            made_by(load_code(code_of_scores(table)))

        return torch.from_numpy(store.read_scores(run.id, score, check).copy())

    def corrupted(run: RunSpec) -> dict[str, torch.Tensor]:
        check = partial(check_images, shapes=image_shapes(run, data))
        return {split: tensor_view(images) for split, images in store.read_corrupted(run.id, check).items()}

    return PrerequisiteOutputs(scored, corrupted)


def image_shapes(run: RunSpec, data: DeviceData) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the images that ``run`` writes, by split.

    Args:
        run: Corruption run.
        data: Data set on the device of the run.
    """
    labels = {"train": data.train_labels, "test": data.test_labels, "validation": data.validation_labels}
    shapes = {split: (len(part), *run.dataset_spec.image_shape) for split, part in labels.items()}
    return {split: shape for split, shape in shapes.items() if shape[0] or split != "validation"}
