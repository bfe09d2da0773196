"""How a network is trained: length, optimizer, schedule, augmentation, precision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from sparsweep.trainables.specs.base import FileBacked, SpecError, unknown_choice

RECIPE_PRESETS: dict[str, dict[str, Any]] = {
    # The paper's (sections A.2 and A.3): 200 epochs, SGD, learning rate .1 divided by ten at half and three quarters.
    "paper": {},
    # Few small images: smaller batches and a rate to go with them (at .03 and more, early scores no longer choose hard
    # samples), a crop by one pixel, and no mirror images of digits. Dense, SET and SNIP converge in so many steps on
    # the hardest 30 %: the sweep digits-convergence measures it.
    "digits": {"steps": 1080, "batch_size": 32, "lr": 0.02, "crop_padding": 1, "flip": False},
}

MAX_EPOCHS = 100_000


def override_recipe(recipe: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of ``recipe`` with ``own`` on top; a length in steps replaces one in epochs, and vice versa."""
    other = {"steps": "epochs", "epochs": "steps"}
    replaced = {other[name] for name in other.keys() & own.keys()}
    return {**{name: value for name, value in recipe.items() if name not in replaced}, **own}


class Recipe(FileBacked):
    """How a network is trained. The defaults are the paper's; ``preset`` starts from a named set of values.

    The length is given in ``epochs`` (passes over the training samples, so less data means fewer steps) or in
    ``steps`` of the optimizer, which are then as many at every data ratio. In a recipe in steps, an epoch is as many
    steps as a pass over the *whole* training set takes. Milestones, mask updates and evaluations count in epochs, so
    they fall on the same steps at every data ratio. In a trial's recipe, ``epochs`` is then the number that results.
    """

    epochs: int = Field(default=200, ge=1, le=MAX_EPOCHS, description="passes over the training samples")
    steps: int | None = Field(default=None, ge=1, description="optimizer steps, in place of epochs")
    batch_size: int = Field(default=128, ge=2, description="samples of one step")
    lr: float = Field(default=0.1, gt=0, description="initial learning rate of SGD")
    milestones: tuple[float, ...] = Field(default=(0.5, 0.75), description="shares of training at which lr is scaled")
    gamma: float = Field(default=0.1, gt=0, le=1, description="factor on lr at a milestone")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of SGD")
    nesterov: bool = Field(default=True, description="Nesterov momentum")
    weight_decay: float = Field(default=5e-4, ge=0, description="on all parameters, norms and biases too")
    crop_padding: int = Field(default=4, ge=0, le=32, description="pixels around an image before a random crop")
    flip: bool = Field(default=True, description="mirror half of the images")
    rotation: float = Field(default=0.0, ge=0, le=180, description="largest angle of a random rotation, in degrees")
    drop_last: bool = Field(default=False, description="leave out an incomplete last batch")
    precision: Literal["fp32", "bf16", "auto"] = Field(
        default="fp32", description="bf16: autocast, weights stay float32; auto: what the model says it trains well in"
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
            raise ValueError(f"must be ascending shares of training in (0, 1), got {list(milestones)}")
        return milestones

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise SpecError("nesterov", "true needs a momentum above 0")
        return self

    @property
    def idle(self) -> frozenset[str]:
        # A recipe in epochs is written as it was before there were steps: ids and stored specs stay what they are.
        return frozenset() if self.steps is not None else frozenset({"steps"})

    def in_epochs(self, epoch_steps: int) -> Recipe:
        """Return the recipe with its ``steps`` counted in ``epochs`` too, each of ``epoch_steps``, the last maybe less.

        Raises:
            ValueError: If ``epochs`` is given and says something else.
        """
        if self.steps is None:
            return self
        epochs = math.ceil(self.steps / epoch_steps)
        if "epochs" in self.model_fields_set and self.epochs != epochs:
            raise SpecError(
                "steps", f"the length is given twice (steps {self.steps} and epochs {self.epochs}). Give one."
            )
        if epochs > MAX_EPOCHS:
            raise SpecError("steps", f"more than {MAX_EPOCHS} epochs of {epoch_steps} steps (got {self.steps})")
        return self.model_copy(update={"epochs": epochs})

    def canonical(self, auto_precision: Literal["fp32", "bf16"]) -> Recipe:
        """Return the one way to write this recipe in a trial: ``precision: auto`` becomes that of the model.

        It depends on the model, never on the machine. So one id is one result, and a sweep file names the same trials
        on a driver with a GPU, on the laptop that draws its figures, and wherever it is resumed.
        """
        return self.model_copy(update={"precision": auto_precision}) if self.precision == "auto" else self

    def steps_per_pass(self, samples: int) -> int:
        """Return the optimizer steps of one pass over ``samples`` samples, at least one."""
        steps = samples // self.batch_size if self.drop_last else math.ceil(samples / self.batch_size)
        return max(1, steps)

    def learning_rate(self, epoch: int) -> float:
        """The learning rate of ``epoch``, counted from 0: constant between milestones (whole epochs)."""
        # 1e-9: a whole number of epochs that floating point left just below (0.29 * 100) is that number.
        passed = sum(epoch >= int(share * self.epochs + 1e-9) for share in self.milestones)
        return self.lr * self.gamma**passed
