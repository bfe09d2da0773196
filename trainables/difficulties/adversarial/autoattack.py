"""AutoAttack: a second measure of robustness with four parameter-free attacks, whose result rarely differs from PGD's.

Croce & Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks", ICML
2020, standard version. An image that resists all attacks costs thousands of forward passes. The package
``pyautoattack`` comes with the extra ``sparsweep[attack]``.
"""

from __future__ import annotations

from importlib.util import find_spec

from sparsweep.trainables.difficulties.adversarial.pgd import BATCH_NORM_MODES, temporarily_set
from sparsweep.trainables.lazy import torch
from sparsweep.trainables.pipeline.device_data import to_float
from sparsweep.trainables.pipeline.network import EVALUATION_BATCH, AutocastNetwork

CLASSES = 10
"""Minimum number of classes of the standard version: two attacks target the nine most likely wrong classes."""

NAMES = {"linf": "Linf", "l2": "L2"}


def require() -> None:
    """Check that AutoAttack is installed.

    Raises:
        ModuleNotFoundError: The package is missing.
    """
    if find_spec("pyautoattack") is None:
        raise ModuleNotFoundError("autoattack: needs the package pyautoattack: pip install 'sparsweep[attack]'")


def autoattack_accuracy(
    network: AutocastNetwork, images: torch.Tensor, labels: torch.Tensor, norm: str, epsilon: float, seed: int
) -> float:
    """Return the share of images that the network classifies correctly after AutoAttack, in [0, 1].

    Args:
        network: Network to attack.
        images: uint8 ``(N, C, H, W)``.
        labels: int64 ``(N,)``.
        norm: ``linf`` or ``l2``.
        epsilon: Maximum perturbation, for pixels in [0, 1].
        seed: Seed of the trial.
    """
    from pyautoattack import AutoAttack

    device = images.device
    # AutoAttack seeds torch's global generators. The fork keeps the rest of the run independent of them.
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        BATCH_NORM_MODES["eval"](network.module),
        temporarily_set(network.module.parameters(), "requires_grad", False),
    ):
        attack = AutoAttack(network, norm=NAMES[norm], eps=epsilon, seed=seed, device=device)
        _, predicted = attack.run_standard_evaluation(to_float(images), labels, batch_size=EVALUATION_BATCH)
    return (predicted == labels).double().mean().item()
