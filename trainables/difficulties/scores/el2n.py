"""Hard samples by EL2N: the samples with the largest errors of networks early in training.

Paul et al., "Deep Learning on a Data Diet", NeurIPS 2021, section 2; paper, section 3.2.1. With p the softmax of a
network and y the one-hot label, EL2N = ||p - y||_2, in [0, sqrt(2)]. A few dense networks are trained on the full
training set for the first ``epoch`` epochs of the normal schedule. The score of a sample is its mean EL2N over these
networks, in evaluation mode and without augmentation. The paper gives neither the number of networks nor the number of
epochs. The defaults are those that Data Diet recommends (10 networks, epoch 20 of 200).

Departures from the authors' code, as the paper's text says: the norm is not squared (relevant for the mean over
networks), and networks are in evaluation mode. ``squared`` and ``mode`` restore the authors' code (defect D18): ``mode:
train`` uses batch statistics and does not change the running statistics.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sparsweep.trainables.difficulties.base import difficulties
from sparsweep.trainables.difficulties.scores.base import register_final_score
from sparsweep.trainables.difficulties.selection import ScoreSelection
from sparsweep.trainables.lazy import functional, torch


def el2n(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return ||softmax(logits) - onehot(labels)||_2 in [0, sqrt(2)], float64 ``(N,)``.

    Args:
        logits: ``(N, classes)``.
        labels: int64 ``(N,)``.
    """
    error = logits.double().softmax(1) - functional.one_hot(labels, logits.shape[1])
    return error.norm(dim=1)


register_final_score("el2n", lambda context: el2n(context.logits, context.labels))
register_final_score("el2n_squared", lambda context: el2n(context.logits, context.labels) ** 2)
register_final_score("el2n_train", lambda context: el2n(context.train_mode_logits, context.labels))
register_final_score("el2n_squared_train", lambda context: el2n(context.train_mode_logits, context.labels) ** 2)


@difficulties.register
class EL2N(ScoreSelection):
    """Samples with the highest EL2N score: the norm of softmax minus label, early in training."""

    name: Literal["el2n"] = "el2n"
    squared: bool = Field(default=False, description="square the norm, as in the authors' code")
    mode: Literal["eval", "train"] = Field(
        default="eval", description="train: batch statistics, as in the authors' code"
    )

    @property
    def score(self) -> str:
        return "el2n" + "_squared" * self.squared + "_train" * (self.mode == "train")
