"""Projected gradient descent (PGD): an attack that finds nearby images with a high loss.

Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018. From a random start within
``epsilon`` of the image x,

        x' <- clip(x + project(x' + step_size * d - x)),    d = argmax <d, grad L(x')> over ||d|| <= 1,

where ``project`` maps a perturbation to the nearest one with norm ``epsilon`` or less, and ``clip`` maps pixels to [0,
1]. For L-infinity d is the sign of the gradient, for L2 the gradient divided by its length. ``epsilon`` and
``step_size`` refer to pixels in [0, 1]. Images are attacked at the input of the network: augmented, not yet normalized.

The order (start, clip; step, project, clip) is that of advertorch, which the paper's authors use for L-infinity
attacks. The authors do not use L2. There, advertorch clips before it projects (both orders end in the ball and in [0,
1]). It starts from uniform pixels projected on the ball, hence nearly always from its surface. Here the start is
uniform in the ball.

Gradients are those of the summed loss: the gradient of a sample does not depend on the batch size. Only gradients of
the images are computed (the authors' evaluation also computes those of parameters and drops them, defect D14).
Gradients have the precision of the training. Under bf16 a pixel with a gradient near zero may get the other sign than
under fp32.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TypeAlias

from sparsweep.trainables.lazy import functional, nn, no_grad, torch
from sparsweep.trainables.pipeline.device_data import to_float
from sparsweep.trainables.pipeline.network import EVALUATION_BATCH, AutocastNetwork

AttackLoss: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"
"""Loss that an attack maximizes: a scalar function of the logits ``(B, classes)``, summed over samples."""


class Norm(ABC):
    """Norm of perturbations, float32 ``(B, C, H, W)``, per sample."""

    @abstractmethod
    def uniform(self, shape: torch.Size, epsilon: float, generator: torch.Generator) -> torch.Tensor:
        """Draw perturbations uniformly in the ball of radius ``epsilon``.

        Args:
            shape: Shape of the perturbations.
            epsilon: Radius of the ball.
            generator: Generator of the draw. Its device is that of the result.
        """

    @abstractmethod
    def ascent_direction(self, gradient: torch.Tensor) -> torch.Tensor:
        """Return the perturbations of norm 1 with the steepest ascent, or zero where ``gradient`` is zero."""

    @abstractmethod
    def project(self, perturbation: torch.Tensor, epsilon: float) -> torch.Tensor:
        """Return the nearest perturbations in the ball of radius ``epsilon``.

        Args:
            perturbation: Perturbations to project.
            epsilon: Radius of the ball.
        """


class LInf(Norm):
    """Maximum change of any pixel."""

    def uniform(self, shape: torch.Size, epsilon: float, generator: torch.Generator) -> torch.Tensor:
        return torch.empty(shape, device=generator.device).uniform_(-epsilon, epsilon, generator=generator)

    def ascent_direction(self, gradient: torch.Tensor) -> torch.Tensor:
        return gradient.sign()

    def project(self, perturbation: torch.Tensor, epsilon: float) -> torch.Tensor:
        return perturbation.clamp(-epsilon, epsilon)


class L2(Norm):
    """Euclidean length of the change of a sample, over all pixels and channels."""

    def uniform(self, shape: torch.Size, epsilon: float, generator: torch.Generator) -> torch.Tensor:
        # The volume within radius r is proportional to r to the power of the number of pixels.
        direction = torch.empty(shape, device=generator.device).normal_(generator=generator)
        radius = torch.empty(shape[0], 1, 1, 1, device=generator.device).uniform_(generator=generator)
        return self.ascent_direction(direction) * (epsilon * radius ** (1 / shape[1:].numel()))

    def ascent_direction(self, gradient: torch.Tensor) -> torch.Tensor:
        # Scale the largest entry to 1 first: gradients of a confident network are very small, and their squares
        # would underflow.
        largest = gradient.abs().amax((1, 2, 3), keepdim=True)
        scaled = gradient / largest.clamp(min=torch.finfo(gradient.dtype).tiny)
        return scaled / _length(scaled).clamp(min=1)

    def project(self, perturbation: torch.Tensor, epsilon: float) -> torch.Tensor:
        return perturbation * (epsilon / _length(perturbation)).clamp(max=1)


def _length(perturbation: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(perturbation, dim=(1, 2, 3), keepdim=True)


NORMS: dict[str, Norm] = {"linf": LInf(), "l2": L2()}


@dataclass(frozen=True)
class Attack:
    """Parameters of an attack.

    Attributes:
        norm: Norm of perturbations.
        epsilon: Maximum norm of a perturbation.
        step_size: Norm of one step.
        steps: Number of steps.
    """

    norm: Norm
    epsilon: float
    step_size: float
    steps: int


def random_start(images: torch.Tensor, attack: Attack, generator: torch.Generator) -> torch.Tensor:
    """Return ``images`` plus a uniform perturbation in the ball, clipped to [0, 1].

    Args:
        images: float32 ``(B, C, H, W)`` in [0, 1].
        attack: Parameters of the attack.
        generator: Generator of the draw.
    """
    return perturb_and_clip(images, attack.norm.uniform(images.shape, attack.epsilon, generator))


def perturb_and_clip(images: torch.Tensor, perturbation: torch.Tensor) -> torch.Tensor:
    """Return ``images`` plus ``perturbation``, clipped to [0, 1].

    Args:
        images: float32 ``(B, C, H, W)`` in [0, 1].
        perturbation: Tensor with the shape of ``images``.
    """
    return (images + perturbation).clamp_(0, 1)


def pgd_step(images: torch.Tensor, adversarial: torch.Tensor, gradient: torch.Tensor, attack: Attack) -> torch.Tensor:
    """Take one step along the gradient, project it to the ball around ``images``, and clip it to [0, 1].

    Args:
        images: float32 ``(B, C, H, W)`` in [0, 1].
        adversarial: Current attacked images.
        gradient: Gradient of the loss at ``adversarial``.
        attack: Parameters of the attack.
    """
    perturbation = (adversarial - images).add_(attack.norm.ascent_direction(gradient), alpha=attack.step_size)
    return perturb_and_clip(images, attack.norm.project(perturbation, attack.epsilon))


def input_gradient(network: AutocastNetwork, images: torch.Tensor, loss: AttackLoss) -> torch.Tensor:
    """Return the gradient of ``loss`` with respect to ``images`` only.

    Args:
        network: Network to attack.
        images: float32 ``(B, C, H, W)``.
        loss: Loss of the attack.
    """
    inputs = images.detach().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(loss(network(inputs)), inputs)[0]


def pgd(
    network: AutocastNetwork, images: torch.Tensor, start: torch.Tensor, attack: Attack, loss: AttackLoss
) -> torch.Tensor:
    """Return images within ``attack.epsilon`` of ``images`` with a high loss.

    The network runs in its current mode (see :data:`BATCH_NORM_MODES`). The host does not synchronize with the device.

    Args:
        network: Network to attack.
        images: float32 ``(B, C, H, W)`` in [0, 1].
        start: float32 ``(B, C, H, W)``, first attacked images.
        attack: Parameters of the attack.
        loss: Loss of the attack.

    Returns:
        float32 ``(B, C, H, W)`` in [0, 1], without a graph.
    """
    adversarial = start
    with temporarily_set(network.module.parameters(), "requires_grad", False):
        for _ in range(attack.steps):
            adversarial = pgd_step(images, adversarial, input_gradient(network, adversarial, loss), attack)
    return adversarial


def summed_cross_entropy(labels: torch.Tensor) -> AttackLoss:
    """Return the loss of an attack on classification with these labels."""
    return lambda logits: functional.cross_entropy(logits, labels, reduction="sum")


def logits_under_attack(
    network: AutocastNetwork,
    images: torch.Tensor,
    labels: torch.Tensor,
    attack: Attack,
    generators: Sequence[torch.Generator],
) -> torch.Tensor:
    """Return the logits of every sample after an attack from every start.

    A sample that the network misclassifies clean, or after one of the attacks, keeps the logits of that image and is
    not attacked again. Others have the logits of the last attack: a sample is correct only if it withstands all. The
    last image of an attack counts, as in the paper. Every generator draws a start for every sample: all networks
    are attacked from the same starts. The network is left in evaluation mode.

    Args:
        network: Network to attack.
        images: uint8 ``(N, C, H, W)``.
        labels: int64 ``(N,)``.
        attack: Parameters of the attack.
        generators: One generator per restart.

    Returns:
        float32 ``(N, classes)``.
    """
    results = []
    with BATCH_NORM_MODES["eval"](network.module):
        for batch, batch_labels in zip(images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True):
            inputs = to_float(batch)
            logits = _logits(network, inputs)
            for generator in generators:
                starts = random_start(inputs, attack, generator)
                remaining = (logits.argmax(1) == batch_labels).nonzero().squeeze(1)
                if len(remaining):
                    loss = summed_cross_entropy(batch_labels[remaining])
                    adversarial = pgd(network, inputs[remaining], starts[remaining], attack, loss)
                    logits[remaining] = _logits(network, adversarial)
            results.append(logits)
    return torch.cat(results)


@no_grad
def _logits(network: AutocastNetwork, images: torch.Tensor) -> torch.Tensor:
    return network(images)


# Batch norms during an attack -----------------------------------------------------------------------------------------


@contextmanager
def temporarily_set(owners: Iterable[object], attribute: str, value: object) -> Iterator[None]:
    """Set an attribute of all ``owners`` in the enclosed code, then restore the old values, also after an error.

    Args:
        owners: Objects with the attribute.
        attribute: Name of the attribute.
        value: Temporary value.
    """
    old_values = [(owner, getattr(owner, attribute)) for owner in owners]
    try:
        for owner, _ in old_values:
            setattr(owner, attribute, value)
        yield
    finally:
        for owner, old_value in old_values:
            setattr(owner, attribute, old_value)


def _unchanged(module: nn.Module) -> AbstractContextManager[None]:
    return nullcontext()


def _evaluating(module: nn.Module) -> AbstractContextManager[None]:
    return temporarily_set(module.modules(), "training", False)


def _without_tracking(module: nn.Module) -> AbstractContextManager[None]:
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    return temporarily_set(norms, "track_running_stats", False)


BATCH_NORM_MODES: dict[str, Callable[[nn.Module], AbstractContextManager[None]]] = {
    "eval": _evaluating,
    "train": _unchanged,
    "train_frozen": _without_tracking,
}
"""Modes of a network in training mode during an attack.

``eval``: running statistics, as in evaluation. ``train``: statistics of the attacked batch; every forward pass of the
attack updates the running statistics. ``train_frozen``: statistics of the batch; the running statistics do not change.
"""
