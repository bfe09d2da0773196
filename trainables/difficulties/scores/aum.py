"""Hard samples by the area under the margin (AUM): the mean logit margin of the label during training.

Pleiss et al., "Identifying Mislabeled Data using the Area Under the Margin Ranking", NeurIPS 2020. With the logits z:

        AUM = mean over epochs of z_y - max over k != y of z_k.

The score is -AUM, hence larger is harder: mislabeled and ambiguous samples have the smallest margins. One network is
trained until the first drop of its learning rate, as in the paper: afterwards hard samples are memorized. ``epoch``
sets another end. The paper's threshold samples, which define mislabeled samples, are not needed for a ranking.

Departure: margins are measured after every epoch, with the same network for all samples, in evaluation mode and without
augmentation (authors: in the training step of the sample). The cost is one forward pass of the training set per epoch.
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
    """Sum of the logit margins of every sample."""

    def __init__(self, data: DeviceData) -> None:
        super().__init__(data)
        self.state = {"margins": torch.zeros_like(data.train_labels, dtype=torch.float64)}

    def on_epoch_end(self, context: ScoringContext) -> None:
        self.state = {"margins": self.state["margins"] + margin(context.logits.double(), context.labels)}

    def compute(self, context: ScoringContext) -> torch.Tensor:
        return -self.state["margins"] / context.epoch


register_score("aum", AUMScore)


@difficulties.register
class AUM(ScoreSelection):
    """Samples with the smallest area under the margin: the mean logit margin of the label during training."""

    name: Literal["aum"] = "aum"
    runs: int = Field(default=1, ge=1, le=MAX_RUNS, description="networks whose scores are averaged")
    epoch: int | None = Field(
        default=None,
        ge=1,
        description="epochs of each network; null: until the first drop of the learning rate",
    )

    def epochs(self, spec: TrialSpec) -> int:
        recipe = spec.recipe
        at_first_rate = recipe.epochs_before_milestones
        return self.epoch or max(1, at_first_rate)
