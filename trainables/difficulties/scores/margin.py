"""Hard samples by their margin: the label's probability minus that of the most likely other class.

m = p_y - max over k != y of p_k, in [-1, 1], with p the softmax of a network. The margin is negative for wrong
predictions. The score is -m, hence larger is harder. It is the "max margin" error in the code of Paul et al., "Deep
Learning on a Data Diet", NeurIPS 2021. Scores are means over networks, in evaluation mode and without augmentation.
Networks and epochs are those of ``el2n``, hence the scores share their runs.
"""

from __future__ import annotations

from typing import Literal

from sparsweep.trainables.difficulties.base import difficulties
from sparsweep.trainables.difficulties.scores.base import register_final_score
from sparsweep.trainables.difficulties.selection import ScoreSelection
from sparsweep.trainables.lazy import functional, torch


def margin(values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the label's value minus the largest value of another class, ``(N,)``.

    Args:
        values: Probabilities or logits ``(N, classes)``, at least two classes.
        labels: int64 ``(N,)``.
    """
    is_label = functional.one_hot(labels, values.shape[1]).bool()
    return values[is_label] - values.masked_fill(is_label, -torch.inf).amax(1)


register_final_score("margin", lambda context: -margin(context.logits.double().softmax(1), context.labels))


@difficulties.register
class Margin(ScoreSelection):
    """Samples whose label has the smallest probability margin over the other classes, early in training."""

    name: Literal["margin"] = "margin"
