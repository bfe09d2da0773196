"""What every difficulty owes: a subset exact to the sample, the same for every arm of a comparison."""

from __future__ import annotations

import pytest
import torch
from contract_settings import DIFFICULTIES, DIFFICULTY_NAMES, SPARSIFIER_NAMES, small, trial
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.seeds import derive
from trainables.spec import ScoringSpec, TrialSpec

SAMPLES = 30
SIZES = {0.1: 3, 0.2: 6, 0.3: 9, 0.4: 12, 0.5: 15, 0.6: 18, 0.7: 21, 0.8: 24, 0.9: 27, 1.0: 30}
LABELS = torch.arange(SAMPLES) % 10

each_difficulty = pytest.mark.parametrize("name", DIFFICULTY_NAMES)


def scores(run: ScoringSpec) -> torch.Tensor:
    """Made-up scores, other ones for every scoring run."""
    return torch.rand(SAMPLES, generator=derive(run.trial.seed, "made up"), dtype=torch.float64)


def select(spec: TrialSpec) -> torch.Tensor:
    return spec.difficulty.select(spec, LABELS, scores)


def hard_trial(name: str, ratio: float, sparsifier: str = "dense", seed: int = 0) -> TrialSpec:
    return trial(sparsifier, seed=seed, difficulty=small(DIFFICULTIES, name), data_ratio=ratio)


@each_difficulty
@pytest.mark.parametrize(("ratio", "size"), SIZES.items())
def test_subset_is_exact_ascending_and_without_repetition(name: str, ratio: float, size: int) -> None:
    chosen = select(hard_trial(name, ratio))
    assert chosen.dtype == torch.int64 and chosen.device.type == "cpu"
    assert chosen.shape == (size,)
    assert (chosen.diff() > 0).all()
    assert chosen.min() >= 0 and chosen.max() < SAMPLES


@each_difficulty
@settings(max_examples=30, deadline=None, derandomize=True)
@given(ratio=st.floats(0.001, 1.0), seed=st.integers(0, 2**31 - 1))
def test_subset_is_the_nearest_whole_number_of_samples(name: str, ratio: float, seed: int) -> None:
    chosen = select(hard_trial(name, ratio, seed=seed)).tolist()
    assert len(chosen) == len(set(chosen))
    assert abs(len(chosen) - ratio * SAMPLES) <= 0.5 or len(chosen) == 1


@each_difficulty
def test_all_samples_at_ratio_one(name: str) -> None:
    assert select(hard_trial(name, 1.0)).tolist() == list(range(SAMPLES))


@each_difficulty
def test_arms_share_the_subset(name: str) -> None:
    subsets = {sparsifier: select(hard_trial(name, 0.3, sparsifier)).tolist() for sparsifier in SPARSIFIER_NAMES}
    assert all(subset == subsets["dense"] for subset in subsets.values())


@each_difficulty
def test_selection_ignores_global_random_numbers(name: str) -> None:
    torch.manual_seed(1)
    first = select(hard_trial(name, 0.3))
    torch.manual_seed(2), torch.rand(10)
    assert torch.equal(first, select(hard_trial(name, 0.3)))


@each_difficulty
def test_requirements_are_shared_by_ratios_seeds_and_sparsifiers(name: str) -> None:
    """The scores are made once, however many points of a figure use them."""
    asked = {
        tuple(run.id for run in spec.difficulty.requirements(spec))
        for ratio in (0.1, 0.5, 0.9)
        for seed in (0, 1)
        for sparsifier in SPARSIFIER_NAMES
        for spec in [hard_trial(name, ratio, sparsifier, seed)]
    }
    assert len(asked) == 1


@each_difficulty
def test_nothing_is_required_where_nothing_is_chosen(name: str) -> None:
    spec = hard_trial(name, 1.0)
    assert spec.difficulty.requirements(spec) == ()


@each_difficulty
def test_requirements_are_dense_trainings_that_need_nothing(name: str) -> None:
    spec = hard_trial(name, 0.5)
    for run in spec.difficulty.requirements(spec):
        assert isinstance(run, ScoringSpec)
        assert run.trial.sparsifier.name == "dense" and run.trial.data_ratio == 1
        assert not run.requirements() and not run.trial.requirements()
        assert (run.trial.dataset, run.trial.model, run.trial.recipe) == (spec.dataset, spec.model, spec.recipe)
