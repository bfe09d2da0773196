"""Rows of the result tables that a finished trial writes (see ``storage.schemas``)."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sparsweep.trainables.lazy import torch
from sparsweep.trainables.runs.spec_columns import spec_columns
from sparsweep.trainables.specs.partial import ScoringSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.provenance import Code, commit, dump_code, versions
from sparsweep.trainables.training.convergence import epochs_to_fit, is_undertrained, late_trend
from sparsweep.trainables.training.flops import PASSES, dense_flops, forward_flops
from sparsweep.trainables.training.trainer import Trainer

EPOCH_COLUMNS = (
    "epoch",
    "lr",
    "train_loss",
    "train_accuracy",
    "test_accuracy",
    "validation_accuracy",
    "robust_accuracy",
    "density",
    "seconds",
)
METRIC_COLUMNS = (
    "test_accuracy",
    "clean_accuracy",
    "corrupted_accuracy",
    "robust_accuracy",
    "autoattack_accuracy",
    "validation_accuracy",
    "train_accuracy",
    "train_loss",
)


def epoch_rows(spec: TrialSpec, training: Trainer) -> list[dict[str, Any]]:
    """Return the rows of the table ``epochs``.

    Args:
        spec: Finished trial.
        training: Its training.
    """
    return [{"trial": spec.id, **{name: getattr(epoch, name) for name in EPOCH_COLUMNS}} for epoch in training.history]


def layer_rows(spec: TrialSpec, training: Trainer) -> list[dict[str, Any]]:
    """Return the rows of the table ``layers``.

    Args:
        spec: Finished trial.
        training: Its training.
    """
    topology, rows = training.masked_params, []
    explored = topology.ever_active.counts()
    still_active = {name: int((mask & topology.initial[name]).sum()) for name, mask in topology.masks.items()}
    for position, (name, mask) in enumerate(topology.masks.items()):
        density, nonzero = topology.densities[name], topology.counts[name]
        rows.append(
            {
                "trial": spec.id,
                "layer": name,
                "position": position,
                "kind": "conv" if mask.ndim == 4 else "linear",
                "weights": mask.numel(),
                "nonzero": nonzero,
                "density": density,
                "flops": forward_flops({name: training.layer_flops[name]}, {name: density}),
                "explored": explored[name] / mask.numel(),
                "initial_overlap": still_active[name] / nonzero if nonzero else None,
            }
        )
    return rows


def trial_row(
    spec: TrialSpec,
    training: Trainer,
    layers: list[dict[str, Any]],
    lineage: Mapping[str, float],
    run_metadata: Mapping[str, Any],
    code: Code,
) -> dict[str, Any]:
    """Return the row of the table ``trials``.

    Args:
        spec: Finished trial.
        training: Its training.
        layers: Rows of :func:`layer_rows`.
        lineage: FLOPs of every prerequisite by id.
        run_metadata: The columns ``sweep``, ``seconds``, ``started_at``, and those of ``runs.measurements``.
        code: Code of the run and of its inputs.
    """
    parameters = sum(map(torch.Tensor.numel, training.model.parameters()))
    weights, kept = training.masks.size, sum(training.masked_params.counts.values())
    return {
        **spec_columns(spec),
        **run_metadata,
        "density": training.density,
        "mask_updates": training.mask_updates,
        **{name: getattr(training.history[-1], name) for name in METRIC_COLUMNS},
        **training.evaluator.measure("test").metrics(),
        **convergence_columns(spec, training),
        "parameters": parameters,
        "nonzero_parameters": parameters - weights + kept,
        "train_flops": training.train_flops,
        "inference_flops": training.forward_flops,
        "prerequisite_flops": float(sum(lineage.values())),
        "scoring_flops": scoring_flops(spec),
        "exploration_rate": sum(row["explored"] * row["weights"] for row in layers) / weights,
        "mask_overlap": sum((row["initial_overlap"] or 0) * row["nonzero"] for row in layers) / kept,
        "images_per_second": training.num_images / training.train_seconds,
        **environment_columns(training.device),
        "code": dump_code(code),
    }


def environment_columns(device: torch.device) -> dict[str, Any]:
    """Return the columns about hardware, software and time of this process."""
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "finished_at": datetime.now(UTC),
        "commit": commit(),
        "versions": versions(),
    }


def convergence_columns(spec: TrialSpec, training: Trainer) -> dict[str, Any]:
    """Return the columns about the convergence of the training (see ``training.convergence``).

    Args:
        spec: Finished trial.
        training: Its training.
    """
    history, learnable, fit = training.history, spec.difficulty.learnable, training.evaluator.measure("train").accuracy
    epochs = [epoch.epoch for epoch in history]
    trend = late_trend(epochs, [epoch.test_accuracy for epoch in history], spec.recipe.epochs)
    accuracies, rates = [epoch.train_accuracy for epoch in history], [epoch.lr for epoch in history]
    return {
        "fit_accuracy": fit,
        "late_gain": None if trend is None else trend.gain,
        "undertrained": is_undertrained(fit, learnable, trend),
        "epochs_to_fit": epochs_to_fit(accuracies, rates, fit, learnable, spec.recipe.epochs),
    }


def scoring_flops(spec: TrialSpec) -> float:
    """Return the training operations of the scoring runs of ``spec``, without those of the scores."""
    runs = [run for run in spec.difficulty.prerequisites(spec) if isinstance(run, ScoringSpec)]
    dense = dense_flops(spec.model, spec.dataset)
    return float(sum(PASSES * dense * run.trial.num_samples * run.epochs for run in runs))


def device_name(device: torch.device) -> str:
    """Return the name of the GPU model or of the CPU architecture."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"
