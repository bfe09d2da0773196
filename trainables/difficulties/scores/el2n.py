"""Hard samples by EL2N: the samples that networks early in training get most wrong.

Paul et al., "Deep Learning on a Data Diet", NeurIPS 2021, section 2; paper, section 3.2.1. With p the softmax of a
network and y the one-hot label, EL2N = ||p - y||_2, in [0, sqrt(2)]. A few dense networks are trained on the whole
training set for the first ``epoch`` epochs of the normal schedule; a sample's score is its mean EL2N over them, in
evaluation mode and without augmentation. The paper does not say how many networks nor how many epochs; the defaults
are those that Data Diet recommends (10 networks, epoch 20 of 200).

Departure from the authors' code, towards the text: the norm is not squared (this matters once networks are averaged)
and networks are in evaluation mode; ``squared`` and ``mode`` do as they do (defect D18), with ``mode: train`` taken as
batch statistics without a change of the running ones.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sparsweep.trainables.difficulties.base import difficulties
from sparsweep.trainables.difficulties.scores.base import register_final_score
from sparsweep.trainables.difficulties.selection import ScoreSelection
from sparsweep.trainables.lazy import functional, torch


def el2n(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """||softmax(logits) - onehot(labels)||_2 in [0, sqrt(2)]: float64 [N].

    ``logits``: [N, classes]; ``labels``: int64 [N].
    """
    error = logits.double().softmax(1) - functional.one_hot(labels, logits.shape[1])
    return error.norm(dim=1)


register_final_score("el2n", lambda view: el2n(view.logits, view.labels))
register_final_score("el2n_squared", lambda view: el2n(view.logits, view.labels) ** 2)
register_final_score("el2n_train", lambda view: el2n(view.train_mode_logits, view.labels))
register_final_score("el2n_squared_train", lambda view: el2n(view.train_mode_logits, view.labels) ** 2)


@difficulties.register
class EL2N(ScoreSelection):
    """The samples with the highest EL2N score: the norm of softmax minus label, early in training."""

    name: Literal["el2n"] = "el2n"
    squared: bool = Field(default=False, description="the squared norm, as in the authors' code")
    mode: Literal["eval", "train"] = Field(default="eval", description="train: batch statistics, as in their code")

    @property
    def score(self) -> str:
        return "el2n" + "_squared" * self.squared + "_train" * (self.mode == "train")
