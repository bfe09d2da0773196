"""Training recipe: length, optimizer, learning-rate schedule, augmentation, precision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from sparsweep.trainables.specs.base import PartlyHashed, SpecError, unknown_choice

RECIPE_PRESETS: dict[str, dict[str, Any]] = {
    # Paper, sections A.2 and A.3: 200 epochs, SGD, learning rate 0.1, divided by ten at 1/2 and 3/4 of training.
    "paper": {},
    # The data set is small, so batches and learning rate are smaller. At a rate of 0.03 or more, early scores no longer
    # select hard samples. Crops move by one pixel, and digits are not mirrored. Dense, SET and SNIP converge within
    # these steps on the hardest 30 % (measured by the sweep digits-convergence).
    "digits": {"steps": 1080, "batch_size": 32, "lr": 0.02, "crop_padding": 1, "flip": False},
}

MAX_EPOCHS = 100_000


def override_recipe(recipe: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of ``recipe`` overridden by ``own``. A length in steps replaces one in epochs, and vice versa.

    Args:
        recipe: Fields of the base recipe.
        own: Fields that override it.
    """
    other_unit = {"steps": "epochs", "epochs": "steps"}
    replaced = {other_unit[name] for name in other_unit.keys() & own.keys()}
    return {**{name: value for name, value in recipe.items() if name not in replaced}, **own}


class Recipe(PartlyHashed):
    """How a network is trained. The defaults are those of the paper. ``preset`` starts from a named set of values.

    The length is either ``epochs`` or ``steps``. An epoch is one pass over the training samples, so less data means
    fewer steps. A length in optimizer ``steps`` is the same at every data ratio: an epoch then has as many steps as one
    pass over the *whole* training set. Milestones, mask updates and evaluations are defined in epochs, so they happen
    at the same steps at every data ratio. In the recipe of a trial, ``epochs`` then holds the resulting number.
    """

    epochs: int = Field(default=200, ge=1, le=MAX_EPOCHS, description="number of passes over the training samples")
    steps: int | None = Field(default=None, ge=1, description="number of optimizer steps, instead of epochs")
    batch_size: int = Field(default=128, ge=2, description="number of samples per step")
    lr: float = Field(default=0.1, gt=0, description="initial learning rate of SGD")
    milestones: tuple[float, ...] = Field(
        default=(0.5, 0.75), description="fractions of training at which lr is multiplied by gamma"
    )
    gamma: float = Field(default=0.1, gt=0, le=1, description="factor on lr at each milestone")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of SGD")
    nesterov: bool = Field(default=True, description="use Nesterov momentum")
    weight_decay: float = Field(default=5e-4, ge=0, description="L2 penalty on all parameters, norms and biases too")
    crop_padding: int = Field(default=4, ge=0, le=32, description="pixels of padding before a random crop")
    flip: bool = Field(default=True, description="mirror each image with probability 1/2")
    rotation: float = Field(default=0.0, ge=0, le=180, description="maximum angle of a random rotation, in degrees")
    drop_last: bool = Field(default=False, description="drop an incomplete last batch")
    precision: Literal["fp32", "bf16", "auto"] = Field(
        default="fp32", description="bf16: autocast with float32 weights; auto: the default of the model"
    )

    @model_validator(mode="before")
    @classmethod
    def _expand_preset(cls, data: Any) -> Any:
        if isinstance(data, str):
            data = {"preset": data}
        if isinstance(data, Mapping) and "preset" in data:
            preset, own = data["preset"], {key: value for key, value in data.items() if key != "preset"}
            if not isinstance(preset, str) or preset not in RECIPE_PRESETS:
                raise SpecError("preset", unknown_choice("preset", preset, RECIPE_PRESETS))
            return override_recipe(RECIPE_PRESETS[preset], own)
        return data

    @field_validator("milestones")
    @classmethod
    def _ascend(cls, milestones: tuple[float, ...]) -> tuple[float, ...]:
        if list(milestones) != sorted(set(milestones)) or any(not 0 < share < 1 for share in milestones):
            raise ValueError(f"must be ascending fractions of training in (0, 1) (got {list(milestones)})")
        return milestones

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise SpecError("nesterov", "true needs momentum above 0 (got 0). Set momentum, or nesterov: false.")
        return self

    @property
    def idle(self) -> frozenset[str]:
        # `steps` is newer than the first stored results. Excluding the default keeps their ids and specs valid.
        return frozenset() if self.steps is not None else frozenset({"steps"})

    def in_epochs(self, epoch_steps: int) -> Recipe:
        """Return the recipe with ``epochs`` computed from ``steps``. The last epoch may be shorter.

        Args:
            epoch_steps: Number of optimizer steps per epoch.

        Raises:
            SpecError: ``epochs`` is also given and differs, or the number of epochs is too large.
        """
        if self.steps is None:
            return self
        epochs = math.ceil(self.steps / epoch_steps)
        if "epochs" in self.model_fields_set and self.epochs != epochs:
            raise SpecError(
                "steps", f"steps and epochs disagree (got steps {self.steps} and epochs {self.epochs}). Give one."
            )
        if epochs > MAX_EPOCHS:
            raise SpecError("steps", f"must be at most {MAX_EPOCHS} epochs of {epoch_steps} steps (got {self.steps})")
        return self.model_copy(update={"epochs": epochs})

    def canonical(self, auto_precision: Literal["fp32", "bf16"]) -> Recipe:
        """Return the canonical recipe: ``precision: auto`` is replaced by ``auto_precision``, that of the model.

        The result depends on the model, never on the hardware. A sweep file therefore has the same trial ids on a node
        with a GPU, on a laptop without one, and after a resume elsewhere.
        """
        return self.model_copy(update={"precision": auto_precision}) if self.precision == "auto" else self

    def steps_per_pass(self, samples: int) -> int:
        """Return the number of optimizer steps per pass over ``samples`` samples, at least 1."""
        steps = samples // self.batch_size if self.drop_last else math.ceil(samples / self.batch_size)
        return max(1, steps)

    def learning_rate(self, epoch: int) -> float:
        """Return the learning rate of ``epoch``, counted from 0. Milestones are rounded down to whole epochs."""
        # 1e-9: rounding errors can put an exact integer slightly below its value (0.29 * 100).
        passed = sum(epoch >= int(share * self.epochs + 1e-9) for share in self.milestones)
        return self.lr * self.gamma**passed
