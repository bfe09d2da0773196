"""The training loop: one network, its masks, its optimiser, one epoch after another.

Order within a step: update the topology if one is due, forward, backward, mask the gradients, optimiser step. With
masked gradients and masked starting weights the masked weights and their momenta stay exactly zero, so what is
evaluated is what was trained. A step makes no host synchronisation: loss and hits are added up on the device.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from trainables.data import Batches, DeviceData, as_input
from trainables.flops import PASSES, forward_flops, layer_flops
from trainables.models import maskable
from trainables.seeds import derive
from trainables.sparsifiers import Masks, Moment, Start, Timeline
from trainables.sparsifiers.base import State
from trainables.sparsifiers.masks import kept_weights
from trainables.spec import TrialSpec

EVALUATION_BATCH = 1000


class Diverged(ArithmeticError):
    """The loss is no longer a number: there is no result to record."""


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave. Accuracies in [0, 1]; ``test_accuracy`` is None where the epoch was not evaluated."""

    epoch: int
    lr: float
    train_loss: float
    train_accuracy: float
    test_accuracy: float | None
    density: float
    seconds: float


class Training:
    """The state of one training run: everything that a checkpoint must hold, and the step from one epoch to the next.

    ``indices``: the training samples to use; ``trained``: looks up the final state of a prerequisite.
    """

    def __init__(
        self, spec: TrialSpec, data: DeviceData, indices: torch.Tensor, trained: Callable[[TrialSpec], State]
    ) -> None:
        self.spec = spec
        self.data = data
        self.device = data.train_images.device
        recipe = spec.recipe
        chosen = indices.to(self.device)
        self.batches = Batches(
            data.train_images,
            data.train_labels,
            chosen,
            recipe.batch_size,
            recipe.crop_padding,
            recipe.flip,
            recipe.rotation,
            recipe.drop_last,
        )
        self.timeline = Timeline(recipe.epochs, len(self.batches))
        self.model = build_model(spec, data).to(self.device)
        channels, height, width = data.train_images.shape[1:]
        self.layer_flops = layer_flops(self.model, (channels, height, width))
        self.weights = maskable(self.model)
        self._start(trained)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        self.update_steps = frozenset(spec.sparsifier.update_steps(self.timeline))
        self.epoch = 0
        self.train_flops = 0.0
        self.train_seconds = 0.0
        self.history: list[Epoch] = []

    def _start(self, trained: Callable[[TrialSpec], State]) -> None:
        start = Start(self.spec, self.model, derive(self.spec.seed, "masks"), self._first_batch, trained)
        state = self.spec.sparsifier.starting_state(start)
        if state is not None:
            self.model.load_state_dict(state)
        self._set_masks(self.spec.sparsifier.initialize(start), step=-1)
        self._zero_masked()

    def _first_batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        return next(self.batches.epoch(derive(self.spec.seed, "mask batch")))

    # Masks -----------------------------------------------------------------------------------------------------------

    def _set_masks(self, masks: Masks, step: int) -> None:
        """Take over the masks in force from ``step`` on (-1: before the first), wherever they were made."""
        masks = Masks({name: mask.to(self.device) for name, mask in masks.items()})
        asked = kept_weights(masks.size, self.spec.sparsifier.sparsity_at(step, self.spec, self.timeline))
        self.counts = masks.counts()
        if list(masks) != list(self.weights) or sum(self.counts.values()) != asked:
            found = sum(self.counts.values())
            raise AssertionError(f"{self.spec.sparsifier.name} left {found} weights before step {step}, not {asked}")
        self.masks = masks
        self.factors = [mask.to(self.weights[name].dtype) for name, mask in masks.items()]
        densities = {name: count / masks[name].numel() for name, count in self.counts.items()}
        self.forward_flops = forward_flops(self.layer_flops, densities)

    @property
    def density(self) -> float:
        """Fraction of the maskable weights that is there, from the counts at hand: nothing waits for the device."""
        return sum(self.counts.values()) / self.masks.size

    @torch.no_grad()
    def _zero_masked(self) -> None:
        torch._foreach_mul_(list(self.weights.values()), self.factors)

    @torch.no_grad()
    def _update_masks(self, step: int) -> None:
        moment = Moment(
            self.spec,
            step,
            self.timeline,
            {name: weight.detach() for name, weight in self.weights.items()},
            derive(self.spec.seed, "masks", step),
        )
        self._set_masks(self.spec.sparsifier.update(self.masks, moment), step)
        self._zero_masked()
        momenta = [self.optimizer.state[weight].get("momentum_buffer") for weight in self.weights.values()]
        for momentum, factor in zip(momenta, self.factors, strict=True):
            if momentum is not None:
                momentum.mul_(factor)

    # Training --------------------------------------------------------------------------------------------------------

    def train_epoch(self) -> Epoch:
        """Train one epoch and, where it is due, evaluate; :class:`Diverged` if the loss is not finite."""
        began = time.perf_counter()
        lr = self.spec.recipe.learning_rate(self.epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.model.train()
        # [sum of losses, hits], added up on the device: reading a number would stop the host until the device is done.
        totals = torch.zeros(2, device=self.device)
        step = self.epoch * len(self.batches)
        for images, labels in self.batches.epoch(derive(self.spec.seed, "batches", self.epoch)):
            if step in self.update_steps:
                self._update_masks(step)
            totals += self.train_step(images, labels)
            self.train_flops += PASSES * self.forward_flops * len(labels)
            step += 1
        loss, accuracy = (totals / self.batches.epoch_samples).tolist()
        self.train_seconds += time.perf_counter() - began
        self.epoch += 1
        if not loss < float("inf"):
            raise Diverged(f"the training loss is {loss} in epoch {self.epoch}")
        due = self.epoch % self.spec.evaluation.every == 0 or self.epoch == self.spec.recipe.epochs
        test_accuracy = self.evaluate() if due else None
        record = Epoch(self.epoch, lr, loss, accuracy, test_accuracy, self.density, time.perf_counter() - began)
        self.history.append(record)
        return record

    def train_step(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """One optimiser step on one batch; returns [sum of losses, hits] on the device."""
        self.optimizer.zero_grad(set_to_none=True)
        logits = self._forward(images)
        loss = functional.cross_entropy(logits, labels)
        loss.backward()
        gradients = [weight.grad for weight in self.weights.values() if weight.grad is not None]
        torch._foreach_mul_(gradients, self.factors)
        self.optimizer.step()
        return torch.stack([loss.detach() * len(labels), (logits.detach().argmax(1) == labels).sum()])

    def _forward(self, images: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.spec.recipe.precision == "bf16"):
            logits = self.model(images)
        return logits.float()

    # Evaluation ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of uint8 ``images`` in evaluation mode, without augmentation: [N, classes]."""
        self.model.eval()
        return torch.cat([self._forward(as_input(part)) for part in images.split(EVALUATION_BATCH)])

    def evaluate(self) -> float:
        """Accuracy on the test set, in [0, 1]."""
        hits = self.logits(self.data.test_images).argmax(1) == self.data.test_labels
        return hits.double().mean().item()

    # State -----------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that decides how training goes on, as tensors and plain values."""
        return {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "masks": dict(self.masks),
            "train_flops": self.train_flops,
            "train_seconds": self.train_seconds,
            "history": [vars(epoch) for epoch in self.history],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state` was taken."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch = state["epoch"]
        # The masks are those of the last step: an update that is due just before the next one is still to come.
        self._set_masks(Masks(state["masks"]), self.epoch * len(self.batches) - 1)
        self.train_flops = state["train_flops"]
        self.train_seconds = state["train_seconds"]
        self.history = [Epoch(**epoch) for epoch in state["history"]]


def build_model(spec: TrialSpec, data: DeviceData) -> nn.Module:
    """The network of ``spec`` on the CPU at its initial weights, which depend on the seed and nothing else."""
    model = spec.model.build(data.classes, (data.mean, data.std))
    spec.model.initialise(model, derive(spec.seed, "weights"))
    return model
