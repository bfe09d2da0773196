"""Seeds that grow where they are needed: the grammar, the rule, and what a sweep comes to with planted effects."""

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
"""What a method gains over dense, by seed."""


def seeds(**changes: object) -> AdaptiveSeeds:
    return AdaptiveSeeds.model_validate({"from": 3, "to": 10, "margin": 0.02, **changes})


def alternating(size: float) -> Effect:
    """No effect on the whole, and a spread that no number of seeds in question makes small."""
    return lambda seed: size * (-1) ** seed


def accuracy(trial: TrialSpec, effects: dict[str, Effect]) -> float:
    name = trial.sparsifier.name
    return DENSE if name == "dense" else DENSE + effects[name](trial.seed)


def grow_up(sweep: Sweep, effects: dict[str, Effect]) -> dict[str, list[int]]:
    """Train whatever the sweep wants, one trial at a time; seeds by method and data ratio."""
    growth = AdaptiveSeedPlan(sweep)
    waiting = list(growth.trials.values())
    while waiting:
        trial = waiting.pop(0)
        waiting += growth.add_results({trial.id: accuracy(trial, effects)})
    return seeds_of(growth.trials)


def seeds_of(points: dict[str, TrialSpec]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for trial in points.values():
        found.setdefault(f"{trial.sparsifier.name} {trial.data_ratio:g}", []).append(trial.seed)
    return {arm: sorted(numbers) for arm, numbers in found.items()}


# t of .975 with 2 degrees of freedom is 4.303: of -d, 0 and d the interval is -+ 4.303 d / sqrt(3) = 2.484 d.
@pytest.mark.parametrize(
    ("differences", "undecided"),
    [
        ((-0.01, 0.0, 0.01), True),  # from -.0248 to .0248: wider than .02
        ((-0.004, 0.0, 0.004), False),  # from -.0099 to .0099: narrow enough
        ((0.02, 0.03, 0.04), False),  # from .0052 to .0548: above 0
        ((-0.04, -0.03, -0.02), False),  # the same below
        ((0.01, 0.02, 0.03), True),  # from -.0048 to .0448
        ((0.0, 0.0, 0.0), False),  # of no width
    ],
)
def test_undecided_is_wide_and_around_zero(differences: Sequence[float], undecided: bool) -> None:
    assert is_undecided(differences, seeds()) is undecided


def test_the_margin_is_the_width_of_the_interval() -> None:
    width = 2 * 4.302653 * 0.01 / math.sqrt(3)
    assert is_undecided((-0.01, 0.0, 0.01), seeds(margin=width * 0.9999))
    assert not is_undecided((-0.01, 0.0, 0.01), seeds(margin=width * 1.0001))


def test_a_higher_level_is_harder_to_decide() -> None:
    assert not is_undecided((0.02, 0.03, 0.04), seeds(level=0.95))
    assert is_undecided((0.02, 0.03, 0.04), seeds(level=0.99))  # t is 9.925: from -.0273 on


def test_every_point_starts_with_the_same_seeds_and_with_dense() -> None:
    first = seeds_of(AdaptiveSeedPlan(parse_sweep(SWEEP, "seeds")).trials)
    assert first == {f"{name} {ratio}": [0, 1, 2] for name in ("set", "snip", "dense") for ratio in ("0.3", "1")}
    moved = seeds_of(AdaptiveSeedPlan(parse_sweep(SWEEP, "seeds", ["seeds.first=5"])).trials)
    assert set(map(tuple, moved.values())) == {(5, 6, 7)}


def test_a_clear_effect_stops_at_once_and_an_open_one_goes_on_to_the_end() -> None:
    clear: Effect = lambda seed: -0.2 + 0.01 * (-1) ** seed  # noqa: E731
    found = grow_up(parse_sweep(SWEEP, "seeds"), {"set": clear, "snip": alternating(0.05)})
    assert found["set 0.3"] == found["set 1"] == [0, 1, 2]
    assert found["snip 0.3"] == found["snip 1"] == list(range(10))
    assert found["dense 0.3"] == list(range(10))  # a pair for each


def test_no_effect_within_the_margin_stops_at_once() -> None:
    found = grow_up(parse_sweep(SWEEP, "seeds"), {"set": alternating(0.001), "snip": alternating(0.001)})
    assert all(numbers == [0, 1, 2] for numbers in found.values())


def test_seeds_stop_where_the_comparison_is_decided() -> None:
    """Differences .01 .05 .03 .03: mean .03, at n = 3 -+ .0497, at n = 4 sd .01633 and -+ 3.182 x .00816 = .0260."""
    values = [0.01, 0.05, 0.03, 0.03]
    found = grow_up(parse_sweep(SWEEP, "seeds"), {"set": lambda seed: values[seed], "snip": alternating(0)})
    assert found["set 0.3"] == [0, 1, 2, 3] and found["snip 0.3"] == [0, 1, 2]


def test_each_comparison_is_decided_by_itself() -> None:
    sweep = parse_sweep(SWEEP, "seeds")
    growth = AdaptiveSeedPlan(sweep)
    known = {
        trial.id: DENSE + (0.05 * (-1) ** trial.seed if trial.sparsifier.name == "set" else 0)
        for trial in growth.trials.values()
        if trial.data_ratio == 0.3
    }
    added = growth.add_results(known)  # nothing is known at ratio 1: nothing is added there, and nothing waits for it
    assert [(trial.sparsifier.name, trial.data_ratio, trial.seed) for trial in added] == [
        ("dense", 0.3, 3),
        ("set", 0.3, 3),
    ]
    assert growth.add_results(known) == []


def test_the_order_of_the_results_changes_nothing() -> None:
    """What is finished beyond the seeds in question, by another sweep, does not decide either."""
    sweep = parse_sweep(SWEEP, "seeds")
    effects = {"set": alternating(0.05), "snip": lambda seed: [0.01, 0.05, 0.03, 0.03][seed % 4]}
    growth = AdaptiveSeedPlan(sweep)
    seen: list[TrialSpec] = list(growth.trials.values())
    while seen:
        seen = growth.add_results({trial.id: accuracy(trial, effects) for trial in reversed(seen)})
    assert seeds_of(growth.trials) == grow_up(sweep, effects)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("seeds.to=2", "seeds.to: must be at least from, 3"),
        ("seeds.from=1", r"seeds\.from: .*greater than or equal to 2"),
        ("seeds.until=forever", r"seeds\.until: .*'decided'"),
        ("seeds.margin=0", r"seeds\.margin"),
        ("seeds.margins=0.1", "unknown field 'margins' .*margin.*; choose from first, from, to, until, margin, level"),
        ("seed=3", "seed: conflicts with seeds"),
    ],
)
def test_bad_seeds_are_one_clear_line(change: str, why: str) -> None:
    with pytest.raises(SweepError, match=why) as caught:
        parse_sweep(SWEEP, "seeds", [change])
    assert "\n" not in str(caught.value)


def test_a_search_has_no_seeds_to_grow() -> None:
    search = "search: {objectives: {test_accuracy: maximize}, space: {seed: {from: 0, to: 3}}}\nseeds: {from: 3, to: 4}"
    with pytest.raises(SweepError, match="seeds: not available with search"):
        parse_sweep(search, "both")


def test_an_included_sweep_takes_the_seeds_of_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "part.yaml"
    path.write_text(SWEEP)
    with pytest.raises(SweepError, match=r"include: part has adaptive seeds\. Set seeds in this sweep too\."):
        parse_sweep(f"include: [{path}]", "whole")
    whole = parse_sweep(f"include: [{path}]\nseeds: {{from: 2, to: 3}}", "whole")
    assert {trial.seed for trial in whole.trials.values()} == {0, 1}


def test_a_dumped_sweep_has_the_same_seeds() -> None:
    sweep = parse_sweep(SWEEP, "seeds", ["seeds.to=7"])
    assert parse_sweep(sweep.dump(), "seeds") == sweep
