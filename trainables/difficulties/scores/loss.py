"""Hard samples by their loss: the simplest score, and the baseline of the others.

-log p_y with p the softmax of a network and y the label, in nats, in evaluation mode and without augmentation; mean
over networks. Ranking by loss is that of online hard example mining (Shrivastava et al., CVPR 2016; Loshchilov &
Hutter, ICLR workshop 2016), here once and early in training instead of at every step. Networks and epochs are those
of ``el2n``, so that the scores share their runs.
"""

from __future__ import annotations

from typing import Literal

from sparsweep.trainables.difficulties.base import difficulties
from sparsweep.trainables.difficulties.scores.base import register_final_score
from sparsweep.trainables.difficulties.selection import ScoreSelection
from sparsweep.trainables.lazy import functional, torch


def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The cross-entropy of each sample in nats: float64 [N], 0 or more. ``logits``: [N, classes]; ``labels``: [N]."""
    return functional.cross_entropy(logits.double(), labels, reduction="none")


register_final_score("loss", lambda view: loss(view.logits, view.labels))


@difficulties.register
class Loss(ScoreSelection):
    """The samples with the highest cross-entropy, early in training."""

    name: Literal["loss"] = "loss"
