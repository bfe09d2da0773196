"""Sweeps of the paper: they have the paper's grids, and their cost can be estimated without the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

import pytest

from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training.convergence import MIN_POINTS, MIN_STEPS
from sparsweep.tuner.config.sweep import SweepError, parse_sweep, read_sweep
from sparsweep.tuner.planning.estimate import estimate
from sparsweep.tuner.planning.graph import build_graph

TENTHS = tuple(tenth / 10 for tenth in range(1, 10))
FIVE_METHODS = ("gmp", "lth", "omp", "snip", "set")
EIGHT_METHODS = (*FIVE_METHODS, "omp_erk", "random", "uniform")

Data = tuple[str, str]
CIFAR, TINY, VGG, SMALL = (
    ("cifar100", "resnet18"),
    ("tinyimagenet", "resnet34"),
    ("cifar100", "vgg19"),
    ("cifar10", "vgg16"),
)
Difficulty = tuple[str, int | None]
EL2N, ATTACKED, CORRUPTED = ("el2n", None), ("adversarial", None), ("corruption", 5)
Point = tuple[Data, Difficulty, float, str, float]
"""Dataset and network, difficulty and severity, data ratio, sparsifier, sparsity."""


def panel(
    data: Data, difficulty: Difficulty, ratio: float, methods: Sequence[str], sparsities: Sequence[float]
) -> set[Point]:
    """Return the points of dense and of every method at every sparsity."""
    sparse = {(data, difficulty, ratio, method, sparsity) for method in methods for sparsity in sparsities}
    return {(data, difficulty, ratio, "dense", 0.0), *sparse}


def panels(
    settings: Iterable[tuple[Data, Difficulty, float]], methods: Sequence[str], sparsities: Sequence[float]
) -> set[Point]:
    return set().union(*(panel(*setting, methods, sparsities) for setting in settings))


def on_both_datasets(difficulty: Difficulty, ratios: Sequence[float]) -> list[tuple[Data, Difficulty, float]]:
    return [(data, difficulty, ratio) for data in (CIFAR, TINY) for ratio in ratios]


ATTACKS = [(data, ATTACKED, ratio) for data in (SMALL, CIFAR) for ratio in (1.0, 0.5)]
AT_DATA_RATIO_0_3 = [(CIFAR, EL2N, 0.3), (CIFAR, CORRUPTED, 0.3)]

POINTS: dict[str, set[Point]] = {
    "fig1": panel(CIFAR, EL2N, 0.3, (), ()),  # dense only, which requires the scores
    "fig2": panels(on_both_datasets(EL2N, (0.5, 0.3)), FIVE_METHODS, TENTHS),
    "fig3": panels([(CIFAR, EL2N, ratio) for ratio in TENTHS], ("set",), TENTHS),
    "fig4": panels(on_both_datasets(CORRUPTED, (1.0, 0.3)), FIVE_METHODS, TENTHS),
    "fig5": panels([(VGG, CORRUPTED, ratio) for ratio in (1.0, 0.3)], FIVE_METHODS, TENTHS),
    "fig6": panels(ATTACKS, FIVE_METHODS, (0.9,)),
    "fig7": panels([(CIFAR, EL2N, 0.3), (VGG, CORRUPTED, 0.3)], FIVE_METHODS, (0.8,)),
    "fig8": panels(AT_DATA_RATIO_0_3, EIGHT_METHODS, (0.8,)) | panels(AT_DATA_RATIO_0_3, FIVE_METHODS, TENTHS),
    "fig9": panels([(CIFAR, ("corruption", severity), 0.3) for severity in (2, 4, 6)], FIVE_METHODS, TENTHS),
    "fig10": panels(ATTACKS, FIVE_METHODS, (0.8,)),
    "fig11": panels([(CIFAR, EL2N, 0.5), (VGG, CORRUPTED, 1.0)], FIVE_METHODS, (0.8,)),
    "fig12": panels([(TINY, EL2N, 0.3), (TINY, CORRUPTED, 0.3)], FIVE_METHODS, (0.8,)),
    "fig13": panel(TINY, EL2N, 1.0, EIGHT_METHODS, (0.8,)) | panel(TINY, EL2N, 0.3, EIGHT_METHODS, (0.7,)),
    "fig14": panel(TINY, CORRUPTED, 1.0, EIGHT_METHODS, (0.8,)) | panel(TINY, CORRUPTED, 0.3, EIGHT_METHODS, (0.7,)),
}
"""Points of the paper's figures, by panel."""


def point(trial: TrialSpec) -> Point:
    severity = getattr(trial.difficulty, "severity", None)
    data, difficulty = (trial.dataset.name, trial.model.name), (trial.difficulty.name, severity)
    return data, difficulty, trial.data_ratio, trial.sparsifier.name, trial.sparsity


