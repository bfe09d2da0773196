"""No difficulty: a uniformly random subset of the training data at the data ratio (paper, appendix A.3).

Departure from the authors' code: each seed has its own subset. The spread over seeds therefore includes the choice of
the data. The authors' code draws one subset for all seeds: ``subset_seed`` does the same (defect D19).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from sparsweep.trainables.difficulties.base import Difficulty, PrerequisiteOutputs, difficulties
from sparsweep.trainables.lazy import torch
from sparsweep.trainables.specs.trial import TrialSpec, subset_size


@difficulties.register
class NoDifficulty(Difficulty):
    """Random subset of the training data at the data ratio."""

    name: Literal["none"] = "none"
    subset_seed: int | None = Field(
        default=None, ge=0, lt=2**32, description="one subset for all trials, as in the authors' code (authors: 12345)"
    )

    def select(self, spec: TrialSpec, labels: torch.Tensor, sources: PrerequisiteOutputs) -> torch.Tensor:
        if self.subset_seed is None:
            return super().select(spec, labels, sources)
        # The authors use NumPy's legacy generator. Its stream never changes.
        size = subset_size(len(labels), spec.data_ratio)
        chosen = np.random.RandomState(self.subset_seed).choice(len(labels), size, replace=False)
        return torch.from_numpy(np.sort(chosen).astype(np.int64))
