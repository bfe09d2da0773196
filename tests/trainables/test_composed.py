"""Composed difficulties: each part acts as it does alone, at the stages that it supports."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from sparsweep.trainables.difficulties import PrerequisiteOutputs
from sparsweep.trainables.difficulties.corruption import CorruptionSpec
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.pipeline.rng import derive
from sparsweep.trainables.specs.base import format_error
from sparsweep.trainables.specs.partial import ScoringSpec
from sparsweep.trainables.specs.run import from_json, to_json
from sparsweep.trainables.specs.trial import TrialSpec
from support.tiny_trials import trial

EL2N = {"name": "el2n", "runs": 2, "epoch": 1}
NOISE = {"name": "label_noise", "fraction": 0.4}
NAMED = {"name": "corruption", "types": "named3", "severity": 3}
ATTACK = {"name": "adversarial", "steps": 2}


def trial_with(difficulty: Any, **changes: Any) -> TrialSpec:
    return trial(difficulty=difficulty, **{"data_ratio": 0.3, **changes})


def composed(**parts: Any) -> TrialSpec:
    return trial_with({"name": "composed", **parts})


def fake_outputs(digits: DeviceData) -> PrerequisiteOutputs:
    """Return random scores, and constant images in place of the corrupted ones."""

    def scores(run: ScoringSpec, score: str) -> torch.Tensor:
        return torch.rand(len(digits.train_labels), generator=derive(run.trial.seed, score), dtype=torch.float64)

    def corrupted(run: CorruptionSpec) -> dict[str, torch.Tensor]:
        return {split: torch.full_like(getattr(digits, f"{split}_images"), 9) for split in ("train", "test")}

    return PrerequisiteOutputs(scores, corrupted)


def test_four_parts_in_one_spec_act_as_they_do_alone(digits: DeviceData) -> None:
    spec, sources = composed(selection=EL2N, labels=NOISE, images=NAMED, attack=ATTACK), fake_outputs(digits)
    alone = {name: trial_with(part) for name, part in zip("slia", (EL2N, NOISE, NAMED, ATTACK), strict=True)}
    difficulty = spec.difficulty
    assert difficulty.table_name == "el2n+label_noise+corruption+adversarial" and difficulty.eval_images == "corrupted"
    assert difficulty.prerequisites(spec) == (
        *alone["s"].difficulty.prerequisites(alone["s"]),
        *alone["i"].difficulty.prerequisites(alone["i"]),
    )
    # Samples are ranked on true labels and clean images, as by the selection alone.
    labels = digits.train_labels.cpu()
    assert torch.equal(
        difficulty.select(spec, labels, sources), alone["s"].difficulty.select(alone["s"], labels, sources)
    )
    data = difficulty.transform(spec, digits, sources)
    noisy = alone["l"].difficulty.transform(alone["l"], digits, sources).train_labels
    assert torch.equal(data.train_labels, noisy) and not torch.equal(noisy, digits.train_labels)
    assert (data.train_images == 9).all() and data.corrupted_images is not None and (data.corrupted_images == 9).all()
    assert torch.equal(data.test_images, digits.test_images) and torch.equal(data.test_labels, digits.test_labels)
    assert difficulty.loss_fn.forward_equivalents == alone["a"].difficulty.loss_fn.forward_equivalents == 2 * 2 + 3
    assert from_json(to_json(spec)) == spec


def test_the_table_name_lists_the_parts_that_are_set() -> None:
    assert composed(attack=ATTACK).difficulty.table_name == "adversarial"
    assert composed(attack=ATTACK).difficulty.eval_images == "clean"
    assert composed(labels=NOISE, images={**NAMED, "test_severity": 0}).difficulty.eval_images == "clean"
    assert composed(labels=NOISE).difficulty.loss_fn.forward_equivalents == 3


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"selection": EL2N},
            "selection: a composition needs two parts (got selection only). Add labels, images or attack.",
        ),
        (
            {"images": "adversarial"},
            "images: adversarial does not act at this stage (got 'images'). Choose from corruption.",
        ),
        (
            {"selection": "corruption", "attack": ATTACK},
            "selection: corruption does not act at this stage (got 'selection'). Choose from aum, ",
        ),
        ({"selection": {"name": "composed", "attack": ATTACK}, "labels": NOISE}, "selection: composed does not act"),
        ({"attack": {"name": "adversarial", "norm": "l1"}}, "attack.norm: "),
        ({"selection": {**EL2N, "epoch": 9}, "attack": ATTACK}, "difficulty.selection.epoch: must not exceed recipe"),
    ],
)
def test_invalid_compositions_are_rejected(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        composed(**parts)
    assert message in format_error(caught.value)
