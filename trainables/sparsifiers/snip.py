"""SNIP: prune once before training, by the effect of each connection on the loss.

Lee et al., "SNIP: Single-shot Network Pruning based on Connection Sensitivity", ICLR 2019. One mini-batch of the
trial's own training set, global ranking, fixed mask (paper, appendix A.1).

Departures from the authors' code, all towards the text: cross-entropy on logits (there: the negative log-likelihood of
raw logits), scores of the very weights that are then trained (there: of freshly drawn ones), and the mask itself is
used (there: only its layer densities, with positions drawn again).
"""

from __future__ import annotations

from typing import Literal

from trainables.sparsifiers.base import Sparse, Start, sparsifiers
from trainables.sparsifiers.masks import Masks, keep_largest
from trainables.sparsifiers.scores import connection_sensitivity


@sparsifiers.register
class SNIP(Sparse):
    """Connection sensitivity on one batch before training; global, fixed mask."""

    name: Literal["snip"] = "snip"

    def initialize(self, start: Start) -> Masks:
        return keep_largest(connection_sensitivity(start.model, *start.batch()), start.kept)
