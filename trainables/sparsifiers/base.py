"""What a sparsifier is: a frozen value that returns masks. It owns neither the optimiser nor the loop.

Most are *scores x distribution x schedule*: see ``masks``, ``distributions`` and ``schedules`` beside this file. A new
method is one file here with one registered class; sweeps, figures and contract tests find it by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from pydantic import Field

from sparsweep.trainables.lazy import nn, torch
from sparsweep.trainables.models import layers_of, maskable
from sparsweep.trainables.sparsifiers.masked_params import DenseMomentumParams, MaskedParams, Tensors
from sparsweep.trainables.sparsifiers.masks import Masks, num_active
from sparsweep.trainables.specs import distributions
from sparsweep.trainables.specs.base import Registry, SpecError
from sparsweep.trainables.specs.parts import DatasetSpec, ModelSpec, SparsifierSpec
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.specs.timeline import TrainingSteps
from sparsweep.trainables.specs.trial import TrialSpec

if TYPE_CHECKING:
    pass

StateDict: TypeAlias = "Mapping[str, torch.Tensor]"
"""A network's ``state_dict``."""


@dataclass(frozen=True)
class InitContext:
    """What a sparsifier may look at before training.

    ``model``: the network on its device, at its initial weights (or at ``starting_state`` where that is given);
    ``batch(k)``: the k-th augmented batch of an epoch that is drawn for masks alone (k = 0 if left out; the first again
    after the last), (float32 [B, C, H, W], int64 [B]), the same at every call; ``trained(spec)``: the final state of a
    prerequisite; ``generator``: for masks alone.
    """

    spec: TrialSpec
    model: nn.Module
    generator: torch.Generator
    mask_batch: Callable[..., tuple[torch.Tensor, torch.Tensor]]
    load_parent_state: Callable[[RunSpec], StateDict]

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """The maskable weights, by name, detached."""
        return {name: weight.detach() for name, weight in maskable(self.model).items()}

    @property
    def num_active(self) -> int:
        """How many weights the asked sparsity leaves."""
        return num_active(sum(weight.numel() for weight in self.weights.values()), self.spec.sparsity)

    def layer_counts(self, distribution: Callable[[distributions.Shapes, float], dict[str, float]]) -> dict[str, int]:
        """How many weights each layer keeps under ``distribution``; together exactly ``kept``."""
        shapes = {name: tuple(weight.shape) for name, weight in self.weights.items()}
        size = sum(weight.numel() for weight in self.weights.values())
        return distributions.allocate(shapes, distribution(shapes, self.num_active / size), self.num_active)


def _not_at_hand() -> Tensors:
    raise LookupError("outside training there are no gradients and no momenta")


@dataclass(frozen=True)
class UpdateContext:
    """What a sparsifier may look at just before training step ``step``: the weights as trained so far.

    ``weights``: by name, detached; masked ones are zero, or their last value where the topology keeps it;
    ``gradients()``: the dense gradient of the coming batch's loss at these weights, in the same order (an additional
    forward and backward pass, which is counted; the network is left as it was); ``momenta()``: the optimiser's;
    ``memory``: what :meth:`Sparsifier.memory` began with, kept from one moment to the next and in checkpoints.
    """

    spec: TrialSpec
    step: int
    timeline: TrainingSteps
    weights: Mapping[str, torch.Tensor]
    generator: torch.Generator
    dense_gradients: Callable[[], Tensors] = _not_at_hand
    momenta: Callable[[], Tensors] = _not_at_hand
    state: Tensors = field(default_factory=dict)


