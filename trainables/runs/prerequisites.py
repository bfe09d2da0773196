"""What a trial finds of scoring runs and corruptions in a storage, each checked against the data set it was made of."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pyarrow as pa

from sparsweep.trainables.difficulties import PrerequisiteOutputs
from sparsweep.trainables.lazy import torch
from sparsweep.trainables.pipeline.device_data import DeviceData, tensor_view
from sparsweep.trainables.runs.soundness import check_images, check_scores
from sparsweep.trainables.specs.partial import ScoringSpec
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.storage.provenance import Code, load_code
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.storage.tables import code_of_scores


def read_outputs(store: Store, data: DeviceData, made_by: Callable[[Code], None]) -> PrerequisiteOutputs:
    """Scores and corrupted images of the data set that is placed as ``data``.

    What is not as its run would have left it is removed, and ArtifactLost raised: a resume makes it again. Of scores
    that are used ``made_by`` is told the code.
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
    """Shapes of the images that ``run`` leaves, by split, of a data set that is placed as ``data``."""
    labels = {"train": data.train_labels, "test": data.test_labels, "validation": data.validation_labels}
    shapes = {split: (len(part), *run.dataset_spec.image_shape) for split, part in labels.items()}
    return {split: shape for split, shape in shapes.items() if shape[0] or split != "validation"}
