"""Hard samples by entropy: those that networks are least sure about, whatever the label.

H(p) = -sum over k of p_k log p_k in nats, in [0, log classes], with p the softmax of a network (uncertainty sampling:
Lewis & Gale, SIGIR 1994; as a selection of training data Coleman et al., "Selection via Proxy", ICLR 2020). It does
not look at the label: a sample that is confidently wrong is easy here and hard by every other score. Mean over
networks, in evaluation mode and without augmentation. Networks and epochs are those of ``el2n``, so that the scores
share their runs.
"""

from __future__ import annotations

from typing import Literal

from sparsweep.trainables.difficulties.base import difficulties
from sparsweep.trainables.difficulties.scores.base import register_final_score
from sparsweep.trainables.difficulties.selection import ScoreSelection
from sparsweep.trainables.lazy import torch


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """The entropy of the softmax in nats: float64 [N] in [0, log classes]. ``logits``: [N, classes]."""
    return torch.special.entr(logits.double().softmax(1)).sum(1)


register_final_score("entropy", lambda view: entropy(view.logits))


@difficulties.register
class Entropy(ScoreSelection):
    """The samples with the highest entropy of the softmax, early in training; blind to the label."""

    name: Literal["entropy"] = "entropy"