@pytest.mark.parametrize("name", POINTS)
def test_figures_have_the_grids_of_the_paper(name: str) -> None:
    trials, seeds = list(read_sweep(name).trials.values()), {15} if name == "fig1" else {15, 16, 17}
    counts = Counter((point(trial), trial.seed) for trial in trials)
    assert counts == Counter(product(POINTS[name], seeds))
    assert {(trial.profile, trial.recipe.epochs, trial.recipe.batch_size, trial.recipe.lr) for trial in trials} == {
        ("paper", 200, 128, 0.1)
    }


@pytest.mark.parametrize("name", POINTS)
def test_figures_use_the_data_and_networks_of_the_paper(name: str) -> None:
    """Also checks normalization, validation images and rotation of attacked trials, and the stem for TinyImageNet."""
    for trial in read_sweep(name).trials.values():
        attacked = trial.difficulty.name == "adversarial"
        dataset = trial.dataset.model_dump()
        assert (dataset["statistics"], dataset["validation"]) == (
            ("adversarial", 5000) if attacked else ("standard", 0)
        )
        assert trial.recipe.rotation == (15.0 if attacked and trial.dataset.name == "cifar100" else 0.0)
        assert trial.num_samples == round((45_000 if attacked else trial.dataset.train_size) * trial.data_ratio)
        if trial.dataset.name == "tinyimagenet":
            assert trial.model.model_dump()["stem"] == "7x7"


CONTAINED = ("fig1", "fig7", "fig11", "fig12")
"""Figures whose trials are all part of other figures."""


def test_paper_sweep_is_the_union_of_its_figures() -> None:
    union = {trial for name in POINTS for trial in read_sweep(name).trials}
    assert set(read_sweep("paper").trials) == union
    assert all(
        set(read_sweep(name).trials)
        <= {*read_sweep("fig2").trials, *read_sweep("fig4").trials, *read_sweep("fig5").trials}
        for name in CONTAINED
    )


def test_size_of_the_digits_grid(tmp_path: Path) -> None:
    facts = estimate(read_sweep("digits-grid"), Store(str(tmp_path)))
    assert facts["trials"] == facts["missing"] == 2 * 3 * (1 + 8 * 3) == 150
    assert facts["prerequisites"] == 8  # scoring networks; dense prerequisites are trials of the sweep
    assert len({trial.sparsifier.name for trial in read_sweep("digits-grid").trials.values()}) == 9


@pytest.mark.parametrize("name", ["quickstart", "all-sparsifiers", "digits-grid", "hard-digits"])
def test_documented_sweeps_train_long_enough_for_a_convergence_verdict(name: str) -> None:
    trials = read_sweep(name).trials.values()
    assert min(trial.steps for trial in trials) >= MIN_STEPS
    last_quarters = [range(1, trial.recipe.epochs + 1)[-trial.recipe.epochs // 4 :] for trial in trials]
    evaluated = [
        sum(epoch % trial.evaluation.every == 0 for epoch in epochs)
        for trial, epochs in zip(trials, last_quarters, strict=True)
    ]
    assert min(evaluated) >= MIN_POINTS


def test_prerequisites_of_the_paper_run_once() -> None:
    graph = build_graph(read_sweep("paper").trials)
    kinds = Counter(type(graph.runs[run]).__name__ for run in graph.prerequisite_runs)
    # Ten scoring networks per dataset serve all ratios and methods. Each severity of a dataset is computed once.
    assert kinds == {"ScoringSpec": 20, "CorruptionSpec": 5}


def test_cost_of_the_paper_is_estimated_without_data(tmp_path: Path) -> None:
    facts = estimate(read_sweep("paper"), Store(str(tmp_path)))
    assert facts["missing"] == facts["trials"] and facts["hours"] is None
    # Full training of ResNet18 on CIFAR-100 takes 3.33e16 operations.
    # The paper has about 2,000 trials of this size or less.
    assert 1e19 < facts["train_flops"] < 1e21
    assert not list(tmp_path.iterdir())


def test_included_sweeps_keep_their_bases_and_accept_overrides() -> None:
    sweep = parse_sweep("include: [fig6, fig10]", "both", ["recipe.epochs=3"])
    assert len(sweep.trials) == 2 * 2 * 3 * (1 + 5 + 5)
    assert {trial.recipe.epochs for trial in sweep.trials.values()} == {3}
    assert {trial.recipe.rotation for trial in sweep.trials.values()} == {0.0, 15.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("include: [fig15]", "unknown sweep 'fig15'"),
        ("include: fig2", "include: must be a list of sweeps"),
        ("include: [mine]", "include: mine cannot include itself"),
        ("include: []", "grids"),
    ],
)
def test_invalid_includes_raise_one_line(text: str, message: str) -> None:
    with pytest.raises(SweepError, match=message) as error_info:
        parse_sweep(text, "mine")
    assert "\n" not in str(error_info.value)
