"""No difficulty: a uniformly random subset of the training data at the data ratio (paper, appendix A.3).

Departure from the authors' code, which draws one subset for all seeds: here each seed has its own, so that the spread
over seeds includes the choice of the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from trainables.difficulty.base import Difficulty, Scores, difficulties, random_subset, subset_size

if TYPE_CHECKING:
    from trainables.spec import TrialSpec


@difficulties.register
class NoDifficulty(Difficulty):
    """A random subset of the training data at the data ratio."""

    name: Literal["none"] = "none"

    def select(self, spec: TrialSpec, labels: torch.Tensor, scores: Scores) -> torch.Tensor:
        return random_subset(len(labels), subset_size(len(labels), spec.data_ratio), spec.seed)
