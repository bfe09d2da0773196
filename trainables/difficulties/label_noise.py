"""Label noise: a share of the training labels is wrong.

Symmetric noise gives a sample one of the other classes with equal chances (Natarajan et al., "Learning with Noisy
Labels", NeurIPS 2013); pairwise noise gives it the class that follows its own (Han et al., "Co-teaching", NeurIPS
2018, the last class being followed by the first). The paper has no label noise; it is a hardness that its field uses.

Exactly the nearest whole number of the training set's labels is wrong, whichever of them are then selected: a sample
has the same label at every data ratio. Test labels stay.
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
    """A share of the training labels is wrong: any other class, or the next one."""

    name: Literal["label_noise"] = "label_noise"
    stage = "labels"
    kind: Literal["symmetric", "pairwise"] = Field(
        default="symmetric", description="a wrong label is any other class, or always the next one"
    )
    fraction: float = Field(default=0.2, gt=0, lt=1, description="share of the training labels that is wrong")

    @property
    def learnable(self) -> float:
        return 1 - self.fraction  # nobody asks a network to memorize what is wrong

    def transform(self, spec: TrialSpec, data: DeviceData, sources: PrerequisiteOutputs) -> DeviceData:
        labels = noisy_labels(data.train_labels.cpu(), data.classes, self.kind, self.fraction, spec.seed)
        return dataclasses.replace(data, train_labels=labels.to(data.train_labels.device))


def noisy_labels(labels: torch.Tensor, classes: int, kind: str, fraction: float, seed: int) -> torch.Tensor:
    """int64 [N] like ``labels``, of which the share ``fraction`` (in (0, 1)) is changed, drawn from ``seed``."""
    generator = derive(seed, "label noise")
    wrong = torch.randperm(len(labels), generator=generator)[: round(fraction * len(labels))]
    # A step of 1 to classes - 1 around the circle of classes is every other class once.
    steps = torch.randint(1, classes, (len(wrong),), generator=generator) if kind == "symmetric" else 1
    noisy = labels.clone()
    noisy[wrong] = (labels[wrong] + steps) % classes
    return noisy
