"""Scores of training samples, by name: what a scoring run computes along its way and at its end.

A score that looks at the end alone is a function of a :class:`View`; one that follows training is a class with state.
All see the whole training set, in evaluation mode and without augmentation. Larger is harder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch

from trainables.difficulty.scores import el2n
from trainables.sparsifiers.topology import Tensors
from trainables.training import Training


@dataclass
class View:
    """A network after an epoch, and the training set it is asked about."""

    training: Training

    @cached_property
    def logits(self) -> torch.Tensor:
        """Logits of all training images: float32 [N, classes], computed once an epoch."""
        return self.training.logits(self.training.data.train_images)

    @property
    def labels(self) -> torch.Tensor:
        """int64 [N]."""
        return self.training.data.train_labels


class Score:
    """One score of one run. ``state`` is all that it carries from epoch to epoch, and goes into checkpoints."""

    def __init__(self) -> None:
        self.state: Tensors = {}

    def follow(self, view: View) -> None:
        """Look at the network after an epoch."""

    def result(self, view: View) -> torch.Tensor:
        """float64 [N], after the last epoch."""
        raise NotImplementedError


class Final(Score):
    """A score of the network at the end."""

    def __init__(self, score: Callable[[View], torch.Tensor]) -> None:
        super().__init__()
        self._score = score

    def result(self, view: View) -> torch.Tensor:
        return self._score(view)


SCORES: dict[str, Callable[[], Score]] = {
    "el2n": lambda: Final(lambda view: el2n(view.logits, view.labels)),
    "el2n_squared": lambda: Final(lambda view: el2n(view.logits, view.labels) ** 2),
}
