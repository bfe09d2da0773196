"""Projected gradient descent (PGD): images near given ones on which a network does as badly as can be found.

Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018. From a random place within
``epsilon`` of the image x,

    x' <- clip(x + project(x' + step_size * d - x)),    d = argmax <d, grad L(x')> over ||d|| <= 1,

where ``project`` takes a perturbation to the nearest one of norm ``epsilon`` or less, and ``clip`` pixels to [0, 1].
For L-infinity d is the sign of the gradient, for L2 the gradient over its length. ``epsilon`` and ``step_size`` are in
units of pixels in [0, 1]: images are attacked as a network is given them, augmented and not yet normalised.

The order (start, clip; step, project, clip) is that of advertorch, with which the paper's authors attack in
L-infinity. In L2, which they do not use, advertorch clips before it projects (both orders end in the ball and in
[0, 1]) and starts from uniform pixels projected on the ball, so nearly always from its surface; here the start is
uniform in the ball.

Gradients are those of the summed loss, so that a sample's does not depend on the size of its batch, and with respect
to the images alone: those of parameters are not computed (the authors' evaluation computes and drops them, defect
D14). They have the precision that the network trains in: under bf16 a pixel whose gradient is all but zero may get the
other sign than under fp32.
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
"""What an attack drives up: a scalar of the logits [B, classes], summed over samples."""


class Norm(ABC):
    """A way to measure perturbations, which are float32 [B, C, H, W], each sample by itself."""

    @abstractmethod
    def uniform(self, shape: torch.Size, epsilon: float, generator: torch.Generator) -> torch.Tensor:
        """Perturbations of ``shape``, uniform in the ball of radius ``epsilon``, on the device of ``generator``."""

    @abstractmethod
    def ascent_direction(self, gradient: torch.Tensor) -> torch.Tensor:
        """The perturbations of norm 1 along which the loss rises fastest; zero where ``gradient`` is zero."""

    @abstractmethod
    def project(self, perturbation: torch.Tensor, epsilon: float) -> torch.Tensor:
        """The nearest perturbations in the ball of radius ``epsilon``."""


class LInf(Norm):
    """The largest change of a pixel."""

    def uniform(self, shape: torch.Size, epsilon: float, generator: torch.Generator) -> torch.Tensor:
        return torch.empty(shape, device=generator.device).uniform_(-epsilon, epsilon, generator=generator)

    def ascent_direction(self, gradient: torch.Tensor) -> torch.Tensor:
        return gradient.sign()

    def project(self, perturbation: torch.Tensor, epsilon: float) -> torch.Tensor:
        return perturbation.clamp(-epsilon, epsilon)


class L2(Norm):
    """The Euclidean length of a sample's change, over all its pixels and channels."""

    def uniform(self, shape: torch.Size, epsilon: float, generator: torch.Generator) -> torch.Tensor:
        # The volume within radius r grows as r to the number of pixels.
        direction = torch.empty(shape, device=generator.device).normal_(generator=generator)
        radius = torch.empty(shape[0], 1, 1, 1, device=generator.device).uniform_(generator=generator)
        return self.ascent_direction(direction) * (epsilon * radius ** (1 / shape[1:].numel()))

    def ascent_direction(self, gradient: torch.Tensor) -> torch.Tensor:
        # The largest entry becomes 1 before anything is squared: gradients of a network that is sure of itself are so
        # small that their squares vanish.
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
    """How far images may be moved (``norm``, ``epsilon``), and how that is searched (``step_size``, ``steps``)."""

    norm: Norm
    epsilon: float
    step_size: float
    steps: int


def random_start(images: torch.Tensor, attack: Attack, generator: torch.Generator) -> torch.Tensor:
    """``images`` moved to a uniformly random place in the ball, then clipped to [0, 1]."""
    return perturb_and_clip(images, attack.norm.uniform(images.shape, attack.epsilon, generator))


def perturb_and_clip(images: torch.Tensor, perturbation: torch.Tensor) -> torch.Tensor:
    """``images`` moved by ``perturbation``, then clipped to [0, 1]."""
    return (images + perturbation).clamp_(0, 1)


