"""Hard samples by forgetting: how often a network forgets a sample that it had learned.

Toneva et al., "An Empirical Study of Example Forgetting during Deep Neural Network Learning", ICLR 2019. A forgetting
event of a sample is an epoch after which the sample is classified wrongly, but was classified correctly after the
previous epoch. The score is the number of events, averaged over networks (5, as in the paper).

A sample that is never learned has no forgetting events, yet is the hardest. A count of 0 would rank it beside the
easiest samples. As in the authors' code, its count is the number of epochs. No other sample reaches this count: at most
every second epoch forgets.

Departure: samples are classified after every epoch, with the same network for all samples, in evaluation mode and
without augmentation (authors: in the training step of the sample). The cost is one forward pass of the training set per
epoch.
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
    """Return the state before training: no sample is known, learned or forgotten.

    Args:
        samples: Number of samples.
        device: Device of the state.
    """
    return {
        "known": torch.zeros(samples, dtype=torch.bool, device=device),
        "learned": torch.zeros(samples, dtype=torch.bool, device=device),
        "events": torch.zeros(samples, dtype=torch.int64, device=device),
    }


def after_epoch(state: Tensors, known: torch.Tensor) -> Tensors:
    """Return the state after an epoch.

    Args:
        state: State before the epoch.
        known: bool ``(N,)``, samples that are classified correctly after the epoch.
    """
    return {
        "known": known,
        "learned": state["learned"] | known,
        "events": state["events"] + (state["known"] & ~known),
    }


def forgetting(state: Tensors, epochs: int) -> torch.Tensor:
    """Return the number of forgetting events, float64 ``(N,)``. Samples that were never learned get ``epochs``.

    Args:
        state: State after the last epoch.
        epochs: Number of epochs.
    """
    return torch.where(state["learned"], state["events"], epochs).double()


class ForgettingScore(Score):
    """Number of forgetting events of every sample."""

    def __init__(self, data: DeviceData) -> None:
        super().__init__(data)
        self.state = ignorance(len(data.train_labels), data.train_labels.device)

    def on_epoch_end(self, context: ScoringContext) -> None:
        self.state = after_epoch(self.state, context.logits.argmax(1) == context.labels)

    def compute(self, context: ScoringContext) -> torch.Tensor:
        return forgetting(self.state, context.epoch)


register_score("forgetting", ForgettingScore)


@difficulties.register
class Forgetting(ScoreSelection):
    """Samples that networks forget most often during training. Samples never learned are hardest."""

    name: Literal["forgetting"] = "forgetting"
    min_epochs: ClassVar[int] = 2
    runs: int = Field(default=5, ge=1, le=MAX_RUNS, description="networks whose counts are averaged")
    epoch: int | None = Field(default=None, ge=1, description="epochs of each network; null: all")
