"""One-shot magnitude pruning after training, then training again from the pruned weights.

Han et al., "Learning both Weights and Connections", NeurIPS 2015, in one shot and globally (paper, appendix A.1). The
dense network is trained fully on the same data, and its smallest weights are pruned. The pruned network is trained
again with the full schedule and a new optimizer. Batch-norm statistics are kept.
"""

from __future__ import annotations

from typing import Literal

from sparsweep.trainables.sparsifiers.base import InitContext, StateDict, dense_counterpart, sparsifiers
from sparsweep.trainables.sparsifiers.layer_budget import SaliencyPruning
from sparsweep.trainables.sparsifiers.masked_params import Tensors
from sparsweep.trainables.sparsifiers.saliency import magnitudes
from sparsweep.trainables.specs.trial import TrialSpec


@sparsifiers.register
class OMP(SaliencyPruning):
    """One-shot magnitude pruning of the trained dense network, then training again from its weights."""

    name: Literal["omp"] = "omp"

    def prerequisites(self, spec: TrialSpec) -> tuple[TrialSpec, ...]:
        return (dense_counterpart(spec),)

    def parent_state(self, start: InitContext) -> StateDict:
        return start.load_parent_state(dense_counterpart(start.spec))

    def scores(self, start: InitContext) -> Tensors:
        return magnitudes(start.weights)
