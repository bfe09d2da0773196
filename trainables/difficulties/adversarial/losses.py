"""Losses of adversarial training: each loss attacks its batch first.

A forward pass counts 1, a gradient with respect to weights or to inputs 1 each (RigL, appendix H). An attack needs no
gradients of weights: each of its K steps costs 2.

| loss | operations | passes |
|---|---|---|
| PGD | K attack steps; forward and backward on the attacked images | 2K + 3 |
| FGSM-RS | the same with K = 1 | 5 |
| TRADES | one forward for the attack, K steps; forward and backward on clean and attacked images | 2K + 7 |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sparsweep.trainables.difficulties.adversarial.pgd import (
    BATCH_NORM_MODES,
    Attack,
    perturb_and_clip,
    pgd,
    summed_cross_entropy,
)
from sparsweep.trainables.lazy import functional, torch
from sparsweep.trainables.pipeline.losses import TrainingLoss
from sparsweep.trainables.pipeline.network import AutocastNetwork


@dataclass(frozen=True)
class PgdLoss(TrainingLoss):
    """Cross-entropy of the attacked images (Madry et al., ICLR 2018), as in the paper.

    One step of 1.25 epsilon from a random start is FGSM-RS (Wong et al., "Fast is better than free", ICLR 2020).
    """

    supports_cuda_graphs: ClassVar[bool] = True

    attack: Attack
    batch_norm: str
    random_start: bool

    @property
    def forward_equivalents(self) -> float:
        return 2.0 * self.attack.steps + 3

    def draw_noise(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        if not self.random_start:
            return super().draw_noise(images, generator)
        return self.attack.norm.uniform(images.shape, self.attack.epsilon, generator)

    def loss(
        self, network: AutocastNetwork, images: torch.Tensor, labels: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        start = perturb_and_clip(images, noise) if self.random_start else images
        with BATCH_NORM_MODES[self.batch_norm](network.module):
            adversarial = pgd(network, images, start, self.attack, summed_cross_entropy(labels))
        return super().loss(network, adversarial, labels, noise)


INIT_NOISE_STD = 1e-3
"""Standard deviation of the normal noise from which TRADES starts: at the clean image its gradient is zero."""


@dataclass(frozen=True)
class TradesLoss(TrainingLoss):
    """Clean cross-entropy plus ``beta`` times the divergence under attack.

    Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy", ICML 2019:

            CE(f(x), y) + beta * max KL(f(x) || f(x')) over x' in the ball.

    As in its authors' code the start is not clipped to [0, 1], but every step of the attack is.

    Departures:

    - The clean prediction is computed once before the attack and once for the loss (authors: once per step and twice).
      Gradients do not change, but batch norms get clean images once per step.
    - In L2 the attack is that of :func:`pgd` (authors: steps of 2 epsilon / K, clipped before the projection).
    - The training accuracy is that of the attacked images.
    """

    supports_cuda_graphs: ClassVar[bool] = True

    attack: Attack
    batch_norm: str
    beta: float

    @property
    def forward_equivalents(self) -> float:
        return 2.0 * self.attack.steps + 7

    @property
    def weight_gradient_passes(self) -> float:
        return 2.0

    def draw_noise(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return torch.empty(images.shape, device=images.device).normal_(0, INIT_NOISE_STD, generator=generator)

    def loss(
        self, network: AutocastNetwork, images: torch.Tensor, labels: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with BATCH_NORM_MODES[self.batch_norm](network.module):
            with torch.no_grad():
                clean = network(images)
            adversarial = pgd(network, images, images + noise, self.attack, lambda logits: kl_divergence(clean, logits))
        loss, clean = super().loss(network, images, labels, noise)
        logits = network(adversarial)
        return loss + self.beta / len(labels) * kl_divergence(clean, logits), logits


def kl_divergence(clean: torch.Tensor, adversarial: torch.Tensor) -> torch.Tensor:
    """Return KL(softmax(clean) || softmax(adversarial)), summed over samples.

    Args:
        clean: Logits ``(B, classes)`` of clean images.
        adversarial: Logits ``(B, classes)`` of attacked images.
    """
    return functional.kl_div(adversarial.log_softmax(1), clean.log_softmax(1), reduction="sum", log_target=True)
