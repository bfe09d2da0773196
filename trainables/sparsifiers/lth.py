"""The lottery ticket: the mask of a trained network on earlier weights of that network.

Frankle & Carbin, "The Lottery Ticket Hypothesis", ICLR 2019. As the paper runs it (appendix A.1): one round, global
magnitudes of the dense network after full training on the same data, weights rewound to step 0, full training again.
(Section 3.1 of the paper says iterative; its code and appendix say one-shot: D5.)

With several ``rounds`` (iterative magnitude pruning) each prunes what the round before trained, and each is a trial of
its own: round r of R reaches sparsity 1 - (1 - s)^(r / R), or the r-th sparsity of ``through``, so that a chain through
the sparsities of a grid is made of that grid's own points. ``rewind_to`` k epochs: every round starts from the weights
and batch-norm statistics that the dense network had after k epochs, and goes on from there with a new optimiser
(Frankle et al., "Linear Mode Connectivity and the Lottery Ticket Hypothesis", ICML 2020).
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
"""Each a training in full: at the usual fifth a round, as many leave two weights of ten billion."""
DIGITS = 6
"""Of the sparsities between rounds: they are in the ids of trials, and no two machines may differ in the last bit."""


@sparsifiers.register
class LTH(SaliencyPruning):
    """Lottery ticket: mask of the trained network, its weights back at the start; one-shot, or in several rounds."""

    name: Literal["lth"] = "lth"
    rounds: int = Field(
        default=1, ge=1, le=MOST_ROUNDS, description="prunings, each of a network trained in full (paper: 1)"
    )
    through: tuple[float, ...] = Field(
        default=(),
        max_length=MOST_ROUNDS - 1,
        description="ascending sparsities of the rounds before the last; those that are too high are left out",
    )
    rewind_to: int = Field(default=0, ge=0, description="epochs of dense training that the weights are taken back to")

    def canonical(self, sparsity: float) -> Self:
        """With the sparsities of exactly the rounds that this trial needs."""
        below = tuple(step for step in self.through if step < sparsity)
        if not self.through:
            steps = [geometric(number / self.rounds, sparsity) for number in range(1, self.rounds)]
            below = tuple(round(step, DIGITS) for step in steps)
        if self.through and self.rounds not in (1, len(below) + 1):
            return self  # check() says why not
        return self.model_copy(update={"through": below, "rounds": len(below) + 1})

    def check(self, spec: TrialSpec) -> None:
        super().check(spec)
        below = [step for step in self.through if step < spec.sparsity]
        if self.rounds != len(below) + 1:
            why = f"{self.rounds}, but through names {len(below)} sparsities below {spec.sparsity}"
            raise SpecError("sparsifier.rounds", f"{why}: leave one of the two out")
        if any(step >= following for step, following in pairwise((0.0, *self.through))):
            raise SpecError("sparsifier.through", f"must be ascending sparsities above 0, got {list(self.through)}")
        if self.rewind_to >= spec.recipe.epochs:
            why = f"must be less than recipe.epochs, {spec.recipe.epochs}, got {self.rewind_to}"
            raise SpecError("sparsifier.rewind_to", f"{why}")

    def prerequisites(self, spec: TrialSpec) -> tuple[RunSpec, ...]:
        return (self.parent(spec), *([self.snapshot(spec)] if self.rewind_to else []))

    def parent(self, spec: TrialSpec) -> TrialSpec:
        """The trial whose trained weights choose the mask: that of the round before, or the dense one."""
        if not self.through:
            return dense_counterpart(spec)
        before = self.model_copy(update={"through": self.through[:-1], "rounds": self.rounds - 1})
        return spec.replace(sparsifier=before, sparsity=self.through[-1])

    def snapshot(self, spec: TrialSpec) -> SnapshotSpec:
        """The weights to go back to."""
        return SnapshotSpec(trial=dense_counterpart(spec), epochs=self.rewind_to)

    def start_epoch(self, spec: TrialSpec) -> int:
        return self.rewind_to

    def parent_state(self, start: InitContext) -> StateDict | None:
        return start.load_parent_state(self.snapshot(start.spec)) if self.rewind_to else None

    def scores(self, start: InitContext) -> Tensors:
        """Magnitudes at the end of the round before. What it had pruned is exactly zero there, and ranks last."""
        trained = start.load_parent_state(self.parent(start.spec))
        return magnitudes({name: trained[name] for name in start.weights})
