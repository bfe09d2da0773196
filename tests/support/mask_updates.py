"""Mask updates on tiny layers with given gradients and momenta, and mask updates during a training."""

from __future__ import annotations

from typing import Any

import torch

from sparsweep.trainables.pipeline.rng import derive
from sparsweep.trainables.sparsifiers import Masks, UpdateContext
from sparsweep.trainables.sparsifiers.drop_grow import DropAndGrow
from sparsweep.trainables.sparsifiers.masked_params import Tensors
from sparsweep.trainables.specs.timeline import TrainingSteps
from sparsweep.trainables.training.trainer import Trainer
from support.tiny_trials import trial


def mask(*bits: int) -> torch.Tensor:
    return torch.tensor(bits).bool()


def bits(masks: Masks) -> dict[str, list[int]]:
    return {name: mask.int().tolist() for name, mask in masks.items()}


def update_context(
    weights: Tensors, step: int = 0, gradients: Tensors | None = None, momenta: Tensors | None = None, **fields: Any
) -> UpdateContext:
    """Return the context of an update before ``step`` of 100, with the given weights, gradients and momenta."""
    inputs: dict[str, Any] = {"generator": torch.Generator().manual_seed(step), **fields}
    if gradients is not None:
        inputs["dense_gradients"] = lambda: gradients
    if momenta is not None:
        inputs["momenta"] = lambda: momenta
    return UpdateContext(trial(sparsifier="set", sparsity=0.5), step, TrainingSteps(10, 10), weights, **inputs)


def with_growth_scores(method: DropAndGrow, preference: Tensors) -> DropAndGrow:
    """Return a copy of ``method`` with ``preference`` as its growth scores."""

    class WithGrowthScores(type(method)):  # type: ignore[misc]
        def grow_scores(self, context: UpdateContext) -> Tensors:
            return preference

    return WithGrowthScores(**method.model_dump())


def update_now(run: Trainer, step: int) -> UpdateContext:
    """Update the masks of a training as before ``step``. Return the context that the method received."""
    batch = next(run.batches.iter_epoch(derive(run.spec.seed, "batches", run.epoch)))
    seen = run._update_context(
        step, batch, run.loss_fn.draw_noise(batch[0], derive(run.spec.seed, "attack", run.epoch))
    )
    kept = {name: value.clone() for name, value in seen.weights.items()}
    run._update_masks(seen)
    return UpdateContext(seen.spec, step, seen.timeline, kept, derive(run.spec.seed, "masks", step))
