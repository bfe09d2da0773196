"""Adversarial training: every batch is attacked before the network learns from it (paper, section 3.3.2).

The attack is PGD (see ``trainables.difficulties.adversarial.pgd``) within 8/255 in L-infinity, ten steps of 2/255 from
a random start, on augmented pixels in [0, 1]; the loss is the cross-entropy of what it finds. At the end the whole
clean test set is attacked by PGD-20 from one random start. ``test_accuracy`` is the clean one; beside it stands
``robust_accuracy``, the share of test images that the network knows and that no restart takes from it, so it cannot be
above the clean one. The paper's text does not give the number of training steps; ten is the authors' code's.

``batch_norm`` is the mode of batch norms during training attacks. The authors attack in training mode, where each of
the K forward passes of an attack moves the running statistics too, K + 1 times a step, towards half-made adversarial
images (defect D13; profiles ``paper`` and ``authors``). The default here is ``eval``: the running statistics see what
the network learns from and nothing else, an image's attack does not depend on the rest of its batch, and the network
is attacked as it is judged. The authors of TRADES attack so, and Pang et al., "Bag of Tricks for Adversarial
Training", ICLR 2021, find that it raises clean accuracy at about the same robustness. ``train_frozen`` keeps the
attack of the paper's authors without its side effect.

Departures from the authors' code: the test set is attacked at the end (they: test and validation sets after every
epoch; ``test_every: 1`` does so for the test set); what the clean network gets wrong is not attacked; each seed has its
own random subset (theirs, D19, is a selection of ``composed``, which the profile ``authors`` makes of this).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from sparsweep.trainables.difficulties.adversarial.autoattack import CLASSES, autoattack_accuracy, require
from sparsweep.trainables.difficulties.adversarial.losses import PgdLoss, TradesLoss
from sparsweep.trainables.difficulties.adversarial.pgd import NORMS, Attack, correct_under_attack
from sparsweep.trainables.difficulties.base import Difficulty, difficulties
from sparsweep.trainables.lazy import torch
from sparsweep.trainables.pipeline.losses import TrainingLoss
from sparsweep.trainables.pipeline.network import AutocastNetwork
from sparsweep.trainables.pipeline.rng import derive
from sparsweep.trainables.specs.base import SpecError
from sparsweep.trainables.specs.trial import TrialSpec

RADII = {"linf": 8 / 255, "l2": 0.5}
STEP_SIZES = {"linf": 2 / 255, "l2": 0.1}
"""L-infinity: the paper's. L2: the radius that is usual for CIFAR, and a fifth of it."""


def _fraction(value: Any) -> Any:
    """The number that a fraction like ``8/255`` writes; other values as they are, for pydantic to judge."""
    try:
        return float(Fraction(value)) if isinstance(value, str) else value
    except (ValueError, ZeroDivisionError):
        return value


Pixels = Annotated[float, BeforeValidator(_fraction), Field(gt=0)]
"""A distance between images whose pixels are in [0, 1]: a number, or a fraction like ``8/255``."""

Fields = dict[str, Any]
"""The fields above one, by name: what a default that depends on them is computed from."""


def _step_size(fields: Fields) -> float:
    return 1.25 * fields["epsilon"] if fields["loss"] == "fgsm_rs" else STEP_SIZES[fields["norm"]]


@difficulties.register
class Adversarial(Difficulty):
    """Training images attacked by PGD in every step; judged clean and under attack."""

    name: Literal["adversarial"] = "adversarial"
    stage = "attack"

    loss: Literal["pgd", "fgsm_rs", "trades"] = Field(default="pgd", description="what a step minimises")
    norm: Literal["linf", "l2"] = Field(default="linf", description="measure of perturbations")
    epsilon: Pixels = Field(
        default_factory=lambda above: RADII[above["norm"]], description="largest perturbation in training"
    )
    steps: int = Field(
        default_factory=lambda above: 1 if above["loss"] == "fgsm_rs" else 10, ge=1, description="of a training attack"
    )
    step_size: Pixels = Field(default_factory=_step_size, description="of a training attack")
    random_start: bool = Field(default=True, description="training attacks start at random; test attacks always do")
    batch_norm: Literal["eval", "train", "train_frozen"] = Field(
        default="eval",
        description="batch norms during a training attack; train: as the authors, running ones move (D13)",
    )
    beta: float | None = Field(
        default_factory=lambda above: 6.0 if above["loss"] == "trades" else None, gt=0, description="weight in trades"
    )
    test_epsilon: Pixels = Field(default_factory=lambda above: above["epsilon"], description="largest one at test")
    test_steps: int = Field(default=20, ge=1, description="PGD steps of a test attack")
    test_step_size: Pixels = Field(
        default_factory=lambda above: STEP_SIZES[above["norm"]], description="of a test attack"
    )
    test_restarts: int = Field(default=1, ge=1, description="random starts that a test image has to withstand")
    test_every: int | None = Field(default=None, ge=1, description="epochs between two test attacks; null: at the end")
    autoattack: bool = Field(default=False, description="AutoAttack too, at the end: pip install 'sparsweep[attack]'")

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        for field in ("epsilon", "test_epsilon"):
            if self.norm == "linf" and getattr(self, field) > 1:
                raise SpecError(field, f"pixels are in [0, 1], got {getattr(self, field):g}; 8 levels are 8/255")
        if self.loss == "fgsm_rs" and (self.norm, self.steps) != ("linf", 1):
            raise SpecError("loss", f"fgsm_rs is one step in linf, got {self.steps} in {self.norm}; choose pgd")
        if self.loss != "pgd" and not self.random_start:
            raise SpecError("random_start", f"{self.loss} starts at random, got false; only pgd need not")
        if (self.loss == "trades") != (self.beta is not None):
            raise SpecError(
                "beta", f"the weight in trades, and null for any other loss, got {self.beta} for {self.loss}"
            )
        return self

    def check(self, spec: TrialSpec) -> None:
        if self.autoattack and spec.dataset.classes < CLASSES:
            raise SpecError(
                "difficulty.autoattack",
                f"needs {CLASSES} classes for its targeted attacks, {spec.dataset.name} has {spec.dataset.classes}",
            )

    @property
    def measured(self) -> frozenset[str]:
        return frozenset({"robust_accuracy", *(["autoattack_accuracy"] if self.autoattack else [])})

    @property
    def learnable(self) -> None:
        return None  # robust networks leave training samples unfitted, however long they are trained

    @property
    def loss_fn(self) -> TrainingLoss:
        attack = Attack(NORMS[self.norm], self.epsilon, self.step_size, self.steps)
        if self.beta is not None:
            return TradesLoss(attack, self.batch_norm, self.beta)
        return PgdLoss(attack, self.batch_norm, self.random_start)

    def check_dependencies(self) -> None:
        if self.autoattack:
            require()

    def should_attack(self, epoch: int, last: bool) -> bool:
        return last or (self.test_every is not None and epoch % self.test_every == 0)

    def robust_accuracies(
        self, network: AutocastNetwork, images: torch.Tensor, labels: torch.Tensor, seed: int, last: bool
    ) -> dict[str, float]:
        attack = Attack(NORMS[self.norm], self.test_epsilon, self.test_step_size, self.test_steps)
        starts = [derive(seed, "test attack", restart, device=images.device) for restart in range(self.test_restarts)]
        standing = correct_under_attack(network, images, labels, attack, starts)
        accuracies = {"robust_accuracy": standing.double().mean().item()}
        if last and self.autoattack:
            accuracies["autoattack_accuracy"] = autoattack_accuracy(
                network, images, labels, self.norm, self.test_epsilon, seed
            )
        return accuracies
