"""A network at its initial weights."""

from __future__ import annotations

from sparsweep.trainables.lazy import nn, torch
from sparsweep.trainables.models.base import models
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.pipeline.rng import derive
from sparsweep.trainables.specs.trial import TrialSpec


def build_model(spec: TrialSpec, data: DeviceData) -> nn.Module:
    """The network of ``spec`` on the CPU at its initial weights, which depend on the seed and nothing else."""
    model, generator = models.cast(spec.model), derive(spec.seed, "weights")
    with torch.random.fork_rng(devices=[]):
        # Parameters that `initialise` does not know of, such as embeddings, keep what PyTorch draws here.
        torch.manual_seed(generator.initial_seed())
        module = model.build(data.classes, (data.mean, data.std))
    model.initialise(module, generator)
    return module
