"""Dense network: the reference of every comparison and the parent of pruning after training."""

from __future__ import annotations

from typing import Literal

from sparsweep.trainables.sparsifiers.base import InitContext, Sparsifier, sparsifiers
from sparsweep.trainables.sparsifiers.masks import Masks
from sparsweep.trainables.specs.base import SpecError
from sparsweep.trainables.specs.trial import TrialSpec


@sparsifiers.register
class Dense(Sparsifier):
    """Dense network: all weights are trained."""

    name: Literal["dense"] = "dense"

    def check(self, spec: TrialSpec) -> None:
        if spec.sparsity != 0:
            raise SpecError("sparsity", f"must be 0 for 'dense' (got {spec.sparsity}).")

    def initialize(self, start: InitContext) -> Masks:
        return Masks.full(start.weights)
