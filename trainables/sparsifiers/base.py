"""Base class of all sparsifiers, and the contexts that a sparsifier reads.

A sparsifier is a frozen value that returns masks. The optimizer and the training loop belong to the trainer.

Most methods combine scores, a distribution of layer densities and a schedule (see ``masks``, ``specs.distributions``
and ``specs.timeline``). A new method is one file in this folder with one registered class. Sweeps, figures and contract
tests find the class by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

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

StateDict: TypeAlias = "Mapping[str, torch.Tensor]"
"""Mapping from name to tensor, as a network's ``state_dict`` returns."""


@dataclass(frozen=True)
class InitContext:
    """Inputs of a sparsifier before training.

    Attributes:
        spec: Trial that is trained.
        model: Network on its device, at its initial weights or at :meth:`Sparsifier.parent_state` if the method has
            one.
        generator: Random numbers for masks only.
        mask_batch: ``mask_batch(k)`` returns augmented batch k of an epoch that is drawn for masks only: images,
            float32 ``(B, C, H, W)``, and labels, int64 ``(B,)``. The default is k = 0. After the last batch the first
            one follows. Equal calls return equal batches.
        load_parent_state: ``load_parent_state(spec)`` returns the final state of a prerequisite.
    """

    spec: TrialSpec
    model: nn.Module
    generator: torch.Generator
    mask_batch: Callable[..., tuple[torch.Tensor, torch.Tensor]]
    load_parent_state: Callable[[RunSpec], StateDict]

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """Maskable weights by name, detached."""
        return {name: weight.detach() for name, weight in maskable(self.model).items()}

    @property
    def num_active(self) -> int:
        """Number of active weights at the trial's sparsity."""
        return num_active(sum(weight.numel() for weight in self.weights.values()), self.spec.sparsity)

    def layer_counts(self, distribution: Callable[[distributions.Shapes, float], dict[str, float]]) -> dict[str, int]:
        """Return the number of active weights of each layer under ``distribution``.

        Args:
            distribution: Function of layer shapes and total density that returns layer densities.

        Returns:
            Counts by layer name. Their sum is exactly :attr:`num_active`.
        """
        shapes = {name: tuple(weight.shape) for name, weight in self.weights.items()}
        size = sum(weight.numel() for weight in self.weights.values())
        return distributions.allocate(shapes, distribution(shapes, self.num_active / size), self.num_active)


def _unavailable() -> Tensors:
    """Raise LookupError: there is no training here."""
    raise LookupError("gradients and momenta are not available outside training")


@dataclass(frozen=True)
class UpdateContext:
    """Inputs of a sparsifier just before training step ``step``.

    Attributes:
        spec: Trial that is trained.
        step: Step that follows, counted from 0.
        timeline: Length of the training in steps and epochs.
        weights: Current weights by name, detached. Masked weights are zero, or their last value for latent parameters.
        generator: Random numbers for this step's masks.
        dense_gradients: Returns the dense gradient of the next batch's loss at ``weights``, in the same order. One call
            costs one forward and one backward pass, which are counted. The network does not change.
        momenta: Returns the momentum buffers of the optimizer.
        state: Tensors from :meth:`Sparsifier.init_state`. They persist between updates and in checkpoints.
    """

    spec: TrialSpec
    step: int
    timeline: TrainingSteps
    weights: Mapping[str, torch.Tensor]
    generator: torch.Generator
    dense_gradients: Callable[[], Tensors] = _unavailable
    momenta: Callable[[], Tensors] = _unavailable
    state: Tensors = field(default_factory=dict)


