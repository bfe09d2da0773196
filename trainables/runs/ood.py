"""Detection of out-of-distribution images by a trained network (table ``ood``)."""

from __future__ import annotations

from functools import partial
from typing import Any

from sparsweep.trainables.lazy import torch
from sparsweep.trainables.pipeline.device_data import resize_to_model, tensor_view
from sparsweep.trainables.runs.shifts import SPLIT
from sparsweep.trainables.runs.soundness import check_test_images
from sparsweep.trainables.specs.ood import OodImagesSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training.calibration import auroc
from sparsweep.trainables.training.evaluation import Evaluator
from sparsweep.trainables.training.outcomes import outcomes_of


def ood_path(trial: TrialSpec, run: OodImagesSpec, store: Store) -> str:
    """Return the path of the row of ``trial`` in ``ood``. The name has the id of the images."""
    return store.result_path("ood", f"{trial.id}-{run.id}")


def ood_row(evaluator: Evaluator, run: OodImagesSpec, store: Store) -> dict[str, Any]:
    """Return the row of the table ``ood``: how well scores separate clean test images from those of ``run``.

    Scores: the maximum softmax probability (Hendrycks & Gimpel, ICLR 2017), and the negative energy (Liu et al.,
    NeurIPS 2020).

    Args:
        evaluator: Evaluator of the trained network.
        run: Run that wrote the images.
        store: Storage with the images.
    """
    trial, device = evaluator.spec, evaluator.data.test_images.device
    shape = run.dataset.image_shape
    stored = store.read_corrupted(run.id, partial(check_test_images, split=SPLIT, shape=shape))[SPLIT]
    images = resize_to_model(tensor_view(stored), trial.model.channels, trial.model.min_size).to(device)
    inside = evaluator.measure("clean")
    outside = outcomes_of(evaluator.network.logits(images), torch.zeros(len(images), dtype=torch.int64, device=device))
    return {
        "trial": trial.id,
        "dataset": run.dataset.name,
        "auroc_confidence": auroc(inside.confidences, outside.confidences),
        "auroc_energy": auroc(-inside.energies, -outside.energies),
        "images": run.id,
    }
