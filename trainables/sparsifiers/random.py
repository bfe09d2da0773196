"""Random pruning before training, with ERK layer densities (paper, section 4.1: "Random pruning").

Liu et al., "The Unreasonable Effectiveness of Random Pruning", ICLR 2022. The mask is drawn once and stays. Departure
from the authors' code: exact counts a layer, where it draws each weight by itself.
"""

from __future__ import annotations

from typing import Literal

from trainables.sparsifiers import distributions
from trainables.sparsifiers.base import Sparse, Start, sparsifiers
from trainables.sparsifiers.masks import Masks, keep_random


@sparsifiers.register
class Random(Sparse):
    """A random mask with ERK layer densities, fixed from the start."""

    name: Literal["random"] = "random"

    def initialize(self, start: Start) -> Masks:
        return keep_random(start.weights, start.layer_counts(distributions.erk), start.generator)
