"""EL2N: the score by hand, and the selection of samples."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sparsweep.trainables.difficulties.base import random_subset
from sparsweep.trainables.difficulties.scores import base
from sparsweep.trainables.difficulties.scores.el2n import el2n
from sparsweep.trainables.pipeline.device_data import DeviceData, to_float
from sparsweep.trainables.specs.partial import ScoringSpec
from sparsweep.trainables.specs.trial import TrialSpec, subset_size
from support.tiny_trials import create_trainer, four_pixels, scoring_context, sources, trial


def test_score_by_hand() -> None:
    """softmax(0, ln 3) = (1/4, 3/4). The error is (-3/4, 3/4) for label 0 and (1/4, -1/4) for label 1."""
    logits = torch.tensor([[0.0, math.log(3)]] * 2)
    expected = [math.sqrt(2) * 3 / 4, math.sqrt(2) / 4]
    assert el2n(logits, torch.tensor([0, 1])).tolist() == pytest.approx(expected, rel=1e-6)


def test_score_of_a_uniform_prediction_over_ten_classes() -> None:
    """(9/10)^2 + 9 (1/10)^2 = 0.9."""
    assert el2n(torch.zeros(1, 10), torch.tensor([4])).tolist() == pytest.approx([math.sqrt(0.9)], rel=1e-12)


def test_score_lies_between_zero_and_the_square_root_of_two() -> None:
    scores = el2n(torch.tensor([[100.0, -100.0], [-100.0, 100.0]]), torch.tensor([0, 0]))
    assert scores.dtype == torch.float64
    assert scores.tolist() == pytest.approx([0.0, math.sqrt(2)], abs=1e-12)


def test_the_squared_score_is_the_square() -> None:
    """The authors' code uses the square. It is a separate score, because means over networks rank differently."""
    labels = torch.tensor([0])
    view: Any = SimpleNamespace(logits=torch.zeros(1, 10), train_mode_logits=torch.zeros(1, 2), labels=labels)
    expected = {"el2n": 0.9**0.5, "el2n_squared": 0.9, "el2n_train": 0.5**0.5, "el2n_squared_train": 0.5}
    for name, value in expected.items():
        score = base.SCORES[name](four_pixels())
        assert score.compute(view).tolist() == pytest.approx([value], rel=1e-12), name


@pytest.mark.parametrize(
    ("fields", "score"),
    [
        ({}, "el2n"),
        ({"squared": True}, "el2n_squared"),
        ({"mode": "train"}, "el2n_train"),
        ({"squared": True, "mode": "train"}, "el2n_squared_train"),
    ],
)
def test_the_fields_select_the_score(fields: dict[str, object], score: str) -> None:
    (run,) = el2n_trial(0.3, **{**fields, "runs": 1}).prerequisites()
    assert isinstance(run, ScoringSpec) and run.scores == (score,) and score in base.SCORES


def test_train_mode_uses_batch_statistics_and_keeps_the_running_ones(digits: DeviceData) -> None:
    """Logits equal those of a training batch without augmentation. 1437 samples give 45 batches of 31 or 32."""
    training = create_trainer(trial(recipe={"preset": "digits", "epochs": 2, "batch_size": 32}), digits)
    training.train_epoch()
    before = {name: value.clone() for name, value in training.model.state_dict().items()}
    found = scoring_context(training).train_mode_logits
    assert all(torch.equal(value, before[name]) for name, value in training.model.state_dict().items())
    training.model.train()
    with torch.no_grad():
        first = training.network(to_float(digits.train_images[:32]))
        last = training.network(to_float(digits.train_images[-31:]))
    assert torch.equal(found[:32], first) and torch.equal(found[-31:], last)
    assert len(found) == 1437 and not torch.allclose(found, scoring_context(training).logits, atol=0.1)


