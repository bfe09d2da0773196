"""Adversarial training: losses of a network on images that were attacked a moment before.

A forward pass counts 1, a gradient with respect to weights or to inputs 1 each (RigL, appendix H). An attack needs no
gradients of weights: each of its K steps costs 2.

| objective | runs | passes |
|---|---|---|
| PGD | K attack steps; forward and backward on what they found | 2K + 3 |
| FGSM-RS | the same with K = 1 | 5 |
| TRADES | one forward for the attack, K steps; forward and backward on the clean and on the found images | 2K + 7 |
"""

from __future__ import annotations

import torch
from torch.nn import functional

from trainables.attacks import BATCH_NORM, Attack, pgd, random_start, summed_cross_entropy
from trainables.objectives import Network, Objective


class AdversarialTraining(Objective):
    """Cross-entropy on the adversarial images alone (Madry et al., ICLR 2018), as in the paper.

    One step of 1.25 epsilon from a random start is FGSM-RS (Wong et al., "Fast is better than free", ICLR 2020).
    """

    def __init__(self, attack: Attack, batch_norm: str, random_start: bool) -> None:
        self.attack = attack
        self.mode = BATCH_NORM[batch_norm]
        self.random_start = random_start
        self.passes = 2.0 * attack.steps + 3

    def loss(
        self, network: Network, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        start = random_start(images, self.attack, generator) if self.random_start else images
        with self.mode(network.module):
            adversarial = pgd(network, images, start, self.attack, summed_cross_entropy(labels))
        return super().loss(network, adversarial, labels, generator)


NUDGE = 1e-3
"""Deviation of the normal noise from which TRADES starts: at the clean image itself its gradient is zero."""


class Trades(Objective):
    """Clean cross-entropy plus ``beta`` times the divergence that an attack can cause.

    Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy", ICML 2019:

        CE(f(x), y) + beta * max KL(f(x) || f(x')) over x' in the ball.

    Departures from its authors' code, none of which changes the gradient: the clean prediction is computed once before
    the attack and once for the loss (there: once a step and twice), so that batch norms see clean images once a step;
    the start is clipped to [0, 1]. The training accuracy is that on the adversarial images.
    """

    weight_passes = 2.0

    def __init__(self, attack: Attack, batch_norm: str, beta: float) -> None:
        self.attack = attack
        self.mode = BATCH_NORM[batch_norm]
        self.beta = beta
        self.passes = 2.0 * attack.steps + 7

    def loss(
        self, network: Network, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        noise = torch.empty(images.shape, device=images.device).normal_(0, NUDGE, generator=generator)
        with self.mode(network.module):
            with torch.no_grad():
                clean = network(images)
            start = (images + noise).clamp_(0, 1)
            adversarial = pgd(network, images, start, self.attack, lambda logits: divergence(clean, logits))
        loss, clean = super().loss(network, images, labels, generator)
        logits = network(adversarial)
        return loss + self.beta / len(labels) * divergence(clean, logits), logits


def divergence(clean: torch.Tensor, adversarial: torch.Tensor) -> torch.Tensor:
    """KL(softmax(clean) || softmax(adversarial)) of logits [B, classes], summed over samples."""
    return functional.kl_div(adversarial.log_softmax(1), clean.log_softmax(1), reduction="sum", log_target=True)
