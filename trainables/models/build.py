"""Builder of a network with its initial weights."""

from __future__ import annotations

from sparsweep.trainables.lazy import nn, torch
from sparsweep.trainables.models.base import models
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.pipeline.rng import derive
from sparsweep.trainables.specs.trial import TrialSpec


def build_model(spec: TrialSpec, data: DeviceData) -> nn.Module:
    """Return the network of a trial on the CPU, with initial weights that depend only on the seed.

    Args:
        spec: The trial.
        data: Its data set, with the number of classes and the channel statistics.
    """
    model, generator = models.cast(spec.model), derive(spec.seed, "weights")
    with torch.random.fork_rng(devices=[]):
        # Parameters that `initialise` does not set, such as embeddings, keep the values that PyTorch draws here.
        torch.manual_seed(generator.initial_seed())
        module = model.build(data.classes, (data.mean, data.std))
    model.initialise(module, generator)
    return module
