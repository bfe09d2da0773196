"""Small specs and networks for the tests of one trial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import nn

from sparsweep.trainables.data import ImageData
from sparsweep.trainables.difficulties import PrerequisiteOutputs
from sparsweep.trainables.difficulties.corruption import CorruptionSpec
from sparsweep.trainables.difficulties.scores.base import ScoringContext
from sparsweep.trainables.models import Model
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.runs.base import RunInputs
from sparsweep.trainables.sparsifiers.base import StateDict
from sparsweep.trainables.specs.partial import ScoringSpec
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.training.trainer import Trainer

TIMES = ["seconds", "images_per_second", "started_at", "finished_at"]
"""Columns that may differ between two runs of the same trial."""


def trial(**changes: Any) -> TrialSpec:
    """Return a dense trial: two epochs of a narrow network on 10 % of digits. ``changes`` override fields."""
    fields = {
        "dataset": "digits",
        "model": {"name": "resnet8", "width": 0.25},
        "sparsifier": "dense",
        "data_ratio": 0.1,
        "recipe": {"preset": "digits", "epochs": 2},
    }
    return TrialSpec(**{**fields, **changes})


def raise_no_prerequisite(spec: TrialSpec) -> StateDict:
    raise LookupError(f"the test expects no prerequisite (got {spec})")


def create_trainer(spec: TrialSpec, data: DeviceData, samples: int = 64) -> Trainer:
    """Return a training on the first ``samples`` training images, or on all if there are fewer."""
    return Trainer(spec, data, torch.arange(min(samples, len(data.train_labels))), raise_no_prerequisite)


def part(data: DeviceData, samples: int) -> DeviceData:
    """Return ``data`` with only its first ``samples`` training images."""
    return replace(data, train_images=data.train_images[:samples], train_labels=data.train_labels[:samples])


def inputs(data: DeviceData) -> RunInputs:
    """Return the inputs of a run, for a dataset that is already on the device."""

    def images() -> ImageData:
        raise LookupError("the test expects no access to the stored images")

    return RunInputs(images, lambda trial: data)


def sources(scores: Callable[[ScoringSpec, str], torch.Tensor]) -> PrerequisiteOutputs:
    """Return outputs of prerequisites that consist of ``scores`` only."""

    def corrupted(run: CorruptionSpec) -> dict[str, torch.Tensor]:
        raise LookupError(f"the test expects no access to corrupted images (got {run})")

    return PrerequisiteOutputs(scores, corrupted)


class Flat(Model):
    """One linear layer with bias on the pixels of 2x2 gray images. Not registered, so sweeps cannot use it."""

    name: Literal["flat"] = "flat"
    channels = 1
    min_size = 2

    def build(self, classes: int, statistics: Any) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(4, classes))


def four_pixels(samples: int = 6, classes: int = 3) -> DeviceData:
    """Return random 2x2 gray images for :class:`Flat`. The test set equals the training set."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (samples, 1, 2, 2), generator=generator, dtype=torch.uint8)
    labels = torch.arange(samples) % classes
    return DeviceData(images, labels, images, labels, classes, (0.5,), (0.25,))


def scoring_context(training: Trainer) -> ScoringContext:
    """Return the context of a score during ``training``."""
    return ScoringContext(training.epoch, training.data, training.network, training.batches.batch_size)
