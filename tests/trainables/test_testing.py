"""The checks for methods of one's own: they pass what keeps the promises and catch each promise that is broken."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import pytest
import torch

from sparsweep.trainables.sparsifiers import InitContext, Masks, UpdateContext, sparsifiers
from sparsweep.trainables.sparsifiers.base import MaskedSparsifier, StateDict
from sparsweep.trainables.sparsifiers.layer_budget import RandomMask
from sparsweep.trainables.sparsifiers.masked_params import LatentParams, MaskedParams, Tensors
from sparsweep.trainables.sparsifiers.masks import random_per_layer
from sparsweep.trainables.specs.timeline import TrainingSteps
from sparsweep.trainables.testing import check_shortest, check_sparsifier, tiny_trial


class Good(RandomMask, MaskedSparsifier):
    """Redraws its mask after every epoch. Not registered: no sweep may find it."""

    name: Literal["good"] = "good"

    def update_steps(self, timeline: TrainingSteps) -> Collection[int]:
        return range(3, timeline.steps, 3)

    def update(self, masks: Masks, context: UpdateContext) -> Masks:
        return random_per_layer(context.weights, masks.counts(), context.generator)


class OneTooMany(Good):
    def update(self, masks: Masks, context: UpdateContext) -> Masks:
        counts = masks.counts()
        counts["11.weight"] += 1
        return random_per_layer(context.weights, counts, context.generator)


class GloballyRandom(Good):
    def update(self, masks: Masks, context: UpdateContext) -> Masks:
        return random_per_layer(context.weights, masks.counts(), torch.default_generator)


class Forgetful(Good):
    """What it knows of earlier updates is in the object and not in the checkpoint."""

    def update(self, masks: Masks, context: UpdateContext) -> Masks:
        self.__dict__["updates"].append(context.step)
        generator = torch.Generator().manual_seed(len(self.__dict__["updates"]))
        return random_per_layer(context.weights, masks.counts(), generator)

    def initialize(self, start: InitContext) -> Masks:
        self.__dict__["updates"] = []
        return super().initialize(start)


class Shown(MaskedParams):
    def apply_masks(self) -> None:
        """Masked weights stay as they are."""


class NotZero(Good):
    def masked_params(self, weights: Tensors, optimizer: torch.optim.Optimizer, masks: Masks) -> MaskedParams:
        return Shown(weights, optimizer, masks)


class Elsewhere(Good):
    """Starts from weights of its own, and does not say so."""

    def initialize(self, start: InitContext) -> Masks:
        with torch.no_grad():
            for weight in start.model.parameters():
                weight.add_(1.0)
        return super().initialize(start)


class Known(Good):
    """Starts from other weights too, and says so: that is its right."""

    def parent_state(self, start: InitContext) -> StateDict:
        return {name: torch.ones_like(value) for name, value in start.model.state_dict().items()}


class Hidden(Good):
    def masked_params(self, weights: Tensors, optimizer: torch.optim.Optimizer, masks: Masks) -> MaskedParams:
        return LatentParams(weights, optimizer, masks, lambda values, masks: Masks.full(values))


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry as it was, after each test."""
    monkeypatch.setattr(sparsifiers, "_classes", dict(sparsifiers._classes))


def registered(kind: type[Good]) -> Good:
    sparsifiers._classes["good"] = kind
    return kind()


def test_what_is_not_registered_is_caught() -> None:
    with pytest.raises(
        AssertionError, match=r"Good is not registered as 'good'\. Add the decorator @sparsifiers\.register"
    ):
        check_sparsifier(Good())


@pytest.mark.parametrize("kind", [Good, Known, Hidden])
def test_what_keeps_the_promises_passes(kind: type[Good]) -> None:
    check_sparsifier(registered(kind))
    check_sparsifier(kind(distribution="uniform"), sparsity=0.4)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (OneTooMany, r"good: masks before step 3 must have 72 active weights, in network order \(got 73\)\."),
        (GloballyRandom, "the masks differ between two runs"),
        (Forgetful, "state"),
        (NotZero, "a masked weight is not zero"),
        (Elsewhere, "differs from the initial state that the method declares"),
    ],
)
def test_every_broken_promise_is_caught(kind: type[Good], why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        check_sparsifier(registered(kind))


def test_names_and_mappings_are_taken_as_a_sweep_takes_them() -> None:
    check_sparsifier("snip", sparsity=0.3)
    fields: dict[str, Any] = {"name": "gmp", "update_every": 1, "start_fraction": 0.25, "stop_fraction": 0.75}
    check_sparsifier(fields)


def test_a_training_too_short_for_its_method_is_caught() -> None:
    class Late(Good):
        def initialize(self, start: InitContext) -> Masks:
            return Masks.full(start.weights)

        def num_active_at(self, total: int, step: int, spec: Any, timeline: TrainingSteps) -> int:
            return super().num_active_at(total, step, spec, timeline) if step >= 3 else total

        def update(self, masks: Masks, context: UpdateContext) -> Masks:
            return random_per_layer(context.weights, dict.fromkeys(masks, 18), context.generator)

    with pytest.raises(AssertionError, match=r"one epoch of 2 samples must end with 72 active weights \(got 360\)"):
        check_shortest(tiny_trial(Late()), 2)
