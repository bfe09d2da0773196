"""The rungs of the ladder, from the authors' loop to the engine with all optimizations. Each rung adds one change.

A rung trains one problem without end. :meth:`Rung.steps` yields the number of images after each step. The benchmark
adds no synchronization with the device; only the rung's loop may synchronize.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from itertools import count, repeat
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from benchmarks.authors_loop import PGD, AuthorsLoop, Loader, train_loader
from sparsweep.trainables.data import ImageData
from sparsweep.trainables.models.build import build_model
from sparsweep.trainables.pipeline.batches import BatchIterator
from sparsweep.trainables.pipeline.device_data import DeviceData, to_device_data
from sparsweep.trainables.pipeline.rng import derive
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.training.execution import WARMUP_STEPS, ExecutionConfig, StepRunnerCache
from sparsweep.trainables.training.trainer import Trainer

Batch = tuple[torch.Tensor, torch.Tensor]
CHECKED = 16
"""Batch size of the comparison between a rung's step and the same step in float64."""
CHECKED_LR = 0.1
"""Learning rate of the paper. It is large enough for a visible change of the weights in one step."""
LR = 0.01
"""Small learning rate: labels are random, and the training must not diverge."""
ATTACK_STEPS = 10
CHECKED_ATTACK_STEPS = 1
"""Rounding can flip the sign of a gradient, which moves a pixel. After ten steps, fp32 and fp64 images differ."""


@dataclass(frozen=True)
class Change:
    """All weights of a network before and after a step, each (P,), float64."""

    before: torch.Tensor
    after: torch.Tensor

    def of_weights(self, other: Change) -> float:
        """Return the distance between both results, relative to the weights of ``other``."""
        return ((self.after - other.after).norm() / other.after.norm()).item()

    def of_update(self, other: Change) -> float:
        """Return the distance between both results, relative to the update of ``other``.

        A value of 1 means that the update is entirely wrong.
        """
        return ((self.after - other.after).norm() / (other.after - other.before).norm()).item()


@dataclass(frozen=True)
class Problem:
    """Training problem on random uint8 images, on which all rungs do the same work. Zero images would be faster."""

    model: str
    width: float
    image_size: int
    batch_size: int
    classes: int
    attack: bool
    samples: int
    device: torch.device
    sparsity: float = 0.8

    def __str__(self) -> str:
        width = "" if self.width == 1 else f" x {self.width:g}"
        attack = "PGD-10, " if self.attack else ""
        return f"{self.model}{width}, {attack}{self.image_size} px, batch {self.batch_size}"

    def spec(
        self, precision: str = "fp32", attack_steps: int = ATTACK_STEPS, batch_size: int | None = None
    ) -> TrialSpec:
        # The authors' attack during training, so that both loops do the same work.
        attack = {"name": "adversarial", "batch_norm": "train", "steps": attack_steps}
        fields: dict[str, Any] = {
            "dataset": "digits",  # only a name: the images come from this problem
            "model": {"name": self.model, "width": self.width},
            "sparsifier": "random",
            "sparsity": self.sparsity,
            "difficulty": attack if self.attack else "none",
            "recipe": {"batch_size": batch_size or self.batch_size, "precision": precision, "lr": LR},
        }
        return TrialSpec.model_validate(fields)

    @cached_property
    def images(self) -> ImageData:
        random = np.random.default_rng(0)
        shape = (self.samples, self.spec().model.channels, self.image_size, self.image_size)
        pixels, labels = random.integers(0, 256, shape, dtype=np.uint8), random.integers(0, self.classes, self.samples)
        return ImageData(pixels, labels, pixels[:CHECKED], labels[:CHECKED], self.classes)

    @cached_property
    def data(self) -> DeviceData:
        return to_device_data(self.images, self.images.train_images.shape[1], self.image_size, self.device)

    @cached_property
    def checked(self) -> Batch:
        """Batch of the comparison with float64."""
        return self.data.train_images[:CHECKED].float() / 255, self.data.train_labels[:CHECKED]

    def batches(self) -> BatchIterator:
        recipe = self.spec().recipe
        indices = torch.arange(self.samples, device=self.device)
        images, labels = self.data.train_images, self.data.train_labels
        return BatchIterator(images, labels, indices, self.batch_size, recipe.crop_padding, recipe.flip)

    def training(self, spec: TrialSpec | None = None, engine: ExecutionConfig | None = None) -> Trainer:
        runner_cache = StepRunnerCache(engine or ExecutionConfig(graphs=False))
        return Trainer(spec or self.spec(), self.data, torch.arange(self.samples), lambda spec: {}, runner_cache)

    def loop(self, dtype: torch.dtype = torch.float32, lr: float = LR) -> AuthorsLoop:
        """Return the authors' loop with the engine's initial weights and masks."""
        training = self.training()
        masks = {name: mask.to(dtype) for name, mask in training.masks.items()}
        model = build_model(training.spec, self.data).to(self.device, dtype)
        return AuthorsLoop(model, self.device, masks, PGD(steps=ATTACK_STEPS) if self.attack else None, lr=lr)

    def checked_step(self, dtype: torch.dtype = torch.float32) -> Change:
        """Return the change in one step of the authors' loop on the batch :attr:`checked`."""
        loop, (images, labels) = self.loop(dtype, CHECKED_LR), self.checked
        if self.attack:
            loop.attack = PGD(steps=CHECKED_ATTACK_STEPS, random_start=False)
        before = weights(loop.model)
        loop.model.train()
        loop.step(images.to(dtype), labels)
        return Change(before, weights(loop.model))


