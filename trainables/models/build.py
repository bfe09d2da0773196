"""A network at its initial weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsweep.trainables.lazy import nn, torch
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.pipeline.rng import derive

if TYPE_CHECKING:
    from sparsweep.trainables.specs.trial import TrialSpec


def build_model(spec: TrialSpec, data: DeviceData) -> nn.Module:
    """The network of ``spec`` on the CPU at its initial weights, which depend on the seed and nothing else."""
    generator = derive(spec.seed, "weights")
    with torch.random.fork_rng(devices=[]):
        # Parameters that `initialise` does not know of, such as embeddings, keep what PyTorch draws here.
        torch.manual_seed(generator.initial_seed())
        model = spec.model.build(data.classes, (data.mean, data.std))
    spec.model.initialise(model, generator)
    return model
