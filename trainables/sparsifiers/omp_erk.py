"""One-shot magnitude pruning with ERK layer densities (paper, section 4.1, Figure 8: "OMP_ERK").

As OMP, but each layer keeps its ERK share of weights, the largest of the layer. Departure from the authors' code,
towards the text: there the mask was random, and magnitudes played no part.
"""

from __future__ import annotations

from typing import Literal

from trainables.sparsifiers import distributions
from trainables.sparsifiers.base import Start, sparsifiers
from trainables.sparsifiers.masks import Masks, keep_largest_per_layer
from trainables.sparsifiers.omp import OMP
from trainables.sparsifiers.scores import magnitudes


@sparsifiers.register
class OMPERK(OMP):
    """One-shot magnitude pruning within layers of ERK density, then training again from the dense weights."""

    name: Literal["omp_erk"] = "omp_erk"  # type: ignore[assignment]

    def initialize(self, start: Start) -> Masks:
        return keep_largest_per_layer(magnitudes(start.weights), start.layer_counts(distributions.erk))