def pgd_step(images: torch.Tensor, adversarial: torch.Tensor, gradient: torch.Tensor, attack: Attack) -> torch.Tensor:
    """``adversarial`` one step up the ``gradient``, back in the ball around ``images``, then in [0, 1]."""
    perturbation = (adversarial - images).add_(attack.norm.ascent_direction(gradient), alpha=attack.step_size)
    return perturb_and_clip(images, attack.norm.project(perturbation, attack.epsilon))


def input_gradient(network: AutocastNetwork, images: torch.Tensor, loss: AttackLoss) -> torch.Tensor:
    """The gradient of ``loss`` with respect to ``images``, alone."""
    inputs = images.detach().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(loss(network(inputs)), inputs)[0]


def pgd(
    network: AutocastNetwork, images: torch.Tensor, start: torch.Tensor, attack: Attack, loss: AttackLoss
) -> torch.Tensor:
    """Images within ``attack.epsilon`` of ``images``, found from ``start``, on which ``loss`` is large.

    ``images`` and ``start``: float32 [B, C, H, W], ``images`` in [0, 1], as is the result, which has no graph. The
    network runs in the mode that it is in (see :data:`BATCH_NORM_MODES`); nothing waits for the device.
    """
    adversarial = start
    with temporarily_set(network.module.parameters(), "requires_grad", False):
        for _ in range(attack.steps):
            adversarial = pgd_step(images, adversarial, input_gradient(network, adversarial, loss), attack)
    return adversarial


def summed_cross_entropy(labels: torch.Tensor) -> AttackLoss:
    """The loss that an attack on classification drives up."""
    return lambda logits: functional.cross_entropy(logits, labels, reduction="sum")


def correct_under_attack(
    network: AutocastNetwork,
    images: torch.Tensor,
    labels: torch.Tensor,
    attack: Attack,
    generators: Sequence[torch.Generator],
) -> torch.Tensor:
    """Which samples the network knows, and knows still after attacks from starts of all ``generators``: bool [N].

    ``images``: uint8 [N, C, H, W]. The last image of an attack decides, as in the paper. Every generator draws a start
    for every sample, so that networks are compared from the same starts, but samples that are lost already are not
    attacked any more. The network runs, and is left, in evaluation mode.
    """
    survived = []
    with BATCH_NORM_MODES["eval"](network.module):
        for part, truth in zip(images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True):
            inputs = to_float(part)
            standing = _known(network, inputs, truth)
            for generator in generators:
                starts = random_start(inputs, attack, generator)
                left = standing.nonzero().squeeze(1)
                if len(left):
                    loss = summed_cross_entropy(truth[left])
                    adversarial = pgd(network, inputs[left], starts[left], attack, loss)
                    standing[left] = _known(network, adversarial, truth[left])
            survived.append(standing)
    return torch.cat(survived)


@no_grad
def _known(network: AutocastNetwork, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return network(images).argmax(1) == labels


# What batch norms do during an attack ---------------------------------------------------------------------------------


@contextmanager
def temporarily_set(owners: Iterable[object], attribute: str, value: object) -> Iterator[None]:
    """``attribute`` of all ``owners`` is ``value`` inside; afterwards each has its own again, whatever happened."""
    before = [(owner, getattr(owner, attribute)) for owner in owners]
    try:
        for owner, _ in before:
            setattr(owner, attribute, value)
        yield
    finally:
        for owner, own in before:
            setattr(owner, attribute, own)


def _as_it_is(module: nn.Module) -> AbstractContextManager[None]:
    return nullcontext()


def _evaluating(module: nn.Module) -> AbstractContextManager[None]:
    return temporarily_set(module.modules(), "training", False)


def _without_tracking(module: nn.Module) -> AbstractContextManager[None]:
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    return temporarily_set(norms, "track_running_stats", False)


BATCH_NORM_MODES: dict[str, Callable[[nn.Module], AbstractContextManager[None]]] = {
    "eval": _evaluating,
    "train": _as_it_is,
    "train_frozen": _without_tracking,
}
"""How a network in training mode is attacked.

``eval``: by its running statistics, as it is judged; ``train``: by the attacked batch's statistics, and every forward
pass of the attack moves the running ones; ``train_frozen``: by the batch's, the running ones untouched.
"""
