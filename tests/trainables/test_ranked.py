"""Difficulties that rank samples with trained networks: number of networks, number of epochs, and errors."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sparsweep.trainables.difficulties import difficulties
from sparsweep.trainables.difficulties.selection import ScoreSelection
from sparsweep.trainables.specs.base import format_error
from sparsweep.trainables.specs.partial import ScoringSpec
from support.tiny_trials import trial


def required(difficulty: dict[str, Any] | str, recipe: dict[str, Any] | str) -> tuple[int, int]:
    """Return the number of networks that are trained, and their number of epochs."""
    runs = trial(difficulty=difficulty, recipe=recipe, data_ratio=0.3).prerequisites()
    assert all(isinstance(run, ScoringSpec) for run in runs)
    (epochs,) = {run.num_epochs for run in runs}
    return len(runs), epochs


@pytest.mark.parametrize(
    ("name", "runs", "epochs"),
    [
        ("el2n", 10, 20),
        ("grand", 10, 20),
        ("loss", 10, 20),
        ("margin", 10, 20),
        ("entropy", 10, 20),
        ("forgetting", 5, 200),
        ("aum", 1, 100),
        ("vog", 1, 200),
        ("prediction_depth", 10, 200),
    ],
)
def test_defaults_under_the_papers_recipe(name: str, runs: int, epochs: int) -> None:
    assert required(name, "paper") == (runs, epochs)


@pytest.mark.parametrize(
    ("milestones", "gamma", "epochs"),
    [([0.5, 0.75], 0.1, 10), ([0.25], 0.1, 5), ([], 0.1, 20), ([0.01], 0.1, 1), ([0.5], 1.0, 20)],
)
def test_aum_stops_at_the_first_drop_of_the_learning_rate(milestones: list[float], gamma: float, epochs: int) -> None:
    recipe = {"preset": "digits", "epochs": 20, "milestones": milestones, "gamma": gamma}
    assert required("aum", recipe) == (1, epochs)
    assert required({"name": "aum", "epoch": 15}, recipe) == (1, 15)


def test_epoch_none_means_all_epochs() -> None:
    assert required({"name": "el2n", "epoch": None, "runs": 2}, {"epochs": 7}) == (2, 7)


def test_early_scores_of_one_network_share_a_run() -> None:
    """These scores have the same defaults. Comparing them costs as much as one of them."""
    ids = {
        tuple(run.id for run in trial(difficulty=name, recipe="paper", data_ratio=0.3).prerequisites())
        for name in ("el2n", "grand", "loss", "margin", "entropy")
    }
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("difficulty", "recipe", "message"),
    [
        ({"name": "el2n", "epoch": 8}, {"epochs": 7}, "difficulty.epoch: must not exceed recipe.epochs 7 (got 8)."),
        ("el2n", {"epochs": 7}, "difficulty.epoch: must not exceed recipe.epochs 7 (got 20)."),
        ({"name": "vog", "epoch": 1}, {"epochs": 7}, "difficulty.epoch: vog needs at least 2 epochs (got 1)."),
        ("forgetting", {"epochs": 1}, "difficulty.epoch: forgetting needs at least 2 epochs (got 1)."),
        ({"name": "loss", "runs": 0}, {"epochs": 7}, "difficulty.runs: Input should be greater than or equal to 1"),
        ({"name": "grand", "squared": True}, {}, "difficulty: unknown field 'squared'"),
        (
            {"name": "margin", "epoch": 1, "window_start": 0.2},
            {"epochs": 7},
            "difficulty.window_start: 0.2 needs keep: window (got hardest).",
        ),
        (
            {"name": "entropy", "epoch": 1, "keep": "window", "window_start": 0.8},
            {"epochs": 7},
            "difficulty.window_start: must be at most 1 - data_ratio 0.3 (got 0.8).",
        ),
    ],
)
def test_invalid_difficulty_is_a_one_line_error(
    difficulty: dict[str, Any] | str, recipe: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        trial(difficulty=difficulty, recipe=recipe, data_ratio=0.3)
    line = format_error(caught.value)
    assert line.startswith(message) and "\n" not in line


@pytest.mark.parametrize("changes", [{"data_ratio": 1.0}, {"data_ratio": 0.3, "keep": "random"}])
def test_epoch_is_not_checked_if_no_samples_are_ranked(changes: dict[str, Any]) -> None:
    ratio, fields = changes.pop("data_ratio"), changes
    spec = trial(difficulty={"name": "vog", "epoch": 99, **fields}, recipe={"epochs": 1}, data_ratio=ratio)
    assert spec.prerequisites() == ()


def test_each_difficulty_has_a_summary() -> None:
    """The summary is the line that `sparsweep list` prints."""
    for name in difficulties.names():
        if issubclass(difficulties[name], ScoreSelection):
            assert difficulties[name].summary().startswith("Samples "), name
