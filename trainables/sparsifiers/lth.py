"""The lottery ticket: the mask of a trained dense network on the initial weights of that network.

Frankle & Carbin, "The Lottery Ticket Hypothesis", ICLR 2019. As the paper runs it (appendix A.1): one round, global
magnitudes of the dense network after full training on the same data, weights rewound to step 0, full training again.
(Section 3.1 of the paper says iterative; its code and appendix say one-shot.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from trainables.sparsifiers.base import Sparse, Start, dense_parent, sparsifiers
from trainables.sparsifiers.masks import Masks, keep_largest
from trainables.sparsifiers.scores import magnitudes

if TYPE_CHECKING:
    from trainables.spec import TrialSpec


@sparsifiers.register
class LTH(Sparse):
    """Lottery ticket, one-shot: mask of the trained dense network, its weights back at the start."""

    name: Literal["lth"] = "lth"

    def requirements(self, spec: TrialSpec) -> tuple[TrialSpec, ...]:
        return (dense_parent(spec),)

    def initialize(self, start: Start) -> Masks:
        trained = start.trained(dense_parent(start.spec))
        return keep_largest(magnitudes({name: trained[name] for name in start.weights}), start.kept)
