"""Hard samples by entropy: the samples with the least certain predictions, independent of the label.

H(p) = -sum over k of p_k log p_k in nats, in [0, log classes], with p the softmax of a network (uncertainty sampling:
Lewis & Gale, SIGIR 1994; as a selection of training data: Coleman et al., "Selection via Proxy", ICLR 2020). The score
does not use the label: a confident wrong prediction is easy here and hard by every other score. The score is the mean
over networks, in evaluation mode and without augmentation. Networks and epochs are those of ``el2n``, hence the scores
share their runs.
"""

from __future__ import annotations

from typing import Literal

from sparsweep.trainables.difficulties.base import difficulties
from sparsweep.trainables.difficulties.scores.base import register_final_score
from sparsweep.trainables.difficulties.selection import ScoreSelection
from sparsweep.trainables.lazy import torch


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """Return the entropy of the softmax of logits ``(N, classes)`` in nats, float64 ``(N,)`` in [0, log classes]."""
    return torch.special.entr(logits.double().softmax(1)).sum(1)


register_final_score("entropy", lambda context: entropy(context.logits))


@difficulties.register
class Entropy(ScoreSelection):
    """Samples with the highest entropy of the softmax, early in training, independent of the label."""

    name: Literal["entropy"] = "entropy"
