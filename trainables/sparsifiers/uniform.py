"""Random pruning before training, with the same density in every layer (paper, section 4.1: "Uniform pruning").

As in the authors' code the first convolution and the classifier are pruned like all others; unlike there, the number
of weights of each layer is exact.
"""

from __future__ import annotations

from typing import Literal

from trainables.sparsifiers import distributions
from trainables.sparsifiers.base import Sparse, Start, sparsifiers
from trainables.sparsifiers.masks import Masks, keep_random


@sparsifiers.register
class Uniform(Sparse):
    """A random mask with the same density in every layer, fixed from the start."""

    name: Literal["uniform"] = "uniform"

    def initialize(self, start: Start) -> Masks:
        return keep_random(start.weights, start.layer_counts(distributions.uniform), start.generator)
