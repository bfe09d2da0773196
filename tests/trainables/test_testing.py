"""Checks for sparsifiers of users: valid methods pass, and each violation of the interface raises an error."""

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
    """Method that redraws its mask every 3 steps. It is not registered, so that no sweep can use it."""

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


class StateOutsideCheckpoint(Good):
    """Method that stores its earlier updates in the object and not in the checkpoint."""

    def update(self, masks: Masks, context: UpdateContext) -> Masks:
        self.__dict__["updates"].append(context.step)
        generator = torch.Generator().manual_seed(len(self.__dict__["updates"]))
        return random_per_layer(context.weights, masks.counts(), generator)

    def initialize(self, start: InitContext) -> Masks:
        self.__dict__["updates"] = []
        return super().initialize(start)


class UnmaskedParams(MaskedParams):
    def apply_masks(self) -> None:
        """Leave masked weights unchanged."""


class NonzeroMaskedWeights(Good):
    def masked_params(self, weights: Tensors, optimizer: torch.optim.Optimizer, masks: Masks) -> MaskedParams:
        return UnmaskedParams(weights, optimizer, masks)


class UndeclaredInitialState(Good):
    """Method that changes the initial weights and does not declare it."""

    def initialize(self, start: InitContext) -> Masks:
        with torch.no_grad():
            for weight in start.model.parameters():
                weight.add_(1.0)
        return super().initialize(start)


class DeclaredInitialState(Good):
    """Method that starts from other weights and declares them, which is allowed."""

    def parent_state(self, start: InitContext) -> StateDict:
        return {name: torch.ones_like(value) for name, value in start.model.state_dict().items()}


class LatentWeights(Good):
    def masked_params(self, weights: Tensors, optimizer: torch.optim.Optimizer, masks: Masks) -> MaskedParams:
        return LatentParams(weights, optimizer, masks, lambda values, masks: Masks.full(values))


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the registry after each test."""
    monkeypatch.setattr(sparsifiers, "_classes", dict(sparsifiers._classes))


def register(kind: type[Good]) -> Good:
    sparsifiers._classes["good"] = kind
    return kind()


def test_unregistered_method_is_an_error() -> None:
    with pytest.raises(
        AssertionError, match=r"Good is not registered as 'good'\. Add the decorator @sparsifiers\.register"
    ):
        check_sparsifier(Good())


@pytest.mark.parametrize("kind", [Good, DeclaredInitialState, LatentWeights])
def test_valid_method_passes(kind: type[Good]) -> None:
    check_sparsifier(register(kind))
    check_sparsifier(kind(distribution="uniform"), sparsity=0.4)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (OneTooMany, r"good: masks before step 3 must have 72 active weights, in network order \(got 73\)\."),
        (GloballyRandom, "the masks differ between two runs"),
        (StateOutsideCheckpoint, "state"),
        (NonzeroMaskedWeights, "a masked weight is not zero"),
        (UndeclaredInitialState, "differs from the initial state that the method declares"),
    ],
)
def test_every_violation_is_an_error(kind: type[Good], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_sparsifier(register(kind))


def test_names_and_mappings_are_accepted_as_in_a_sweep() -> None:
    check_sparsifier("snip", sparsity=0.3)
    fields: dict[str, Any] = {"name": "gmp", "update_every": 1, "start_fraction": 0.25, "stop_fraction": 0.75}
    check_sparsifier(fields)


def test_training_too_short_for_its_method_is_an_error() -> None:
    class Late(Good):
        def initialize(self, start: InitContext) -> Masks:
            return Masks.full(start.weights)

        def num_active_at(self, total: int, step: int, spec: Any, timeline: TrainingSteps) -> int:
            return super().num_active_at(total, step, spec, timeline) if step >= 3 else total

        def update(self, masks: Masks, context: UpdateContext) -> Masks:
            return random_per_layer(context.weights, dict.fromkeys(masks, 18), context.generator)

    with pytest.raises(AssertionError, match=r"one epoch of 2 samples must end with 72 active weights \(got 360\)"):
        check_shortest(tiny_trial(Late()), 2)