class Rung(ABC):
    """One way to train a ``problem``. It reaches full speed after ``warm_up`` steps."""

    model: nn.Module
    masks: Mapping[str, torch.Tensor]
    warm_up = 1

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    @abstractmethod
    def steps(self) -> Iterator[int]:
        """Train without end. Yield the number of images after each step."""

    @abstractmethod
    def checked_step(self) -> Change:
        """Return the change in one step from the initial weights on the problem's batch :attr:`Problem.checked`.

        The attack has no random start.
        """


class Theirs(Rung):
    """The authors' loop. Its batches come from ``source``: their loader, one batch in memory, or the engine."""

    def __init__(self, problem: Problem, source: Literal["loader", "memory", "tensors"], workers: int) -> None:
        super().__init__(problem)
        self.source, self.workers = source, workers
        self.loop = problem.loop()
        self.model, self.masks = self.loop.model, self.loop.masks
        if source == "loader":
            self.warm_up = 2 * workers + 1  # an idle loader has two batches ready per worker

    def epochs(self) -> Iterator[Loader]:
        problem, batches = self.problem, self.problem.batches()
        if self.source == "loader":
            images, labels = problem.images.train_images, problem.images.train_labels
            yield from repeat(train_loader(images, labels, problem.batch_size, workers=self.workers))
        elif self.source == "memory":
            yield from repeat([next(batches.iter_epoch(derive(0, "batches")))])
        else:
            yield from (batches.iter_epoch(derive(0, "batches", number)) for number in count())

    def steps(self) -> Iterator[int]:
        self.model.train()
        for epoch in self.epochs():
            for images, labels in epoch:
                self.loop.step(images, labels)
                yield len(labels)

    def checked_step(self) -> Change:
        return self.problem.checked_step()


class Ours(Rung):
    """The engine of this package with the execution settings ``engine``."""

    def __init__(self, problem: Problem, precision: str, engine: ExecutionConfig) -> None:
        super().__init__(problem)
        self.precision, self.engine = precision, engine
        self.training = problem.training(problem.spec(precision), engine)
        self.model, self.masks = self.training.model, self.training.masks
        self.warm_up = WARMUP_STEPS + 2 if self.training.runner.capture_enabled else 1

    def steps(self) -> Iterator[int]:
        run = self.training
        run.model.train()
        run.runner.lr.fill_(LR)
        for epoch in count():
            attack = derive(0, "attack", epoch, device=run.device)
            totals = torch.zeros(2, device=run.device)
            for images, labels in run.batches.iter_epoch(derive(0, "batches", epoch)):
                totals += run.train_step(images, labels, run.loss_fn.draw_noise(images, attack), 0)
                yield len(labels)
            totals.tolist()

    def checked_step(self) -> Change:
        run = self.problem.training(self.problem.spec(self.precision, CHECKED_ATTACK_STEPS, CHECKED), self.engine)
        images, labels = self.problem.checked
        noise = torch.zeros_like(images) if self.problem.attack else images.new_empty(0)
        initial, before = deepcopy(run.model.state_dict()), weights(run.model)
        run.model.train()
        run.runner.lr.fill_(CHECKED_LR)
        # With CUDA graphs, the last of these steps is a replay.
        for _ in range(WARMUP_STEPS + 2 if run.runner.capture_enabled else 1):
            run.runner.reset(initial)
            run.train_step(images, labels, noise, 0)
        return Change(before, weights(run.model))


def weights(model: nn.Module) -> torch.Tensor:
    """Return a copy of all parameters, (P,), float64."""
    return torch.cat([parameter.detach().double().flatten() for parameter in model.parameters()])
