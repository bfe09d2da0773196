"""Hard samples by forgetting: how often a network unlearns a sample that it had learned.

Toneva et al., "An Empirical Study of Example Forgetting during Deep Neural Network Learning", ICLR 2019. A forgetting
event of a sample is an epoch after which it is classified wrongly while it was classified correctly after the epoch
before. The score is the number of events, averaged over networks (5, as theirs).

A sample that was never learned has nothing to forget, yet it is the hardest there is: a count of 0 would put it beside
the easiest, those that are learned at once and for ever. As in the authors' code it counts as many events as there
were epochs, which is above any count that can be reached (at most every other epoch forgets).

Departure: whether a sample is known is asked after every epoch, of the same network for all, in evaluation mode and
without augmentation; the authors take the prediction made in the training step that the sample is part of. It costs
a forward pass of the training set an epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from sparsweep.trainables.difficulties.base import difficulties
from sparsweep.trainables.difficulties.scores.base import Score, ScoringContext, register_score
from sparsweep.trainables.difficulties.selection import MAX_RUNS, ScoreSelection
from sparsweep.trainables.lazy import torch
from sparsweep.trainables.pipeline.device_data import DeviceData

if TYPE_CHECKING:
    from sparsweep.trainables.sparsifiers.masked_params import Tensors


def ignorance(samples: int, device: torch.device | str = "cpu") -> Tensors:
    """Before training nothing is known, nothing was ever learned, nothing forgotten."""
    return {
        "known": torch.zeros(samples, dtype=torch.bool, device=device),
        "learned": torch.zeros(samples, dtype=torch.bool, device=device),
        "events": torch.zeros(samples, dtype=torch.int64, device=device),
    }


def after_epoch(state: Tensors, known: torch.Tensor) -> Tensors:
    """The state after an epoch that leaves the samples ``known`` (bool [N]) classified correctly."""
    return {
        "known": known,
        "learned": state["learned"] | known,
        "events": state["events"] + (state["known"] & ~known),
    }


def forgetting(state: Tensors, epochs: int) -> torch.Tensor:
    """Forgetting events: float64 [N]; ``epochs``, their number so far, for samples that were never learned."""
    return torch.where(state["learned"], state["events"], epochs).double()


class ForgettingScore(Score):
    """Counts the forgetting events of every sample."""

    def __init__(self, data: DeviceData) -> None:
        super().__init__(data)
        self.state = ignorance(len(data.train_labels), data.train_labels.device)

    def on_epoch_end(self, view: ScoringContext) -> None:
        self.state = after_epoch(self.state, view.logits.argmax(1) == view.labels)

    def compute(self, view: ScoringContext) -> torch.Tensor:
        return forgetting(self.state, view.epoch)


register_score("forgetting", ForgettingScore)


@difficulties.register
class Forgetting(ScoreSelection):
    """The samples that networks unlearn most often while they train; never learned is hardest."""

    name: Literal["forgetting"] = "forgetting"
    min_epochs: ClassVar[int] = 2
    runs: int = Field(default=5, ge=1, le=MAX_RUNS, description="networks whose counts are averaged")
    epoch: int | None = Field(default=None, ge=1, description="epochs that are followed; null: all")
