"""Hard samples by EL2N: the samples that networks early in training get most wrong.

Paul et al., "Deep Learning on a Data Diet", NeurIPS 2021; paper, section 3.2.1. A few dense networks are trained on
the whole training set for the first ``epoch`` epochs of the normal schedule; a sample's score is its mean EL2N over
them, in evaluation mode and without augmentation. The paper does not say how many networks nor how many epochs;
the defaults are those that Data Diet recommends (10 networks, epoch 20 of 200).

Departure from the authors' code, towards the text: the norm is not squared (this matters once networks are averaged).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field

from trainables.difficulty.base import Difficulty, Scores, difficulties, random_subset, subset_size

if TYPE_CHECKING:
    from trainables.spec import ScoringSpec, TrialSpec

MAX_SEED = 2**31


@difficulties.register
class EL2N(Difficulty):
    """The samples with the highest (or lowest) EL2N score, at the data ratio."""

    name: Literal["el2n"] = "el2n"
    keep: Literal["hardest", "easiest", "random"] = "hardest"
    runs: int = Field(default=10, ge=1, description="networks whose scores are averaged")
    epoch: int = Field(default=20, ge=1, description="epochs that each of them is trained")
    first_seed: int = Field(default=1000, ge=0, description="seed of the first of them, apart from the trials' seeds")

    def check(self, spec: TrialSpec) -> None:
        if self._ranks(spec) and self.epoch > spec.recipe.epochs:
            raise ValueError(f"difficulty.epoch: {self.epoch} is beyond recipe.epochs, {spec.recipe.epochs}")
        if self.first_seed + self.runs > MAX_SEED:
            raise ValueError(
                f"difficulty.first_seed: {self.first_seed} leaves no room for {self.runs} seeds below 2^31"
            )

    def _ranks(self, spec: TrialSpec) -> bool:
        """Whether scores decide anything: not if all samples are kept, nor if chance chooses."""
        return spec.data_ratio < 1 and self.keep != "random"

    def requirements(self, spec: TrialSpec) -> tuple[ScoringSpec, ...]:
        if not self._ranks(spec):
            return ()
        return tuple(spec.scoring(self.first_seed + run, self.epoch) for run in range(self.runs))

    def select(self, spec: TrialSpec, labels: torch.Tensor, scores: Scores) -> torch.Tensor:
        size = subset_size(len(labels), spec.data_ratio)
        if not self._ranks(spec):
            return random_subset(len(labels), size, spec.seed)
        mean = torch.stack([scores(run) for run in self.requirements(spec)]).mean(0)
        order = mean.argsort(descending=self.keep == "hardest", stable=True)
        return order[:size].sort().values
