"""The paper's figures: the trials and name of each figure, and the notes on missing data."""

from __future__ import annotations

import pandas as pd
import pytest

from sparsweep.analysis import figures
from sparsweep.analysis.figures import PAPER
from sparsweep.analysis.figures.paper import named
from sparsweep.analysis.results import Results
from sparsweep.trainables.storage import schemas
from support.synthetic_tables import ADVERSARIAL, CORRUPTED, make_row, make_samples

TINY = {"dataset": "tinyimagenet", "model": "resnet34"}
VGG = {"model": "vgg19"}
SMALL_VGG = {"dataset": "cifar10", "model": "vgg16"}
MILD = {"difficulty": "corruption", "difficulty_parameters": '{"parts": [{"severity": 2}]}'}

# (columns of a trial, numbers of the figures that show it)
MEMBERS = [
    ({"sparsity": 0.1, "data_ratio": 0.5}, {2, 3}),
    ({"sparsity": 0.8, "data_ratio": 0.5}, {2, 3, 11}),
    ({"sparsity": 0.8, "data_ratio": 0.3}, {2, 3, 7, 8}),
    ({"sparsity": 0.8, "data_ratio": 0.2}, {3}),
    ({"sparsity": 0.4, "data_ratio": 0.3, **TINY}, {2}),
    ({"sparsity": 0.8, "data_ratio": 0.3, **TINY}, {2, 12}),
    ({"sparsity": 0.7, "data_ratio": 0.3, **TINY}, {2, 13}),
    ({"sparsity": 0.8, "data_ratio": 1.0, **TINY}, {13}),
    ({"sparsity": 0.5, "data_ratio": 1.0, **CORRUPTED}, {4}),
    ({"sparsity": 0.5, "data_ratio": 0.3, **CORRUPTED}, {4, 8}),
    ({"sparsity": 0.7, "data_ratio": 0.3, **CORRUPTED, **TINY}, {4, 14}),
    ({"sparsity": 0.8, "data_ratio": 0.3, **CORRUPTED, **TINY}, {4, 12}),
    ({"sparsity": 0.8, "data_ratio": 1.0, **CORRUPTED, **VGG}, {5, 11}),
    ({"sparsity": 0.8, "data_ratio": 0.3, **CORRUPTED, **VGG}, {5, 7}),
    ({"sparsity": 0.5, "data_ratio": 0.3, **MILD}, {9}),
    ({"sparsity": 0.9, "data_ratio": 1.0, **ADVERSARIAL}, {6}),
    ({"sparsity": 0.8, "data_ratio": 0.5, **ADVERSARIAL, **SMALL_VGG}, {10}),
    ({"sparsity": 0.8, "data_ratio": 0.3, "dataset": "digits"}, set()),
]


def trials_of(rows):
    return schemas.build_table("trials", rows).to_pandas()


@pytest.mark.parametrize(("trial", "numbers"), MEMBERS)
def test_trial_is_in_its_figures_of_the_paper(trial, numbers):
    columns = {name: value for name, value in trial.items() if name != "sparsity"}
    trials = trials_of([make_row("set", trial["sparsity"], 0, 0.5, **columns)])
    assert {figure.number for figure in PAPER if figure.match(trials).any()} == numbers


def test_dense_matches_every_sparsity_except_in_figure_3():
    trials = trials_of([make_row("dense", 0.0, 0, 0.5), make_row("lth", 0.8, 0, 0.5)])
    matching = {figure.number: list(figure.match(trials)) for figure in PAPER}
    assert matching[7] == [True, True]
    assert matching[3] == [True, False]


def test_all_fourteen_figures_have_a_known_kind():
    assert {figure.number for figure in PAPER} == set(range(1, 15))
    assert {figure.kind for figure in PAPER} <= set(figures.FIGURES)
    names = [figure.name for figure in PAPER]
    assert len(set(names)) == len(names)
    assert {"fig04_accuracy_vs_sparsity", "fig08ab_variant_bars", "fig08cd_accuracy_vs_flops"} <= set(names)


@pytest.fixture
def figure_2():
    rows = [make_row("dense", 0.0, seed, 0.5, data_ratio=ratio) for seed in (0, 1) for ratio in (0.3, 0.5)]
    return trials_of(rows + [make_row("set", s, seed, 0.51) for seed in (0, 1) for s in (0.5, 0.9)])


def test_sweep_named_after_a_figure_gets_this_figure(figure_2):
    [picture] = figures.pictures(figure_2, ["fig2"])
    assert picture.name == "fig02_accuracy_vs_sparsity"
    title = picture.draw().get_suptitle().replace("\n", " ")
    assert title.startswith("Figure 2 of the paper missing: cifar100 / resnet18, EL2N, data ratio 0.5; tinyimagenet")
    assert title.endswith("cifar100 / resnet18, EL2N")


def test_other_data_is_drawn_in_the_same_form_with_a_note(figure_2):
    [picture] = figures.pictures(figure_2.assign(dataset="digits"), ["fig2"])
    assert len(picture.table()) == len(figures.accuracy_vs_sparsity.table(figure_2))
    title = picture.draw().get_suptitle()
    assert "not the paper's data: all that was run is shown" in title and "digits / resnet18" in title


def test_trials_of_no_panel_are_excluded(figure_2):
    both = pd.concat([figure_2, trials_of([make_row("set", 0.5, 0, 0.5, data_ratio=0.9)])])
    [picture] = figures.pictures(both, ["fig2"])
    assert 0.9 not in set(picture.table()["data_ratio"])


def test_other_sweeps_get_every_kind_of_figure(figure_2):
    kinds = list(figures.FIGURES)
    assert [picture.name for picture in figures.pictures(figure_2, ["mine"])] == kinds
    assert [picture.name for picture in figures.pictures(figure_2)] == kinds
    both = [picture.name for picture in figures.pictures(figure_2, ["mine", "fig2"])]
    assert both == ["fig02_accuracy_vs_sparsity", *kinds]


def test_paper_sweep_gets_all_figures(figure_2):
    assert [figure.number for figure in named(["paper"])] == [1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 10, 11, 12, 13, 14]
    assert len(list(figures.pictures(figure_2, ["paper"]))) == 15


def test_figure_1_shows_examples(figure_2):
    [picture] = figures.pictures(Results(figure_2, samples=make_samples()), ["fig1"])
    assert picture.name == "fig01_sample_examples"
    assert picture.draw().get_suptitle() == "Figure 1 of the paper"


def test_too_many_settings_are_drawn_as_separate_pictures():
    rows = [make_row("dense", 0.0, 0, 0.5, lr=lr) for lr in (0.1, 0.2, 0.3, 0.4, 0.5)]
    names = [picture.name for picture in figures.pictures(trials_of(rows))]
    assert "accuracy_vs_sparsity-cifar100-resnet18-el2n-lr-0.3" in names
    assert sum(name.startswith("accuracy_vs_sparsity") for name in names) == 5
    assert "sample_examples" in names
    few = [picture.name for picture in figures.pictures(trials_of(rows[:4]))]
    assert "accuracy_vs_sparsity" in few
