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
"""Columns that two runs of one trial need not have in common."""


def trial(**changes: Any) -> TrialSpec:
    """Two epochs of a narrow network on a tenth of the digits, dense unless told."""
    fields = {
        "dataset": "digits",
        "model": {"name": "resnet8", "width": 0.25},
        "sparsifier": "dense",
        "data_ratio": 0.1,
        "recipe": {"preset": "digits", "epochs": 2},
    }
    return TrialSpec(**{**fields, **changes})


def nothing(spec: TrialSpec) -> StateDict:
    raise LookupError(f"no prerequisite was expected, asked for {spec}")


def begin(spec: TrialSpec, data: DeviceData, samples: int = 64) -> Trainer:
    """A training on the first ``samples`` training images, or as many as there are."""
    return Trainer(spec, data, torch.arange(min(samples, len(data.train_labels))), nothing)


def part(data: DeviceData, samples: int) -> DeviceData:
    """The first ``samples`` training images of ``data``, and all its test images."""
    return replace(data, train_images=data.train_images[:samples], train_labels=data.train_labels[:samples])


def inputs(data: DeviceData) -> RunInputs:
    """What a run starts from, when the data set is already as its network wants it."""

    def images() -> ImageData:
        raise LookupError("the images as stored were not expected to be asked for")

    return RunInputs(images, lambda trial: data)


def sources(scores: Callable[[ScoringSpec, str], torch.Tensor]) -> PrerequisiteOutputs:
    """Prerequisites that left ``scores`` and nothing else."""

    def corrupted(run: CorruptionSpec) -> dict[str, torch.Tensor]:
        raise LookupError(f"no corrupted images were expected to be asked for, asked for {run}")

    return PrerequisiteOutputs(scores, corrupted)


class Flat(Model):
    """One linear layer on the pixels of 2x2 grey images, with bias. Not registered: no sweep may find it."""

    name: Literal["flat"] = "flat"
    channels = 1
    min_size = 2

    def build(self, classes: int, statistics: Any) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(4, classes))


def four_pixels(samples: int = 6, classes: int = 3) -> DeviceData:
    """Random 2x2 grey images for :class:`Flat`; the test set is the training set."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (samples, 1, 2, 2), generator=generator, dtype=torch.uint8)
    labels = torch.arange(samples) % classes
    return DeviceData(images, labels, images, labels, classes, (0.5,), (0.25,))


def view_of(training: Trainer) -> ScoringContext:
    """What a score sees of a network that is being trained."""
    return ScoringContext(training.epoch, training.data, training.network, training.batches.batch_size)