SCORES = {
    1000: torch.tensor([0.1, 0.9, 0.5, 0.7, 0.3], dtype=torch.float64),
    1001: torch.tensor([0.9, 0.9, 0.5, 0.1, 0.1], dtype=torch.float64),
}
"""The means are 0.5 0.9 0.5 0.4 0.2. From hard to easy: 1, 0 and 2 (tied, the earlier first), 3, 4."""

LABELS = torch.zeros(5, dtype=torch.int64)


def scores(run: ScoringSpec, score: str) -> torch.Tensor:
    assert score == "el2n"
    return SCORES[run.trial.seed]


def el2n_trial(ratio: float, **fields: object) -> TrialSpec:
    return trial(difficulty={"name": "el2n", "runs": 2, "epoch": 2, **fields}, data_ratio=ratio)


@pytest.mark.parametrize(
    ("keep", "ratio", "chosen"),
    [
        ("hardest", 0.2, [1]),
        ("hardest", 0.4, [0, 1]),
        ("hardest", 0.6, [0, 1, 2]),
        ("hardest", 0.8, [0, 1, 2, 3]),
        ("easiest", 0.2, [4]),
        ("easiest", 0.4, [3, 4]),
        ("easiest", 0.6, [0, 3, 4]),
        ("easiest", 0.8, [0, 2, 3, 4]),
    ],
)
def test_samples_are_selected_by_the_mean_over_runs(keep: str, ratio: float, chosen: list[int]) -> None:
    spec = el2n_trial(ratio, keep=keep)
    assert spec.difficulty.select(spec, LABELS, sources(scores)).tolist() == chosen


@pytest.mark.parametrize("seed", [0, 1])
def test_random_keeps_the_samples_of_no_difficulty(seed: int) -> None:
    """Control of the experiment: as many random samples, the same as of ``none``."""
    labels = torch.zeros(50, dtype=torch.int64)

    def no_scores(run: ScoringSpec, score: str) -> torch.Tensor:
        raise AssertionError(f"requested {score} of {run}, but no scores are needed")

    random_spec, none = el2n_trial(0.3, keep="random").replace(seed=seed), trial(data_ratio=0.3, seed=seed)
    chosen = random_spec.difficulty.select(random_spec, labels, sources(no_scores))
    assert torch.equal(chosen, none.difficulty.select(none, labels, sources(no_scores)))
    assert random_spec.difficulty.prerequisites(random_spec) == ()


def test_each_seed_has_its_own_random_subset() -> None:
    assert not torch.equal(random_subset(50, 15, 0), random_subset(50, 15, 1))


def test_random_subsets_of_one_seed_are_nested() -> None:
    """A larger ratio adds samples, so curves over the ratio do not differ by the random choice."""
    small, large = (set(random_subset(50, size, 0).tolist()) for size in (10, 20))
    assert small < large


def test_scoring_runs_are_dense_on_all_data_with_their_own_seeds() -> None:
    spec = el2n_trial(0.3, first_seed=77, runs=3).replace(sparsifier="set", sparsity=0.5, seed=9)
    runs = [run for run in spec.difficulty.prerequisites(spec) if isinstance(run, ScoringSpec)]
    assert [run.trial.seed for run in runs] == [77, 78, 79]
    assert {run.epochs for run in runs} == {2}
    expected = {TrialSpec(dataset=spec.dataset, model=spec.model, sparsifier="dense", recipe=spec.recipe, seed=77)}
    assert {run.trial.replace(seed=77) for run in runs} == expected


def test_hardest_and_easiest_share_the_scores() -> None:
    hardest, easiest = el2n_trial(0.3), el2n_trial(0.3, keep="easiest")
    assert hardest.prerequisites() == easiest.prerequisites() != ()


@pytest.mark.parametrize(
    ("total", "ratio", "size"), [(1437, 0.3, 431), (50_000, 0.3, 15_000), (10, 0.01, 1), (10, 1.0, 10), (7, 0.5, 4)]
)
def test_subset_size(total: int, ratio: float, size: int) -> None:
    assert subset_size(total, ratio) == size
