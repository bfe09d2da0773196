"""Hard samples by the area under the margin: how far a network keeps the label's logit above the others as it learns.

Pleiss et al., "Identifying Mislabeled Data using the Area Under the Margin Ranking", NeurIPS 2020. With z the logits,
AUM = mean over epochs of z_y - max over k != y of z_k. The score is -AUM, so that larger is harder: mislabelled and
ambiguous samples have the smallest margins. One network is trained until the first drop of its learning rate, as
theirs, for after it hard samples are memorised; ``epoch`` says otherwise. Their threshold samples, which decide from
where on a sample counts as mislabelled, are not needed to rank.

Departure: margins are taken after every epoch, of the same network for all, in evaluation mode and without
augmentation; the authors take those of the training step that the sample is part of. It costs a forward pass of the
training set an epoch.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sparsweep.trainables.difficulties.base import difficulties
from sparsweep.trainables.difficulties.scores.base import Score, ScoringContext, register_score
from sparsweep.trainables.difficulties.scores.margin import margin
from sparsweep.trainables.difficulties.selection import MAX_RUNS, ScoreSelection
from sparsweep.trainables.lazy import torch
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.specs.trial import TrialSpec


class AUMScore(Score):
    """Adds up the logit margins of every sample."""

    def __init__(self, data: DeviceData) -> None:
        super().__init__(data)
        self.state = {"margins": torch.zeros_like(data.train_labels, dtype=torch.float64)}

    def on_epoch_end(self, view: ScoringContext) -> None:
        self.state = {"margins": self.state["margins"] + margin(view.logits.double(), view.labels)}

    def compute(self, view: ScoringContext) -> torch.Tensor:
        return -self.state["margins"] / view.epoch


register_score("aum", AUMScore)


@difficulties.register
class AUM(ScoreSelection):
    """The samples with the smallest area under the margin: the mean logit margin of the label over training."""

    name: Literal["aum"] = "aum"
    runs: int = Field(default=1, ge=1, le=MAX_RUNS, description="networks whose scores are averaged")
    epoch: int | None = Field(
        default=None,
        ge=1,
        description="epochs that are followed; null: those before the first drop of the learning rate",
    )

    def epochs(self, spec: TrialSpec) -> int:
        recipe = spec.recipe
        at_first_rate = sum(recipe.learning_rate(epoch) == recipe.lr for epoch in range(recipe.epochs))
        return self.epoch or max(1, at_first_rate)
