"""Sparsifiers. One method is one file with one class that registers itself."""

import sys

from sparsweep.trainables.sparsifiers.base import InitContext, Sparsifier, UpdateContext, dense_counterpart, sparsifiers
from sparsweep.trainables.sparsifiers.masks import Masks
from sparsweep.trainables.specs.timeline import TrainingSteps

sparsifiers.load_all(sys.modules[__name__])

__all__ = ["InitContext", "Masks", "Sparsifier", "TrainingSteps", "UpdateContext", "dense_counterpart", "sparsifiers"]
