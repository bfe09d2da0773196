"""Label noise: a share of the training labels is wrong.

Symmetric noise replaces a label by one of the other classes with equal probability (Natarajan et al., "Learning with
Noisy Labels", NeurIPS 2013). Pairwise noise replaces it by the next class, the last class by the first (Han et al.,
"Co-teaching", NeurIPS 2018). The paper has no label noise. The method is common in the field.

Exactly the nearest integer to the share of the training set's labels is wrong, before the selection of samples. A
sample has the same label at every data ratio. Test labels do not change.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from pydantic import Field

from sparsweep.trainables.difficulties.base import Difficulty, PrerequisiteOutputs, difficulties
from sparsweep.trainables.lazy import torch
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.pipeline.rng import derive
from sparsweep.trainables.specs.trial import TrialSpec


@difficulties.register
class LabelNoise(Difficulty):
    """Label noise: a share of the training labels is any other class, or the next class."""

    name: Literal["label_noise"] = "label_noise"
    stage = "labels"
    kind: Literal["symmetric", "pairwise"] = Field(
        default="symmetric", description="symmetric: any other class; pairwise: the next class"
    )
    fraction: float = Field(default=0.2, gt=0, lt=1, description="share of wrong training labels")

    @property
    def learnable(self) -> float:
        return 1 - self.fraction  # wrong labels need not be memorized

    def transform(self, spec: TrialSpec, data: DeviceData, sources: PrerequisiteOutputs) -> DeviceData:
        labels = noisy_labels(data.train_labels.cpu(), data.classes, self.kind, self.fraction, spec.seed)
        return dataclasses.replace(data, train_labels=labels.to(data.train_labels.device))


def noisy_labels(labels: torch.Tensor, classes: int, kind: str, fraction: float, seed: int) -> torch.Tensor:
    """Replace a share of the labels.

    Args:
        labels: int64 ``(N,)`` on the CPU.
        classes: Number of classes.
        kind: ``symmetric`` or ``pairwise``.
        fraction: Share of wrong labels, in (0, 1).
        seed: Seed of the trial.

    Returns:
        int64 ``(N,)``.
    """
    generator = derive(seed, "label noise")
    wrong = torch.randperm(len(labels), generator=generator)[: round(fraction * len(labels))]
    # Steps from 1 to classes - 1, modulo classes, reach every other class once.
    steps = torch.randint(1, classes, (len(wrong),), generator=generator) if kind == "symmetric" else 1
    noisy = labels.clone()
    noisy[wrong] = (labels[wrong] + steps) % classes
    return noisy
