"""No difficulty: a uniformly random subset of the training data at the data ratio (paper, appendix A.3).

Departure from the authors' code, which draws one subset for all seeds: here each seed has its own, so that the spread
over seeds includes the choice of the data. ``subset_seed`` draws theirs (defect D19).
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
    """A random subset of the training data at the data ratio."""

    name: Literal["none"] = "none"
    subset_seed: int | None = Field(
        default=None, ge=0, lt=2**32, description="one subset for all trials, drawn as the authors do (they: 12345)"
    )

    def select(self, spec: TrialSpec, labels: torch.Tensor, sources: PrerequisiteOutputs) -> torch.Tensor:
        if self.subset_seed is None:
            return super().select(spec, labels, sources)
        # NumPy's legacy generator, which is theirs: its stream is frozen for ever.
        size = subset_size(len(labels), spec.data_ratio)
        chosen = np.random.RandomState(self.subset_seed).choice(len(labels), size, replace=False)
        return torch.from_numpy(np.sort(chosen).astype(np.int64))