class Sparsifier(SparsifierSpec):
    """Method that selects the active weights of a network."""

    label: ClassVar[str] = ""
    """Label of the method in figures. Empty: its name. The figures define the labels of this package's methods."""
    color: ClassVar[str] = ""
    """Color of the method in figures, as ``#rrggbb``. Empty: a color derived from its name."""
    interval_field: ClassVar[str] = "update_every"
    """Name of the field that sets the interval between two mask updates."""
    needs_every_gradient: ClassVar[bool] = False
    """Whether the trainer calls :meth:`on_gradients` in every step."""
    needs_dense_gradients: ClassVar[bool] = True
    """Whether :meth:`on_gradients` reads gradients of untrained weights. These gradients cost operations."""

    def check(self, spec: TrialSpec) -> None:
        """Check that the method can train ``spec``.

        Raises:
            SpecError: The method cannot train at this sparsity, or with these settings.
        """
        if spec.sparsity == 0:
            raise SpecError("sparsity", f"{self.name} needs a value in (0, 1) (got 0). Use 'dense' for sparsity 0.")

    def check_updates(self, spec: TrialSpec) -> None:
        """Check that a dynamic method updates its masks at least once.

        Sweep files must pass this check. A spec need not pass: results of older trials stay readable.

        Raises:
            SpecError: The training is too short for one mask update.
        """
        if self.dynamic and not self.update_steps(timeline_of(spec)):
            problem = f"{self.name} never changes its masks in {spec.recipe.epochs} epochs"
            interval = getattr(self, self.interval_field)
            raise SpecError(
                f"sparsifier.{self.interval_field}", f"{problem} (got {interval:g}). Lower it, or raise recipe.epochs."
            )

    @property
    def dynamic(self) -> bool:
        """Whether the masks change during training."""
        return type(self).update is not Sparsifier.update

    def parent_state(self, start: InitContext) -> StateDict | None:
        """Return the weights and buffers to start from, or None for the trial's own initial weights."""
        return None

    def initialize(self, start: InitContext) -> Masks:
        """Return the masks before the first step."""
        raise NotImplementedError

    def initial_flops(self, dense: float, batch_size: int) -> float:
        """Return the operations that :meth:`initialize` costs.

        Args:
            dense: Operations of one image's forward pass through the dense network.
            batch_size: Images per batch.
        """
        return 0.0

    def masked_params(self, weights: Tensors, optimizer: torch.optim.Optimizer, masks: Masks) -> MaskedParams:
        """Return the object that masks weights, gradients and momenta during training."""
        return MaskedParams(weights, optimizer, masks)

    def init_state(self, start: InitContext) -> Tensors:
        """Return the tensors that the method keeps during training, on the device of the weights."""
        return {}

    def on_gradients(self, context: UpdateContext, gradients: Tensors) -> None:
        """Process the gradients after every backward pass if :attr:`needs_every_gradient` is set.

        Args:
            context: Inputs of this step.
            gradients: Dense gradients by name. The method may change them in place.
        """

    def update_steps(self, timeline: TrainingSteps) -> Collection[int]:
        """Return the steps in [0, timeline.steps] before which :meth:`update` runs. The last one is after training."""
        return ()

    def update(self, masks: Masks, context: UpdateContext) -> Masks:
        """Return the new masks.

        The trainer sets dropped weights and their momenta to zero. Grown weights start at zero. With latent parameters,
        grown weights start at their last value instead.

        Args:
            masks: Current masks.
            context: Inputs of this update.
        """
        raise NotImplementedError

    def sparsity_at(self, step: int, spec: TrialSpec, timeline: TrainingSteps) -> float:
        """Return the target sparsity from just before ``step`` until the next update.

        Args:
            step: Training step, counted from 0.
            spec: Trial that is trained.
            timeline: Length of the training.
        """
        return spec.sparsity

    def num_active_at(self, total: int, step: int, spec: TrialSpec, timeline: TrainingSteps) -> int:
        """Return the target number of active weights from just before ``step`` until the next update.

        Args:
            total: Number of maskable weights.
            step: Training step, counted from 0.
            spec: Trial that is trained.
            timeline: Length of the training.
        """
        return num_active(total, self.sparsity_at(step, spec, timeline))

    def count_tolerance(self, total: int, spec: TrialSpec) -> int:
        """Return the allowed deviation from :meth:`num_active_at`: 0, except for Bernoulli masks.

        Args:
            total: Number of maskable weights.
            spec: Trial that is trained.
        """
        return 0


class MaskedSparsifier(Sparsifier):
    """Sparse method with a choice between masked and dense gradients."""

    dense_gradients: bool = Field(default=False, description="keep gradients and momenta of masked weights (D7)")

    def masked_params(self, weights: Tensors, optimizer: torch.optim.Optimizer, masks: Masks) -> MaskedParams:
        return (DenseMomentumParams if self.dense_gradients else MaskedParams)(weights, optimizer, masks)


sparsifiers: Registry[Sparsifier] = Registry("sparsifier")


def timeline_of(spec: TrialSpec) -> TrainingSteps:
    """Return the length of the training of ``spec``, without loading its data."""
    return TrainingSteps(spec.recipe.epochs, spec.epoch_steps, spec.recipe.steps)


def layer_shapes(model: ModelSpec, dataset: DatasetSpec) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the maskable weights by name, in network order, without building the network."""
    return {layer.name: layer.shape for layer in layers_of(model, dataset)}


def dense_counterpart(spec: TrialSpec) -> TrialSpec:
    """Return ``spec`` with the dense network: the parent of LTH and OMP, and the dense point of figures."""
    return spec.replace(sparsifier="dense", sparsity=0.0)
