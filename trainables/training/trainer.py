"""Training loop: one network, its masks, its optimizer, one epoch after another.

Order of operations within a step: mask update if one is due, forward, backward, masking of the gradients, optimizer
step. Masked gradients and masked initial weights keep masked weights and their momenta exactly zero. The evaluated
network is therefore the trained one. A step has no host synchronization: loss and hits are summed on the device. The
execution of a step on the device (see ``execution``) does not change its results.
"""

from __future__ import annotations

import time
from collections.abc import Callable
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
from sparsweep.trainables.training.evaluation import EpochMetrics, Evaluator
from sparsweep.trainables.training.execution import StepRunnerCache, StepSignature
from sparsweep.trainables.training.flops import forward_flops, layer_flops, loss_flops
from sparsweep.trainables.training.nested_tensors import to_device
from sparsweep.trainables.training.profiler import iterate_phase, phase

__all__ = ["DivergedError", "EpochMetrics", "Trainer", "to_device"]


class DivergedError(ArithmeticError):
    """The loss is not finite: the run has no result."""


class Trainer:
    """State of one training run: the content of its checkpoints and the step from one epoch to the next.

    Args:
        spec: Trial to train.
        data: Data set on the device of the training.
        indices: Indices of the training samples, int64 ``(N,)``.
        load_parent_state: Returns the final state of a prerequisite.
        runner_cache: Runner of the previous training, which must be finished. None creates a new runner.

    Attributes:
        epoch: Finished epochs, including those of a snapshot that the run starts from.
        train_flops: Training operations so far.
        train_seconds: Training time so far, without evaluation.
        forward_flops: Operations of one image's forward pass at the current densities.
        step_flops: Operations of one image's training step at the current densities.
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
        settings = (recipe.batch_size, recipe.crop_padding, recipe.flip, recipe.rotation, recipe.drop_last)
        self.batches = BatchIterator(data.train_images, data.train_labels, self.indices, *settings)
        epoch_steps = len(self.batches) if recipe.steps is None else spec.epoch_steps
        self.timeline = TrainingSteps(recipe.epochs, epoch_steps, recipe.steps)
        self.loss_fn = self.difficulty.loss_fn
        self.runner = (runner_cache or StepRunnerCache()).acquire(StepSignature.of(spec, data), build_model(spec, data))
        self.model, self.network, self.optimizer = self.runner.model, self.runner.network, self.runner.optimizer
        self.evaluator = Evaluator(spec, self.network, data, self.difficulty, self.indices)
        channels, height, width = data.train_images.shape[1:]
        self.layer_flops = layer_flops(self.model, (channels, height, width))
        self.weights = maskable(self.model)
        self.update_steps = frozenset(self.sparsifier.update_steps(self.timeline))
        self.epoch = self.sparsifier.start_epoch(spec)
        self.train_flops = 0.0
        self.train_seconds = 0.0
        self.history: list[EpochMetrics] = []
        self._initialize(load_parent_state)

    def _initialize(self, load_parent_state: Callable[[RunSpec], StateDict]) -> None:
        spec = self.spec
        start = InitContext(spec, self.model, derive(spec.seed, "masks"), self._mask_batch, load_parent_state)
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
        """Current masks."""
        return self.masked_params.masks

    @property
    def density(self) -> float:
        """Fraction of active weights, from counts on the host: no device synchronization."""
        return sum(self.masked_params.counts.values()) / self.masks.size

    def validated_masks(self, masks: Masks, step: int) -> Masks:
        """Return ``masks`` on the training device after a check of names, order and counts.

        Args:
            masks: Masks of the sparsifier.
            step: Step from which the masks apply; -1 is before the first step.

        Raises:
            AssertionError: The masks differ from those that the sparsifier promises.
        """
        masks = Masks({name: mask.to(self.device) for name, mask in masks.items()})
        sparsifier = self.sparsifier
        target = sparsifier.num_active_at(masks.size, step, self.spec, self.timeline)
        actual, tolerance = sum(masks.counts().values()), sparsifier.count_tolerance(masks.size, self.spec)
        if list(masks) != list(self.weights) or abs(actual - target) > tolerance:
            problem = f"masks before step {step} must have {target} active weights, in network order"
            raise AssertionError(f"{sparsifier.name}: {problem} (got {actual}).")
        return masks

    def _count_flops(self) -> None:
        """Count the operations per sample of a forward pass and of a training step at the current densities."""
        self.forward_flops = forward_flops(self.layer_flops, self.masked_params.densities)
        gradients = self.masked_params.gradient_densities
        if self.sparsifier.needs_every_gradient and self.sparsifier.needs_dense_gradients:
            gradients = dict.fromkeys(gradients, 1.0)
        # The passes that compute gradients of weights may include masked weights: gradients can be denser than masks.
        weight_pass = forward_flops(self.layer_flops, gradients)
        self.step_flops = loss_flops(self.loss_fn, self.forward_flops, weight_pass)

    def _update_context(
        self, step: int, batch: tuple[torch.Tensor, torch.Tensor], noise: torch.Tensor
    ) -> UpdateContext:
        params, generator = self.masked_params, derive(self.spec.seed, "masks", step)
        weights, gradients = params.dense_values(), partial(self._dense_gradients, *batch, noise)
        state = self.sparsifier_state
        return UpdateContext(self.spec, step, self.timeline, weights, generator, gradients, params.momenta, state)

    def _update_masks(self, context: UpdateContext) -> None:
        with phase("update"):
            masks = self.sparsifier.update(self.masks, context)
            self.masked_params.set_masks(self.validated_masks(masks, context.step))
            self._count_flops()

    def _dense_gradients(self, images: torch.Tensor, labels: torch.Tensor, noise: torch.Tensor) -> Tensors:
        """Return the gradient of a batch's loss for every maskable weight. The network does not change."""
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        loss, _ = self.loss_fn.loss(self.network, images, labels, noise)
        gradients = torch.autograd.grad(loss, list(self.weights.values()))
        for name, buffer in self.model.named_buffers():
            buffer.copy_(buffers[name])
        self.train_flops += loss_flops(self.loss_fn, self.forward_flops, sum(self.layer_flops.values())) * len(labels)
        return {name: gradient.contiguous() for name, gradient in zip(self.weights, gradients, strict=True)}

    # Training --------------------------------------------------------------------------------------------------------

    def train_epoch(self) -> EpochMetrics:
        """Train one epoch, and evaluate if an evaluation is due.

        Raises:
            DivergedError: The training loss is not finite.
        """
        start_time = time.perf_counter()
        self.model.train()
        # Sum of losses and hits, summed on the device: reading a number would synchronize the host with the device.
        totals = torch.zeros(2, device=self.device)
        first, end = self.timeline.first_step(self.epoch), self.timeline.first_step(self.epoch + 1)
        recipe, step = self.spec.recipe, first
        attack = derive(self.spec.seed, "attack", self.epoch, device=self.device)
        for batch in iterate_phase("data", self.batches.stream(first, end, partial(derive, self.spec.seed, "batches"))):
            self.runner.set_learning_rate(recipe.learning_rate(step, self.timeline))
            noise = self.loss_fn.draw_noise(batch[0], attack)
            if step in self.update_steps:
                self._update_masks(self._update_context(step, batch, noise))
            totals += self.train_step(*batch, noise, step)
            self.train_flops += self.step_flops * len(batch[1])
            step += 1
        if step == self.timeline.steps and step in self.update_steps:
            self._update_masks(self._update_context(step, batch, self.loss_fn.draw_noise(batch[0], attack)))
        loss, accuracy = (totals / (self.batches.samples_in(end) - self.batches.samples_in(first))).tolist()
        self.train_seconds += time.perf_counter() - start_time
        self.epoch += 1
        if not loss < float("inf"):
            raise DivergedError(f"the training loss is {loss} in epoch {self.epoch}")
        with phase("evaluation"):
            accuracies = self.evaluate()
        seconds = time.perf_counter() - start_time
        lr = recipe.learning_rate(first, self.timeline)
        record = EpochMetrics(self.epoch, lr, loss, accuracy, density=self.density, seconds=seconds, **accuracies)
        self.history.append(record)
        return record

    def train_step(self, images: torch.Tensor, labels: torch.Tensor, noise: torch.Tensor, step: int) -> torch.Tensor:
        """Take one optimizer step on one batch.

        Args:
            images: float32 ``(B, C, H, W)`` in [0, 1].
            labels: int64 ``(B,)``.
            noise: Random numbers of the loss.
            step: Training step, counted from 0.

        Returns:
            Sum of losses and number of hits, float32 ``(2,)`` on the device. The next step may overwrite this tensor.
        """
        sparsifier, gradient_hook = self.sparsifier, None
        if sparsifier.needs_every_gradient:
            gradient_hook = partial(sparsifier.on_gradients, self._update_context(step, (images, labels), noise))
        with phase("step"):
            return self.runner.run_step(partial(self._step, gradient_hook=gradient_hook), images, labels, noise)

    def _step(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        noise: torch.Tensor,
        gradient_hook: Callable[[Tensors], None] | None,
    ) -> torch.Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        with phase("forward"):
            loss, logits = self.loss_fn.loss(self.runner.training_network, images, labels, noise)
        with phase("backward"):
            loss.backward()
        if gradient_hook is not None:
            gradient_hook(dict(zip(self.weights, self.masked_params.gradients(), strict=True)))
        with phase("mask"):
            self.masked_params.step()
        return torch.stack([loss.detach() * len(labels), (logits.detach().argmax(1) == labels).sum()])

    # Results ---------------------------------------------------------------------------------------------------------

    def evaluate(self) -> dict[str, float | None]:
        """Return the accuracies that are due after the current epoch (see :meth:`Evaluator.evaluate`)."""
        return self.evaluator.evaluate(self.epoch)

    @property
    def mask_updates(self) -> int:
        """Number of mask updates so far, without those before the first epoch."""
        first = self.timeline.first_step(self.epoch - len(self.history))
        end = self.timeline.first_step(self.epoch)
        return sum(first <= step < end or step == end == self.timeline.steps for step in self.update_steps)

    @property
    def num_images(self) -> int:
        """Number of training images so far, without those of a prerequisite."""
        first = self.timeline.first_step(self.epoch - len(self.history))
        return self.batches.samples_in(self.timeline.first_step(self.epoch)) - self.batches.samples_in(first)

    # State -----------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return the state that determines the rest of the training, as tensors and plain values."""
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
        """Continue from :meth:`state`."""
        self.model.load_state_dict(state["model"])
        self.runner.restore(state["optimizer"])
        self.epoch = state["epoch"]
        self.masked_params.restore(to_device(self.device, state["topology"]))
        # These masks are those of the last step. An update just before the next step has not run yet.
        self.validated_masks(self.masks, self.timeline.first_step(self.epoch) - 1)
        self._count_flops()
        self.sparsifier_state = to_device(self.device, state["memory"])
        self.train_flops = state["train_flops"]
        self.train_seconds = state["train_seconds"]
        self.history = [EpochMetrics(**epoch) for epoch in state["history"]]
