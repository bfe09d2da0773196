"""Lottery ticket: the mask of a trained network, applied to earlier weights of the same network.

Frankle & Carbin, "The Lottery Ticket Hypothesis", ICLR 2019. As the paper runs the method (appendix A.1): one round,
global magnitudes of the dense network after full training on the same data, weights rewound to step 0, full training
again. (Section 3.1 of the paper says iterative, its code and appendix one-shot: D5.)

With several ``rounds`` (iterative magnitude pruning) each round prunes the network that the previous round trained.
Each round is a separate trial. Round r of R reaches sparsity 1 - (1 - s)^(r / R), or the r-th sparsity of ``through``.
A chain through the sparsities of a grid therefore reuses the trials of that grid.

``rewind_to`` k epochs: every round starts from the weights and batch-norm statistics of the dense network after k
epochs. Training continues from epoch k with a new optimizer (Frankle et al., "Linear Mode Connectivity and the Lottery
Ticket Hypothesis", ICML 2020).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, Self

from pydantic import Field

from sparsweep.trainables.sparsifiers.base import InitContext, StateDict, dense_counterpart, sparsifiers
from sparsweep.trainables.sparsifiers.layer_budget import SaliencyPruning
from sparsweep.trainables.sparsifiers.masked_params import Tensors
from sparsweep.trainables.sparsifiers.saliency import magnitudes
from sparsweep.trainables.specs.base import SpecError
from sparsweep.trainables.specs.partial import SnapshotSpec
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.timeline import geometric
from sparsweep.trainables.specs.trial import TrialSpec

MOST_ROUNDS = 100
"""Maximum number of rounds. At the usual fifth per round, 100 rounds keep two of 10^10 weights."""
DIGITS = 6
"""Decimal digits of the sparsities between rounds: ids contain them, and nodes may differ in the last bit."""


@sparsifiers.register
class LTH(SaliencyPruning):
    """Lottery ticket: mask of the trained network on its earlier weights, in one round or several."""

    name: Literal["lth"] = "lth"
    rounds: int = Field(default=1, ge=1, le=MOST_ROUNDS, description="rounds of full training and pruning (paper: 1)")
    through: tuple[float, ...] = Field(
        default=(),
        max_length=MOST_ROUNDS - 1,
        description="ascending sparsities of the rounds before the last; those above the trial's sparsity are ignored",
    )
    rewind_to: int = Field(default=0, ge=0, description="epoch of dense training that the weights are rewound to")

    def canonical(self, sparsity: float) -> Self:
        """Return a copy with the sparsities of exactly the rounds that this trial needs."""
        below = tuple(step for step in self.through if step < sparsity)
        if not self.through:
            steps = [geometric(number / self.rounds, sparsity) for number in range(1, self.rounds)]
            below = tuple(round(step, DIGITS) for step in steps)
        if self.through and self.rounds not in (1, len(below) + 1):
            return self  # check() raises the error
        return self.model_copy(update={"through": below, "rounds": len(below) + 1})

    def check(self, spec: TrialSpec) -> None:
        super().check(spec)
        below = [step for step in self.through if step < spec.sparsity]
        if self.rounds != len(below) + 1:
            problem = f"through lists {len(below)} sparsities below {spec.sparsity} (got {self.rounds} rounds)"
            raise SpecError("sparsifier.rounds", f"{problem}. Leave out rounds or through.")
        if any(step >= following for step, following in pairwise((0.0, *self.through))):
            raise SpecError("sparsifier.through", f"must be ascending sparsities above 0 (got {list(self.through)}).")
        if self.rewind_to >= spec.recipe.epochs:
            problem = f"must be less than recipe.epochs {spec.recipe.epochs} (got {self.rewind_to})."
            raise SpecError("sparsifier.rewind_to", problem)

    def prerequisites(self, spec: TrialSpec) -> tuple[RunSpec, ...]:
        return (self.parent(spec), *([self.snapshot(spec)] if self.rewind_to else []))

    def parent(self, spec: TrialSpec) -> TrialSpec:
        """Return the trial whose trained weights select the mask: the previous round, or the dense network."""
        if not self.through:
            return dense_counterpart(spec)
        previous = self.model_copy(update={"through": self.through[:-1], "rounds": self.rounds - 1})
        return spec.replace(sparsifier=previous, sparsity=self.through[-1])

    def snapshot(self, spec: TrialSpec) -> SnapshotSpec:
        """Return the spec of the weights that the rounds rewind to."""
        return SnapshotSpec(trial=dense_counterpart(spec), epochs=self.rewind_to)

    def start_epoch(self, spec: TrialSpec) -> int:
        return self.rewind_to

    def parent_state(self, start: InitContext) -> StateDict | None:
        return start.load_parent_state(self.snapshot(start.spec)) if self.rewind_to else None

    def scores(self, start: InitContext) -> Tensors:
        """Return the magnitudes after the previous round. Weights pruned there are exactly zero and rank last."""
        trained = start.load_parent_state(self.parent(start.spec))
        return magnitudes({name: trained[name] for name in start.weights})
