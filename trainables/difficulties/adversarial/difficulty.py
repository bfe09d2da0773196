"""Adversarial training: the network trains on attacked batches (paper, section 3.3.2).

The attack is PGD (see ``trainables.difficulties.adversarial.pgd``) within 8/255 in L-infinity: ten steps of 2/255 from
a random start, on augmented pixels in [0, 1]. The loss is the cross-entropy of the attacked images. At the end PGD-20
attacks the full clean test set from one random start. ``test_accuracy`` is the clean accuracy. ``robust_accuracy`` is
the share of test images that are classified correctly, both clean and under the attack of every restart. It never
exceeds the clean accuracy. The paper does not give the number of training steps. Ten is that of the authors' code.

``batch_norm`` is the mode of batch norms during training attacks. The authors attack in training mode. Each of the K
forward passes of an attack then also updates the running statistics, K + 1 times per step, towards intermediate
adversarial images (defect D13; profiles ``paper`` and ``authors``). The default here is ``eval``: only the images of
the loss update the running statistics. The attack on an image does not depend on its batch. Training attacks use the
same mode as evaluation. The authors of TRADES attack in this mode. Pang et al., "Bag of Tricks for Adversarial
Training", ICLR 2021, find higher clean accuracy at about the same robustness. ``train_frozen`` is the attack of the
paper's authors without updates of the running statistics.

Departures from the authors' code:

- The test set is attacked at the end (authors: test and validation sets after every epoch; ``test_every: 1`` does the
  same for the test set).
- Images that the clean network classifies wrongly are not attacked.
- Each seed has its own random subset (authors: D19, a selection of ``composed`` that the profile ``authors`` sets).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from sparsweep.trainables.difficulties.adversarial.autoattack import CLASSES, autoattack_accuracy, require
from sparsweep.trainables.difficulties.adversarial.losses import PgdLoss, TradesLoss
from sparsweep.trainables.difficulties.adversarial.pgd import NORMS, Attack, logits_under_attack
from sparsweep.trainables.difficulties.base import Difficulty, difficulties
from sparsweep.trainables.lazy import torch
from sparsweep.trainables.pipeline.losses import TrainingLoss
from sparsweep.trainables.pipeline.network import AutocastNetwork
from sparsweep.trainables.pipeline.rng import derive
from sparsweep.trainables.specs.base import SpecError
from sparsweep.trainables.specs.trial import TrialSpec

RADII = {"linf": 8 / 255, "l2": 0.5}
STEP_SIZES = {"linf": 2 / 255, "l2": 0.1}
"""Default step sizes. L-infinity: the paper's values. L2: the usual radius for CIFAR, and a fifth of it."""


def _fraction(value: Any) -> Any:
    """Parse a fraction like ``8/255``. Return other values unchanged, for pydantic to check."""
    try:
        return float(Fraction(value)) if isinstance(value, str) else value
    except (ValueError, ZeroDivisionError):
        return value


Pixels = Annotated[float, BeforeValidator(_fraction), Field(gt=0)]
"""Distance between images with pixels in [0, 1]: a number, or a fraction like ``8/255``."""

Fields = dict[str, Any]
"""Preceding fields by name, from which a default value is computed."""


def _step_size(fields: Fields) -> float:
    return 1.25 * fields["epsilon"] if fields["loss"] == "fgsm_rs" else STEP_SIZES[fields["norm"]]


@difficulties.register
class Adversarial(Difficulty):
    """Adversarial training with PGD in every step, evaluated on clean and attacked images."""

    name: Literal["adversarial"] = "adversarial"
    stage = "attack"

    loss: Literal["pgd", "fgsm_rs", "trades"] = Field(default="pgd", description="loss of a training step")
    norm: Literal["linf", "l2"] = Field(default="linf", description="norm of perturbations")
    epsilon: Pixels = Field(
        default_factory=lambda above: RADII[above["norm"]], description="maximum perturbation in training"
    )
    steps: int = Field(
        default_factory=lambda above: 1 if above["loss"] == "fgsm_rs" else 10,
        ge=1,
        description="steps of a training attack",
    )
    step_size: Pixels = Field(default_factory=_step_size, description="step size of a training attack")
    random_start: bool = Field(default=True, description="training attacks start at random; test attacks always do")
    batch_norm: Literal["eval", "train", "train_frozen"] = Field(
        default="eval",
        description="batch norms in a training attack; train: as the authors, updates running statistics (D13)",
    )
    beta: float | None = Field(
        default_factory=lambda above: 6.0 if above["loss"] == "trades" else None,
        gt=0,
        description="weight of the divergence in trades",
    )
    test_epsilon: Pixels = Field(
        default_factory=lambda above: above["epsilon"], description="maximum perturbation at test"
    )
    test_steps: int = Field(default=20, ge=1, description="PGD steps of a test attack")
    test_step_size: Pixels = Field(
        default_factory=lambda above: STEP_SIZES[above["norm"]], description="step size of a test attack"
    )
    test_restarts: int = Field(default=1, ge=1, description="random starts of the test attack")
    test_every: int | None = Field(
        default=None, ge=1, description="epochs between two test attacks; null: only at the end"
    )
    autoattack: bool = Field(
        default=False, description="also run AutoAttack at the end: pip install 'sparsweep[attack]'"
    )

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        for field in ("epsilon", "test_epsilon"):
            if self.norm == "linf" and getattr(self, field) > 1:
                raise SpecError(
                    field,
                    f"must be at most 1 (got {getattr(self, field):g}). For 8 gray levels set 8/255.",
                )
        if self.loss == "fgsm_rs" and (self.norm, self.steps) != ("linf", 1):
            raise SpecError("loss", f"fgsm_rs needs one step in linf (got {self.steps} in {self.norm}). Use pgd.")
        if self.loss != "pgd" and not self.random_start:
            raise SpecError("random_start", f"{self.loss} needs a random start (got false). Only pgd works without.")
        if (self.loss == "trades") != (self.beta is not None):
            raise SpecError(
                "beta", f"must be a number for trades and null for other losses (got {self.beta} for {self.loss})."
            )
        return self

    def check(self, spec: TrialSpec) -> None:
        if self.autoattack and spec.dataset.classes < CLASSES:
            raise SpecError(
                "difficulty.autoattack",
                f"needs at least {CLASSES} classes (got {spec.dataset.classes} of {spec.dataset.name}).",
            )

    @property
    def measured(self) -> frozenset[str]:
        return frozenset({"robust_accuracy", *(["autoattack_accuracy"] if self.autoattack else [])})

    @property
    def learnable(self) -> None:
        return None  # robust networks never fit all training samples

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

    def attacked_logits(
        self, network: AutocastNetwork, images: torch.Tensor, labels: torch.Tensor, seed: int
    ) -> torch.Tensor:
        attack = Attack(NORMS[self.norm], self.test_epsilon, self.test_step_size, self.test_steps)
        starts = [derive(seed, "test attack", restart, device=images.device) for restart in range(self.test_restarts)]
        return logits_under_attack(network, images, labels, attack, starts)

    def final_accuracies(
        self, network: AutocastNetwork, images: torch.Tensor, labels: torch.Tensor, seed: int
    ) -> dict[str, float]:
        if not self.autoattack:
            return {}
        accuracy = autoattack_accuracy(network, images, labels, self.norm, self.test_epsilon, seed)
        return {"autoattack_accuracy": accuracy}
