"""The training loop: one network, its masks, its optimiser, one epoch after another.

Order within a step: update the topology if one is due, forward, backward, mask the gradients, optimiser step. With
masked gradients and masked starting weights the masked weights and their momenta stay exactly zero, so what is
evaluated is what was trained. A step makes no host synchronisation: loss and hits are added up on the device. How it
is run there (see ``engine``) changes nothing of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from sparsweep.trainables.difficulties import difficulties
from sparsweep.trainables.lazy import torch
from sparsweep.trainables.models import maskable
from sparsweep.trainables.models.build import build_model
from sparsweep.trainables.pipeline.batches import BatchIterator
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.pipeline.rng import derive
from sparsweep.trainables.sparsifiers import InitContext, Masks, UpdateContext, sparsifiers
from sparsweep.trainables.sparsifiers.base import StateDict
from sparsweep.trainables.sparsifiers.masked_params import Tensors
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.timeline import TrainingSteps
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.training.execution import StepRunnerCache, StepSignature
from sparsweep.trainables.training.flops import forward_flops, layer_flops
from sparsweep.trainables.training.profiler import iterate_phase, phase


class DivergedError(ArithmeticError):
    """The loss is no longer a number: there is no result to record."""


@dataclass(frozen=True)
class EpochMetrics:
    """What one epoch gave. Accuracies in [0, 1]; those that were not measured after it are None."""

    epoch: int
    lr: float
    train_loss: float
    train_accuracy: float
    test_accuracy: float | None
    density: float
    seconds: float
    clean_accuracy: float | None = None
    corrupted_accuracy: float | None = None
    validation_accuracy: float | None = None
    robust_accuracy: float | None = None
    autoattack_accuracy: float | None = None


class Trainer:
    """The state of one training run: everything that a checkpoint must hold, and the step from one epoch to the next.

    ``indices``: the training samples to use; ``trained``: looks up the final state of a prerequisite; ``workshop``:
    what is kept from the training before, which must be over.
    """

    def __init__(
        self,
        spec: TrialSpec,
        data: DeviceData,
        indices: torch.Tensor,
        load_parent_state: Callable[[RunSpec], StateDict],
        runner_cache: StepRunnerCache | None = None,
    ) -> None:
        self.spec = spec
        self.data = data
        self.device = data.train_images.device
        recipe = spec.recipe
        self.sparsifier, self.difficulty = sparsifiers.cast(spec.sparsifier), difficulties.cast(spec.difficulty)
        self.difficulty.check_dependencies()
        self.indices = indices.to(self.device)
        self.batches = BatchIterator(
            data.train_images,
            data.train_labels,
            self.indices,
            recipe.batch_size,
            recipe.crop_padding,
            recipe.flip,
            recipe.rotation,
            recipe.drop_last,
        )
        epoch_steps = len(self.batches) if recipe.steps is None else spec.epoch_steps
        self.timeline = TrainingSteps(recipe.epochs, epoch_steps, recipe.steps)
        self.loss_fn = self.difficulty.loss_fn
        self.runner = (runner_cache or StepRunnerCache()).acquire(StepSignature.of(spec, data), build_model(spec, data))
        self.model, self.network, self.optimizer = self.runner.model, self.runner.network, self.runner.optimizer
        channels, height, width = data.train_images.shape[1:]
        self.layer_flops = layer_flops(self.model, (channels, height, width))
        self.weights = maskable(self.model)
        self.update_steps = frozenset(self.sparsifier.update_steps(self.timeline))
        self.epoch = self.sparsifier.start_epoch(spec)
        self.train_flops = 0.0
        self.train_seconds = 0.0
        self.history: list[EpochMetrics] = []
        self._initialize(load_parent_state)

    def _initialize(self, trained: Callable[[RunSpec], StateDict]) -> None:
        spec = self.spec
        start = InitContext(spec, self.model, derive(spec.seed, "masks"), self._mask_batch, trained)
        state = self.sparsifier.parent_state(start)
        if state is not None:
            self.model.load_state_dict(state)
        masks = self.validated_masks(self.sparsifier.initialize(start), step=-1)
        self.sparsifier_state = self.sparsifier.init_state(start)
        self.masked_params = self.sparsifier.masked_params(self.weights, self.optimizer, masks)
        self.runner.attach_masks(self.masked_params, self.sparsifier.needs_every_gradient)
        self.train_flops += self.sparsifier.initial_flops(sum(self.layer_flops.values()), spec.recipe.batch_size)
        self._count_flops()

    def _mask_batch(self, number: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        batches = self.batches.iter_epoch(derive(self.spec.seed, "mask batch"))
        return next(islice(batches, number % len(self.batches), None))

    # Masks -----------------------------------------------------------------------------------------------------------

    @property
    def masks(self) -> Masks:
        return self.masked_params.masks

    @property
    def density(self) -> float:
        """Fraction of the maskable weights that is there, from the counts at hand: nothing waits for the device."""
        return sum(self.masked_params.counts.values()) / self.masks.size

    def validated_masks(self, masks: Masks, step: int) -> Masks:
        """The masks in force from ``step`` on (-1: before the first), on this device, if they are what was asked."""
        masks = Masks({name: mask.to(self.device) for name, mask in masks.items()})
        sparsifier = self.sparsifier
        asked = sparsifier.num_active_at(masks.size, step, self.spec, self.timeline)
        found = sum(masks.counts().values())
        if list(masks) != list(self.weights) or abs(found - asked) > sparsifier.count_tolerance(masks.size, self.spec):
            raise AssertionError(f"{sparsifier.name} left {found} weights before step {step}, not {asked}")
        return masks

    def _count_flops(self) -> None:
        """What a sample costs at the densities in force: a forward pass, and a training step."""
        self.forward_flops = forward_flops(self.layer_flops, self.masked_params.densities)
        gradients = self.masked_params.gradient_densities
        if self.sparsifier.needs_every_gradient and self.sparsifier.needs_dense_gradients:
            gradients = dict.fromkeys(gradients, 1.0)
        # Some of a step's passes compute the gradients of weights: of those that need one, which may be more.
        self.step_flops = self._passes(weight_pass=forward_flops(self.layer_flops, gradients))

    def _passes(self, weight_pass: float) -> float:
        """Operations of the objective on one sample, where computing the gradients of weights costs ``weight_pass``."""
        objective = self.loss_fn
        return (
            objective.forward_equivalents - objective.weight_gradient_passes
        ) * self.forward_flops + objective.weight_gradient_passes * weight_pass

    def _update_context(
        self, step: int, batch: tuple[torch.Tensor, torch.Tensor], noise: torch.Tensor
    ) -> UpdateContext:
        return UpdateContext(
            self.spec,
            step,
            self.timeline,
            self.masked_params.dense_values(),
            derive(self.spec.seed, "masks", step),
            lambda: self._dense_gradients(*batch, noise),
            self.masked_params.momenta,
            self.sparsifier_state,
        )

    def _update_masks(self, moment: UpdateContext) -> None:
        with phase("update"):
            self.masked_params.set_masks(self.validated_masks(self.sparsifier.update(self.masks, moment), moment.step))
            self._count_flops()

    def _dense_gradients(self, images: torch.Tensor, labels: torch.Tensor, noise: torch.Tensor) -> Tensors:
        """The gradient of a batch's loss with respect to every maskable weight; the network stays as it is."""
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        loss, _ = self.loss_fn.loss(self.network, images, labels, noise)
        gradients = torch.autograd.grad(loss, list(self.weights.values()))
        for name, buffer in self.model.named_buffers():
            buffer.copy_(buffers[name])
        dense = sum(self.layer_flops.values())
        self.train_flops += self._passes(dense) * len(labels)
        return {name: gradient.contiguous() for name, gradient in zip(self.weights, gradients, strict=True)}

    # Training --------------------------------------------------------------------------------------------------------

    def train_epoch(self) -> EpochMetrics:
        """Train one epoch and, where it is due, evaluate; :class:`DivergedError` if the loss is not finite."""
        began = time.perf_counter()
        lr = self.spec.recipe.learning_rate(self.epoch)
        self.runner.lr.fill_(lr)
        self.model.train()
        # [sum of losses, hits], added up on the device: reading a number would stop the host until the device is done.
        totals = torch.zeros(2, device=self.device)
        first, end = self.timeline.first_step(self.epoch), self.timeline.first_step(self.epoch + 1)
        step = first
        attack = derive(self.spec.seed, "attack", self.epoch, device=self.device)
        for batch in iterate_phase("data", self.batches.stream(first, end, partial(derive, self.spec.seed, "batches"))):
            noise = self.loss_fn.draw_noise(batch[0], attack)
            if step in self.update_steps:
                self._update_masks(self._update_context(step, batch, noise))
            totals += self.train_step(*batch, noise, step)
            self.train_flops += self.step_flops * len(batch[1])
            step += 1
        if step == self.timeline.steps and step in self.update_steps:
            self._update_masks(self._update_context(step, batch, self.loss_fn.draw_noise(batch[0], attack)))
        loss, accuracy = (totals / (self.batches.samples_in(end) - self.batches.samples_in(first))).tolist()
        self.train_seconds += time.perf_counter() - began
        self.epoch += 1
        if not loss < float("inf"):
            raise DivergedError(f"the training loss is {loss} in epoch {self.epoch}")
        with phase("evaluation"):
            judged = self.evaluate()
        seconds = time.perf_counter() - began
        record = EpochMetrics(self.epoch, lr, loss, accuracy, density=self.density, seconds=seconds, **judged)
        self.history.append(record)
        return record

    def train_step(self, images: torch.Tensor, labels: torch.Tensor, noise: torch.Tensor, step: int) -> torch.Tensor:
        """One optimiser step on one batch; returns [sum of losses, hits] on the device, to be read before the next."""
        sparsifier, watch = self.sparsifier, None
        if sparsifier.needs_every_gradient:
            watch = partial(sparsifier.on_gradients, self._update_context(step, (images, labels), noise))
        with phase("step"):
            return self.runner.run_step(partial(self._step, watch=watch), images, labels, noise)

    def _step(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        noise: torch.Tensor,
        watch: Callable[[Tensors], None] | None,
    ) -> torch.Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        with phase("forward"):
            loss, logits = self.loss_fn.loss(self.runner.training_network, images, labels, noise)
        with phase("backward"):
            loss.backward()
        if watch is not None:
            watch(dict(zip(self.weights, self.masked_params.gradients(), strict=True)))
        with phase("mask"):
            self.masked_params.step()
        return torch.stack([loss.detach() * len(labels), (logits.detach().argmax(1) == labels).sum()])

    # Evaluation ------------------------------------------------------------------------------------------------------

    def accuracy(self, images: torch.Tensor, labels: torch.Tensor) -> float:
        """Share of uint8 ``images`` that the network knows, in [0, 1]."""
        return (self.network.logits(images).argmax(1) == labels).double().mean().item()

    def fit_accuracy(self) -> float:
        """Accuracy on the network's own training samples, in evaluation mode and without augmentation, in [0, 1]."""
        return self.accuracy(self.data.train_images[self.indices], self.data.train_labels[self.indices])

    def evaluate(self) -> dict[str, float | None]:
        """The accuracies that are due after this epoch, by column; ``test_accuracy`` is None where none is."""
        last = self.epoch == self.spec.recipe.epochs
        data, difficulty = self.data, self.difficulty
        judged: dict[str, float | None] = {"test_accuracy": None}
        if last or self.epoch % self.spec.evaluation.every == 0:
            judged["clean_accuracy"] = self.accuracy(data.test_images, data.test_labels)
            if data.corrupted_images is not None:
                judged["corrupted_accuracy"] = self.accuracy(data.corrupted_images, data.test_labels)
            if len(data.validation_labels):
                judged["validation_accuracy"] = self.accuracy(data.validation_images, data.validation_labels)
            judged["test_accuracy"] = judged[f"{difficulty.eval_images}_accuracy"]
        if difficulty.should_attack(self.epoch, last):
            self.model.eval()
            attacked = data.test_images
            if difficulty.eval_images == "corrupted" and data.corrupted_images is not None:
                attacked = data.corrupted_images
            judged |= difficulty.robust_accuracies(self.network, attacked, data.test_labels, self.spec.seed, last)
        return judged

    @property
    def mask_updates(self) -> int:
        """Times that the masks were changed so far, those before the first epoch left out."""
        start = self.timeline.first_step(self.epoch - len(self.history))
        end = self.timeline.first_step(self.epoch)
        return sum(start <= step < end or step == end == self.timeline.steps for step in self.update_steps)

    @property
    def num_images(self) -> int:
        """Training images so far, those that a prerequisite trained left out."""
        start = self.timeline.first_step(self.epoch - len(self.history))
        return self.batches.samples_in(self.timeline.first_step(self.epoch)) - self.batches.samples_in(start)

    # State -----------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that decides how training goes on, as tensors and plain values."""
        return {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "topology": self.masked_params.state(),
            "memory": self.sparsifier_state,
            "train_flops": self.train_flops,
            "train_seconds": self.train_seconds,
            "history": [vars(epoch) for epoch in self.history],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state` was taken."""
        self.model.load_state_dict(state["model"])
        self.runner.restore(state["optimizer"])
        self.epoch = state["epoch"]
        self.masked_params.restore(to_device(self.device, state["topology"]))
        # The masks are those of the last step: an update that is due just before the next one is still to come.
        self.validated_masks(self.masks, self.timeline.first_step(self.epoch) - 1)
        self._count_flops()
        self.sparsifier_state = to_device(self.device, state["memory"])
        self.train_flops = state["train_flops"]
        self.train_seconds = state["train_seconds"]
        self.history = [EpochMetrics(**epoch) for epoch in state["history"]]


def to_device(device: torch.device, value: Any) -> Any:
    """Tensors in nested dicts, moved to ``device``."""
    if isinstance(value, dict):
        return {key: to_device(device, part) for key, part in value.items()}
    return value.to(device)
