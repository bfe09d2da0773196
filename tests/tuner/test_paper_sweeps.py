"""The sweeps of the paper have its grids, and are priced without its data."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from trainables.store import Store
from tuner.graph import build
from tuner.price import price
from tuner.sweep import SweepError, parse, read

SIZES = {
    "fig2": 2 * 2 * 3 * (1 + 5 * 9),  # two networks, two ratios, three seeds, dense and five methods at nine sparsities
    "fig3": 9 * 3 * (1 + 9),
    "fig4": 2 * 2 * 3 * (1 + 5 * 9),
    "fig5": 2 * 3 * (1 + 5 * 9),
    "fig6": 2 * 2 * 3 * (1 + 5),
    "fig8": 2 * 3 * (1 + 5 * 9 + 3),  # .8 of the five methods is one of the nine
    "fig9": 3 * 3 * (1 + 5 * 9),
    "fig10": 2 * 2 * 3 * (1 + 5),
    "fig13": 2 * 3 * (1 + 8),
    "fig14": 2 * 3 * (1 + 8),
}


@pytest.mark.parametrize("name", SIZES)
def test_figures_have_the_grids_of_the_paper(name: str) -> None:
    trials = read(name).trials
    assert len(trials) == SIZES[name]
    assert {trial.profile for trial in trials.values()} == {"paper"}
    assert {trial.seed for trial in trials.values()} == {15, 16, 17}
    assert {trial.recipe.epochs for trial in trials.values()} == {200}


def test_the_paper_is_the_union_of_its_figures() -> None:
    union = {trial for name in SIZES for trial in read(name).trials}
    assert set(read("paper").trials) == union
    assert len(union) < sum(SIZES.values())  # figures share points


def test_a_thousand_trials_on_digits(tmp_path: Path) -> None:
    facts = price(read("digits-1000"), Store(str(tmp_path)))
    assert facts["trials"] == facts["missing"] == 2 * 7 * (1 + 8 * 9) == 1022
    assert facts["prerequisites"] == 8  # the networks that score; dense ones are points of the sweep
    assert len({trial.sparsifier.name for trial in read("digits-1000").trials.values()}) == 9


def test_dense_parents_and_scores_of_the_paper_are_run_once() -> None:
    graph = build(read("paper").trials)
    kinds = Counter(type(graph.runs[run]).__name__ for run in graph.prerequisites)
    # Ten networks a data set score it for all ratios and methods; each severity of each data set is made once.
    assert kinds == {"ScoringSpec": 20, "CorruptionSpec": 5}


def test_the_paper_is_priced_without_data(tmp_path: Path) -> None:
    facts = price(read("paper"), Store(str(tmp_path)))
    assert facts["missing"] == facts["trials"] and facts["hours"] is None
    # A full training of ResNet18 on CIFAR-100 is 3.33e16 operations, and there are some 2,000 of them or smaller.
    assert 1e19 < facts["train_flops"] < 1e21
    assert not list(tmp_path.iterdir())


def test_included_sweeps_keep_their_own_bases_and_take_overrides() -> None:
    sweep = parse("include: [fig6, fig10]", "both", ["recipe.epochs=3"])
    assert len(sweep.trials) == 2 * 2 * 3 * (1 + 5 + 5)
    assert {trial.recipe.epochs for trial in sweep.trials.values()} == {3}
    assert {trial.recipe.rotation for trial in sweep.trials.values()} == {0.0, 15.0}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("include: [fig7]", "unknown sweep 'fig7'"),
        ("include: fig2", "include: a list of sweeps, got 'fig2'"),
        ("include: [mine]", "include: mine cannot include itself"),
        ("include: []", "grids"),
    ],
)
def test_bad_includes_are_one_clear_line(text: str, why: str) -> None:
    with pytest.raises(SweepError, match=why) as caught:
        parse(text, "mine")
    assert "\n" not in str(caught.value)
