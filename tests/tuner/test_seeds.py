"""Adaptive seeds: syntax, stopping rule, and the resulting seeds of a sweep with planted effects."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.tuner.config.adaptive_seeds import AdaptiveSeeds
from sparsweep.tuner.config.sweep import Sweep, SweepError, parse_sweep
from sparsweep.tuner.search.adaptive_seeds import AdaptiveSeedPlan, is_undecided

SWEEP = """
base: {dataset: digits, model: resnet8, recipe: digits, data_ratio: [0.3, 1.0]}
seeds: {from: 3, to: 10, until: decided, margin: 0.02}
grids:
  - {sparsifier: [set, snip], sparsity: 0.8}
"""

DENSE = 0.5
Effect = Callable[[int], float]
"""Difference of a method to dense as a function of the seed."""


def seeds(**changes: object) -> AdaptiveSeeds:
    return AdaptiveSeeds.model_validate({"from": 3, "to": 10, "margin": 0.02, **changes})


def alternating(size: float) -> Effect:
    """Return an effect with mean zero and constant spread, which stays undecided if ``size`` is large."""
    return lambda seed: size * (-1) ** seed


def accuracy(trial: TrialSpec, effects: dict[str, Effect]) -> float:
    name = trial.sparsifier.name
    return DENSE if name == "dense" else DENSE + effects[name](trial.seed)


def final_seeds(sweep: Sweep, effects: dict[str, Effect]) -> dict[str, list[int]]:
    """Add results until the plan requests no further trial. Return the seeds by method and data ratio."""
    plan = AdaptiveSeedPlan(sweep)
    pending = list(plan.trials.values())
    while pending:
        trial = pending.pop(0)
        pending += plan.add_results({trial.id: accuracy(trial, effects)})
    return seeds_of(plan.trials)


def seeds_of(points: dict[str, TrialSpec]) -> dict[str, list[int]]:
    result: dict[str, list[int]] = {}
    for trial in points.values():
        result.setdefault(f"{trial.sparsifier.name} {trial.data_ratio:g}", []).append(trial.seed)
    return {arm: sorted(numbers) for arm, numbers in result.items()}


# The 0.975 quantile of t with 2 degrees of freedom is 4.303. Interval of -d, 0, d: -+ 4.303 d / sqrt(3) = 2.484 d.
@pytest.mark.parametrize(
    ("differences", "undecided"),
    [
        ((-0.01, 0.0, 0.01), True),  # from -0.0248 to 0.0248: wider than 0.02
        ((-0.004, 0.0, 0.004), False),  # from -0.0099 to 0.0099: narrower than 0.02
        ((0.02, 0.03, 0.04), False),  # from 0.0052 to 0.0548: above 0
        ((-0.04, -0.03, -0.02), False),  # the same below 0
        ((0.01, 0.02, 0.03), True),  # from -0.0048 to 0.0448
        ((0.0, 0.0, 0.0), False),  # width 0
    ],
)
def test_undecided_intervals_are_wide_and_contain_zero(differences: Sequence[float], undecided: bool) -> None:
    assert is_undecided(differences, seeds()) is undecided


def test_margin_is_the_width_of_the_interval() -> None:
    width = 2 * 4.302653 * 0.01 / math.sqrt(3)
    assert is_undecided((-0.01, 0.0, 0.01), seeds(margin=width * 0.9999))
    assert not is_undecided((-0.01, 0.0, 0.01), seeds(margin=width * 1.0001))


def test_higher_level_leaves_more_comparisons_undecided() -> None:
    assert not is_undecided((0.02, 0.03, 0.04), seeds(level=0.95))
    assert is_undecided((0.02, 0.03, 0.04), seeds(level=0.99))  # t is 9.925: from -0.0273


def test_every_point_and_dense_start_with_the_same_seeds() -> None:
    first = seeds_of(AdaptiveSeedPlan(parse_sweep(SWEEP, "seeds")).trials)
    assert first == {f"{name} {ratio}": [0, 1, 2] for name in ("set", "snip", "dense") for ratio in ("0.3", "1")}
    shifted = seeds_of(AdaptiveSeedPlan(parse_sweep(SWEEP, "seeds", ["seeds.first=5"])).trials)
    assert set(map(tuple, shifted.values())) == {(5, 6, 7)}


def test_clear_effect_adds_no_seeds_and_undecided_effect_adds_all() -> None:
    clear: Effect = lambda seed: -0.2 + 0.01 * (-1) ** seed  # noqa: E731
    seeds_by_arm = final_seeds(parse_sweep(SWEEP, "seeds"), {"set": clear, "snip": alternating(0.05)})
    assert seeds_by_arm["set 0.3"] == seeds_by_arm["set 1"] == [0, 1, 2]
    assert seeds_by_arm["snip 0.3"] == seeds_by_arm["snip 1"] == list(range(10))
    assert seeds_by_arm["dense 0.3"] == list(range(10))  # one partner per seed


def test_null_effect_within_the_margin_adds_no_seeds() -> None:
    seeds_by_arm = final_seeds(parse_sweep(SWEEP, "seeds"), {"set": alternating(0.001), "snip": alternating(0.001)})
    assert all(numbers == [0, 1, 2] for numbers in seeds_by_arm.values())


def test_no_seed_is_added_after_the_decision() -> None:
    """Differences 0.01 0.05 0.03 0.03: mean 0.03. n = 3: -+ 0.0497. n = 4: sd 0.01633, -+ 3.182 x 0.00816 = 0.0260."""
    values = [0.01, 0.05, 0.03, 0.03]
    seeds_by_arm = final_seeds(parse_sweep(SWEEP, "seeds"), {"set": lambda seed: values[seed], "snip": alternating(0)})
    assert seeds_by_arm["set 0.3"] == [0, 1, 2, 3] and seeds_by_arm["snip 0.3"] == [0, 1, 2]


def test_each_comparison_is_decided_independently() -> None:
    sweep = parse_sweep(SWEEP, "seeds")
    plan = AdaptiveSeedPlan(sweep)
    results = {
        trial.id: DENSE + (0.05 * (-1) ** trial.seed if trial.sparsifier.name == "set" else 0)
        for trial in plan.trials.values()
        if trial.data_ratio == 0.3
    }
    # Data ratio 1 has no results: no seed is added there, and ratio 0.3 does not wait for it.
    added = plan.add_results(results)
    assert [(trial.sparsifier.name, trial.data_ratio, trial.seed) for trial in added] == [
        ("dense", 0.3, 3),
        ("set", 0.3, 3),
    ]
    assert plan.add_results(results) == []


def test_order_of_results_does_not_matter() -> None:
    """Results come in reverse order and give the same seeds."""
    sweep = parse_sweep(SWEEP, "seeds")
    effects = {"set": alternating(0.05), "snip": lambda seed: [0.01, 0.05, 0.03, 0.03][seed % 4]}
    plan = AdaptiveSeedPlan(sweep)
    finished: list[TrialSpec] = list(plan.trials.values())
    while finished:
        finished = plan.add_results({trial.id: accuracy(trial, effects) for trial in reversed(finished)})
    assert seeds_of(plan.trials) == final_seeds(sweep, effects)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("seeds.to=2", "seeds.to: must be at least from, 3"),
        ("seeds.from=1", r"seeds\.from: .*greater than or equal to 2"),
        ("seeds.until=forever", r"seeds\.until: .*'decided'"),
        ("seeds.margin=0", r"seeds\.margin"),
        ("seeds.margins=0.1", "unknown field 'margins' .*margin.*; choose from first, from, to, until, margin, level"),
        ("seed=3", "seed: conflicts with seeds"),
    ],
)
def test_invalid_seeds_raise_one_line(change: str, message: str) -> None:
    with pytest.raises(SweepError, match=message) as error_info:
        parse_sweep(SWEEP, "seeds", [change])
    assert "\n" not in str(error_info.value)


def test_search_with_adaptive_seeds_raises() -> None:
    search = "search: {objectives: {test_accuracy: maximize}, space: {seed: {from: 0, to: 3}}}\nseeds: {from: 3, to: 4}"
    with pytest.raises(SweepError, match="seeds: not available with search"):
        parse_sweep(search, "both")


def test_included_sweep_uses_the_seeds_of_the_including_sweep(tmp_path: Path) -> None:
    path = tmp_path / "part.yaml"
    path.write_text(SWEEP)
    with pytest.raises(SweepError, match=r"include: part has adaptive seeds\. Set seeds in this sweep too\."):
        parse_sweep(f"include: [{path}]", "whole")
    including = parse_sweep(f"include: [{path}]\nseeds: {{from: 2, to: 3}}", "whole")
    assert {trial.seed for trial in including.trials.values()} == {0, 1}


def test_dumped_sweep_has_the_same_seeds() -> None:
    sweep = parse_sweep(SWEEP, "seeds", ["seeds.to=7"])
    assert parse_sweep(sweep.dump(), "seeds") == sweep
