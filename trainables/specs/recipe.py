"""Training recipe: length, optimizer, learning-rate schedule, augmentation, precision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from sparsweep.trainables.specs import schedules
from sparsweep.trainables.specs.base import PartlyHashed, SpecError, unknown_choice
from sparsweep.trainables.specs.timeline import TrainingSteps

RECIPE_PRESETS: dict[str, dict[str, Any]] = {
    # Paper, sections A.2 and A.3: 200 epochs, SGD, learning rate 0.1, divided by ten at 1/2 and 3/4 of training.
    "paper": {},
    # The data set is small, so batches and learning rate are smaller. At a rate of 0.03 or more, early scores no longer
    # select hard samples. Crops move by one pixel, and digits are not mirrored. Dense, SET and SNIP converge within
    # these steps on the hardest 30 % (measured by the sweep digits-convergence).
    "digits": {"steps": 1080, "batch_size": 32, "lr": 0.02, "crop_padding": 1, "flip": False},
}

MAX_EPOCHS = 100_000
SGD_FIELDS = ("momentum", "nesterov")
ADAMW_FIELDS = ("beta1", "beta2", "epsilon")
STEPS_FIELDS = ("milestones", "gamma")
"""Fields that only one optimizer or schedule uses."""


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
    optimizer: Literal["sgd", "adamw"] = Field(default="sgd", description="SGD with momentum, or AdamW")
    lr: float = Field(default=0.1, gt=0, description="highest learning rate")
    schedule: Literal["steps", "cosine", "linear", "one_cycle"] = Field(
        default="steps", description="course of lr: steps at the milestones, or a curve to 0 over all optimizer steps"
    )
    warmup: float = Field(
        default=0.0, ge=0, lt=1, description="share of training in which lr rises linearly; one_cycle: along a cosine"
    )
    milestones: tuple[float, ...] = Field(
        default=(0.5, 0.75), description="schedule steps: fractions of training at which lr is multiplied by gamma"
    )
    gamma: float = Field(default=0.1, gt=0, le=1, description="schedule steps: factor on lr at each milestone")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="sgd: momentum")
    nesterov: bool = Field(default=True, description="sgd: use Nesterov momentum")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="adamw: decay of the mean of the gradients")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="adamw: decay of the mean of their squares")
    epsilon: float = Field(default=1e-8, gt=0, description="adamw: term that avoids a division by 0")
    weight_decay: float = Field(
        default=5e-4, ge=0, description="on all parameters, norms too; sgd: L2 penalty, adamw: decoupled from gradients"
    )
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
        if self.optimizer == "sgd" and self.nesterov and self.momentum == 0:
            raise SpecError("nesterov", "true needs momentum above 0 (got 0). Set momentum, or nesterov: false.")
        return self

    @model_validator(mode="after")
    def _fields_have_an_effect(self) -> Self:
        defaults = type(self).model_fields
        for name in sorted(self.unused & self.model_fields_set):
            if getattr(self, name) != defaults[name].default:
                setting = "optimizer" if name in {*SGD_FIELDS, *ADAMW_FIELDS} else "schedule"
                problem = f"has no effect with {setting} {getattr(self, setting)} (got {getattr(self, name)})"
                raise SpecError(name, f"{problem}. Leave it out.")
        if self.schedule == "one_cycle" and not self.warmup:
            raise SpecError("warmup", "one_cycle needs a share above 0 (got 0). Set it, usually to 0.3.")
        return self

    @property
    def unused(self) -> frozenset[str]:
        """Names of fields without effect under this optimizer and schedule."""
        unused = SGD_FIELDS if self.optimizer == "adamw" else ADAMW_FIELDS
        return frozenset((*unused, *(STEPS_FIELDS if self.schedule != "steps" else ())))

    @property
    def idle(self) -> frozenset[str]:
        # These fields are newer than the first stored results. Excluding the default keeps their ids and specs valid.
        newer = {"steps": None, "optimizer": "sgd", "schedule": "steps", "warmup": 0.0}
        return self.unused | {name for name, default in newer.items() if getattr(self, name) == default}

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

    def learning_rate(self, step: int, timeline: TrainingSteps) -> float:
        """Return the learning rate of an optimizer step.

        Milestones are rounded down to whole epochs. All other parts of a schedule change with every step.

        Args:
            step: Step, counted from 0.
            timeline: Length of the training.
        """
        if self.schedule == "one_cycle":
            return self.lr * schedules.one_cycle(step, timeline.steps, self.warmup)
        warmup_steps = math.ceil(self.warmup * timeline.steps - 1e-9)
        lr = self.lr * schedules.warmup_factor(step, warmup_steps)
        if self.schedule == "steps":
            return lr * self._milestone_factor(step // timeline.steps_per_epoch)
        progress = (step - warmup_steps) / (timeline.steps - warmup_steps) if step >= warmup_steps else 0.0
        return lr * schedules.DECAYS[self.schedule](progress)

    @property
    def epochs_before_milestones(self) -> int:
        """Number of epochs before the learning rate falls for the first time; all epochs in another schedule."""
        if self.schedule != "steps":
            return self.epochs
        return sum(self._milestone_factor(epoch) == 1 for epoch in range(self.epochs))

    def _milestone_factor(self, epoch: int) -> float:
        # 1e-9: rounding errors can put an exact integer slightly below its value (0.29 * 100).
        passed = sum(epoch >= int(share * self.epochs + 1e-9) for share in self.milestones)
        return self.gamma**passed
