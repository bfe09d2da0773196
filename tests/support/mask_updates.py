"""Updates of masks by hand: tiny layers, told gradients and momenta, and updates in the midst of a training."""

from __future__ import annotations

from typing import Any

import torch

from sparsweep.trainables.pipeline.rng import derive
from sparsweep.trainables.sparsifiers import Masks, Moment
from sparsweep.trainables.sparsifiers.drop_grow import Rewiring
from sparsweep.trainables.sparsifiers.masked_params import Tensors
from sparsweep.trainables.specs.timeline import Timeline
from sparsweep.trainables.training.trainer import Training
from support.tiny_trials import trial


def mask(*bits: int) -> torch.Tensor:
    return torch.tensor(bits).bool()


def bits(masks: Masks) -> dict[str, list[int]]:
    return {name: mask.int().tolist() for name, mask in masks.items()}


def moment(
    weights: Tensors, step: int = 0, gradients: Tensors | None = None, momenta: Tensors | None = None, **fields: Any
) -> Moment:
    """A moment before ``step`` of 100, of a trial that matters little, with these gradients and momenta at hand."""
    told: dict[str, Any] = {"generator": torch.Generator().manual_seed(step), **fields}
    if gradients is not None:
        told["gradients"] = lambda: gradients
    if momenta is not None:
        told["momenta"] = lambda: momenta
    return Moment(trial(sparsifier="set", sparsity=0.5), step, Timeline(10, 10), weights, **told)


def placed(method: Rewiring, preference: Tensors) -> Rewiring:
    """``method`` as it is, but growing where it is told instead of where chance has it."""

    class Told(type(method)):  # type: ignore[misc]
        def preference(self, moment: Moment) -> Tensors:
            return preference

    return Told(**method.model_dump())


def update_now(run: Training, step: int) -> Moment:
    """Update the masks of a training as it does just before ``step``; the moment that the method saw."""
    batch = next(run.batches.epoch(derive(run.spec.seed, "batches", run.epoch)))
    seen = run._moment(step, batch, run.objective.noise(batch[0], derive(run.spec.seed, "attack", run.epoch)))
    kept = {name: value.clone() for name, value in seen.weights.items()}
    run._update_masks(seen)
    return Moment(seen.spec, step, seen.timeline, kept, derive(run.spec.seed, "masks", step))
