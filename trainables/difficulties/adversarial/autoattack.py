"""AutoAttack as a second opinion on robustness: four attacks without parameters, which seldom leave PGD's verdict.

Croce & Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks", ICML
2020, in its standard version. It costs thousands of forward passes an image that withstands it. The package
``pyautoattack`` comes with the extra ``sparsweep[attack]``.
"""

from __future__ import annotations

from importlib.util import find_spec

from sparsweep.trainables.difficulties.adversarial.pgd import BATCH_NORM_MODES, temporarily_set
from sparsweep.trainables.lazy import torch
from sparsweep.trainables.pipeline.device_data import to_float
from sparsweep.trainables.pipeline.network import EVALUATION_BATCH, AutocastNetwork

CLASSES = 10
"""Fewest classes that the standard version can do with: two of its attacks aim at the nine likeliest wrong ones."""

NAMES = {"linf": "Linf", "l2": "L2"}


def require() -> None:
    """ModuleNotFoundError if AutoAttack is not installed here."""
    if find_spec("pyautoattack") is None:
        raise ModuleNotFoundError("autoattack: needs the package pyautoattack: pip install 'sparsweep[attack]'")


def autoattack_accuracy(
    network: AutocastNetwork, images: torch.Tensor, labels: torch.Tensor, norm: str, epsilon: float, seed: int
) -> float:
    """Share of uint8 ``images`` that the network knows, and knows still after AutoAttack, in [0, 1]."""
    from pyautoattack import AutoAttack

    device = images.device
    # It seeds and draws from torch's global generators; nothing else of a run may depend on that.
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        BATCH_NORM_MODES["eval"](network.module),
        temporarily_set(network.module.parameters(), "requires_grad", False),
    ):
        attack = AutoAttack(network, norm=NAMES[norm], eps=epsilon, seed=seed, device=device)
        _, predicted = attack.run_standard_evaluation(to_float(images), labels, batch_size=EVALUATION_BATCH)
    return (predicted == labels).double().mean().item()