class Sparsifier(SparsifierSpec):
    """A method that decides which weights are there."""

    label: ClassVar[str] = ""
    """How figures call the method; empty: its name. Methods of this package have theirs in the figures."""
    color: ClassVar[str] = ""
    """Color of the method in figures, as ``#rrggbb``; empty: one that follows from its name."""
    interval_field: ClassVar[str] = "update_every"
    """Field that says how often the masks change, where they do."""
    needs_every_gradient: ClassVar[bool] = False
    """Whether :meth:`on_gradients` is to be called in every step."""
    needs_dense_gradients: ClassVar[bool] = True
    """Whether :meth:`on_gradients` also reads gradients of weights that are not trained. They cost operations."""

    def check(self, spec: TrialSpec) -> None:
        """ValueError if the method cannot train ``spec``."""
        if spec.sparsity == 0:
            raise SpecError("sparsity", f"{self.name} needs one in (0, 1), got 0; dense is the method without")

    def check_updates(self, spec: TrialSpec) -> None:
        """ValueError if the masks are to change while training, and would not: the method would be another one.

        Sweep files are held to it. A spec is not, so that results of such trials can still be read.
        """
        if self.dynamic and not self.update_steps(timeline_of(spec)):
            why = f"{self.name} would never change its masks in {spec.recipe.epochs} epochs"
            found = getattr(self, self.interval_field)
            raise SpecError(
                f"sparsifier.{self.interval_field}", f"{why} (got {found:g}). Lower it, or raise recipe.epochs."
            )

    @property
    def dynamic(self) -> bool:
        """Whether the masks are to change while training."""
        return type(self).update is not Sparsifier.update

    def parent_state(self, start: InitContext) -> StateDict | None:
        """Weights and buffers to start from; None for the trial's own initial ones."""
        return None

    def initialize(self, start: InitContext) -> Masks:
        """The masks before the first step."""
        raise NotImplementedError

    def initial_flops(self, dense: float, batch_size: int) -> float:
        """Operations that :meth:`initialize` costs; ``dense``: those of one image's forward pass, unmasked."""
        return 0.0

    def masked_params(self, weights: Tensors, optimizer: torch.optim.Optimizer, masks: Masks) -> MaskedParams:
        """What becomes of masked weights, their gradients and momenta while training."""
        return MaskedParams(weights, optimizer, masks)

    def init_state(self, start: InitContext) -> Tensors:
        """Tensors that the method carries through training, on the device of the weights."""
        return {}

    def on_gradients(self, moment: UpdateContext, gradients: Tensors) -> None:
        """After every backward pass, where ``watches``: ``gradients`` are dense and may be changed in place."""

    def update_steps(self, timeline: TrainingSteps) -> Collection[int]:
        """The steps in [0, timeline.steps] just before which :meth:`update` is due (the last: after training)."""
        return ()

    def update(self, masks: Masks, moment: UpdateContext) -> Masks:
        """New masks. The loop zeroes the weights and momenta that they remove; weights that they add start at zero.

        (A topology that keeps the values of masked weights brings those back instead.)
        """
        raise NotImplementedError

    def sparsity_at(self, step: int, spec: TrialSpec, timeline: TrainingSteps) -> float:
        """The sparsity that is asked for from just before ``step`` until the next update."""
        return spec.sparsity

    def num_active_at(self, total: int, step: int, spec: TrialSpec, timeline: TrainingSteps) -> int:
        """How many of ``total`` weights the masks must keep from just before ``step`` until the next update."""
        return num_active(total, self.sparsity_at(step, spec, timeline))

    def count_tolerance(self, total: int, spec: TrialSpec) -> int:
        """By how many weights the masks may miss :meth:`num_active_at`: none, unless each weight is drawn by itself."""
        return 0


class MaskedSparsifier(Sparsifier):
    """A method with masks: what all such have in common."""

    dense_gradients: bool = Field(default=False, description="gradients and momenta of masked weights are kept (D7)")

    def masked_params(self, weights: Tensors, optimizer: torch.optim.Optimizer, masks: Masks) -> MaskedParams:
        return (DenseMomentumParams if self.dense_gradients else MaskedParams)(weights, optimizer, masks)


sparsifiers: Registry[Sparsifier] = Registry("sparsifier")


def timeline_of(spec: TrialSpec) -> TrainingSteps:
    """The length of the training of ``spec``, known without its data."""
    return TrainingSteps(spec.recipe.epochs, spec.epoch_steps, spec.recipe.steps)


def layer_shapes(model: ModelSpec, dataset: DatasetSpec) -> dict[str, tuple[int, ...]]:
    """Shapes of the maskable weights by name, in the order of the network, known without building it."""
    return {layer.name: layer.shape for layer in layers_of(model, dataset)}


def dense_counterpart(spec: TrialSpec) -> TrialSpec:
    """The same trial without sparsity: the dense network that LTH and OMP prune, and the dense point of a figure."""
    return spec.replace(sparsifier="dense", sparsity=0.0)
