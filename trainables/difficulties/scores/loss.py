"""Hard samples by their loss: the simplest score, and the baseline of the others.

The score is -log p_y with p the softmax of a network and y the label, in nats, in evaluation mode and without
augmentation. It is the mean over networks. Online hard example mining ranks samples by loss too (Shrivastava et al.,
CVPR 2016; Loshchilov & Hutter, ICLR workshop 2016), but at every step instead of once early in training. Networks and
epochs are those of ``el2n``, hence the scores share their runs.
"""

from __future__ import annotations

from typing import Literal

from sparsweep.trainables.difficulties.base import difficulties
from sparsweep.trainables.difficulties.scores.base import register_final_score
from sparsweep.trainables.difficulties.selection import ScoreSelection
from sparsweep.trainables.lazy import functional, torch


def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of each sample in nats, float64 ``(N,)``, at least 0.

    Args:
        logits: ``(N, classes)``.
        labels: int64 ``(N,)``.
    """
    return functional.cross_entropy(logits.double(), labels, reduction="none")


register_final_score("loss", lambda context: loss(context.logits, context.labels))


@difficulties.register
class Loss(ScoreSelection):
    """Samples with the highest cross-entropy, early in training."""

    name: Literal["loss"] = "loss"
