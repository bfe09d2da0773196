"""Hard samples by their margin: how far the label's probability lies above (or below) that of the best other class.

m = p_y - max over k != y of p_k, in [-1, 1], with p the softmax of a network: negative if it is wrong. The score is
-m, so that larger is harder (the "max margin" error of the released code of Paul et al., "Deep Learning on a Data
Diet", NeurIPS 2021); mean over networks, in evaluation mode and without augmentation. Networks and epochs are those of
``el2n``, so that the scores share their runs.
"""

from __future__ import annotations

from typing import Literal

from sparsweep.trainables.difficulties.base import difficulties
from sparsweep.trainables.difficulties.scores.base import register_final_score
from sparsweep.trainables.difficulties.selection import ScoreSelection
from sparsweep.trainables.lazy import functional, torch


def margin(values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """What the label has more than the best other class: [N].

    ``values``: probabilities or logits [N, classes], two classes or more; ``labels``: int64 [N].
    """
    own = functional.one_hot(labels, values.shape[1]).bool()
    return values[own] - values.masked_fill(own, -torch.inf).amax(1)


register_final_score("margin", lambda view: -margin(view.logits.double().softmax(1), view.labels))


@difficulties.register
class Margin(ScoreSelection):
    """The samples whose label has the smallest margin in probability over the other classes, early in training."""

    name: Literal["margin"] = "margin"
