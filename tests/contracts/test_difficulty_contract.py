"""Contract of difficulties: a subset of exact size, equal for all arms of a comparison."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsweep.trainables.difficulties import Difficulty, PrerequisiteOutputs
from sparsweep.trainables.difficulties.corruption import CorruptionSpec
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.pipeline.rng import derive
from sparsweep.trainables.specs.partial import ScoringSpec
from sparsweep.trainables.specs.trial import TrialSpec, subset_size
from sparsweep.trainables.storage import tensor_file
from sparsweep.trainables.testing import CheckedTrainer, check_same, comparable
from sparsweep.trainables.training.trainer import Trainer
from support.contract_settings import (
    DIFFICULTIES,
    DIFFICULTY_NAMES,
    SPARSIFIER_NAMES,
    fake_parent_state,
    scores_file,
    small,
    tiny_data,
    trial,
)

SAMPLES = 30
SIZES = {0.1: 3, 0.2: 6, 0.3: 9, 0.4: 12, 0.5: 15, 0.6: 18, 0.7: 21, 0.8: 24, 0.9: 27, 1.0: 30}
LABELS = torch.arange(SAMPLES) % 10

each_difficulty = pytest.mark.parametrize("name", DIFFICULTY_NAMES)


def fake_outputs(samples: int) -> PrerequisiteOutputs:
    """Return fake scores, which differ by run and score, and fake images, which differ by corruption."""

    def scores(run: ScoringSpec, score: str) -> torch.Tensor:
        assert score in run.scores
        return torch.rand(samples, generator=derive(run.trial.seed, "made up", score), dtype=torch.float64)

    def corrupted(run: CorruptionSpec) -> dict[str, torch.Tensor]:
        data, generator = tiny_data(), derive(0, "made up", run.id)
        shapes = {"train": data.train_images.shape, "test": data.test_images.shape}
        return {
            split: torch.randint(256, shape, generator=generator, dtype=torch.uint8) for split, shape in shapes.items()
        }

    return PrerequisiteOutputs(scores, corrupted)


def select(spec: TrialSpec) -> torch.Tensor:
    return spec.difficulty.select(spec, LABELS, fake_outputs(SAMPLES))


def hard_trial(name: str, ratio: float, sparsifier: str = "dense", seed: int = 0) -> TrialSpec:
    return trial(sparsifier, seed=seed, difficulty=small(DIFFICULTIES, name), data_ratio=ratio)


@each_difficulty
@pytest.mark.parametrize(("ratio", "size"), SIZES.items())
def test_subset_has_the_exact_size_and_is_sorted_without_repetition(name: str, ratio: float, size: int) -> None:
    selected = select(hard_trial(name, ratio))
    assert selected.dtype == torch.int64 and selected.device.type == "cpu"
    assert selected.shape == (size,)
    assert (selected.diff() > 0).all()
    assert selected.min() >= 0 and selected.max() < SAMPLES


@each_difficulty
@settings(max_examples=30, deadline=None, derandomize=True)
@given(ratio=st.floats(0.001, 1.0), seed=st.integers(0, 2**31 - 1))
def test_subset_size_is_the_nearest_integer(name: str, ratio: float, seed: int) -> None:
    selected = select(hard_trial(name, ratio, seed=seed)).tolist()
    assert len(selected) == len(set(selected))
    assert abs(len(selected) - ratio * SAMPLES) <= 0.5 or len(selected) == 1


@each_difficulty
def test_all_samples_are_selected_at_ratio_one(name: str) -> None:
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
def test_prerequisites_are_shared_by_ratios_seeds_and_sparsifiers(name: str) -> None:
    """Scores are computed once, however many trials use them."""
    prerequisites = {
        tuple(run.id for run in spec.difficulty.prerequisites(spec))
        for ratio in (0.1, 0.5, 0.9)
        for seed in (0, 1)
        for sparsifier in SPARSIFIER_NAMES
        for spec in [hard_trial(name, ratio, sparsifier, seed)]
    }
    assert len(prerequisites) == 1


def parts(difficulty: Difficulty) -> list[Difficulty]:
    return list(getattr(difficulty, "parts", {"": difficulty}).values())


@each_difficulty
def test_no_scores_are_required_at_ratio_one(name: str) -> None:
    spec = hard_trial(name, 1.0)
    assert not [run for run in spec.difficulty.prerequisites(spec) if isinstance(run, ScoringSpec)]


@each_difficulty
def test_prerequisites_have_no_prerequisites(name: str) -> None:
    spec = hard_trial(name, 0.5)
    for run in spec.difficulty.prerequisites(spec):
        assert isinstance(run, ScoringSpec | CorruptionSpec) and not run.prerequisites()
        assert run.dataset_spec == spec.dataset
        if isinstance(run, ScoringSpec):
            assert run.trial.sparsifier.name == "dense" and run.trial.data_ratio == 1
            assert run.trial.difficulty.table_name == "none"
            assert (run.trial.model, run.trial.recipe) == (spec.model, spec.recipe)


# Training with every difficulty -------------------------------------------------------------------------------------


def tiny_trial(name: str, sparsifier: str = "dense") -> TrialSpec:
    """Return a trial on half of the tiny data. The score file of ``scores`` matches the labels."""
    spec = hard_trial(name, 0.5, sparsifier)
    if name == "scores":
        return spec.replace(difficulty={"name": name, "file": scores_file(tiny_data().train_labels.numpy())})
    return spec


def transformed(spec: TrialSpec) -> DeviceData:
    """Return the tiny data, transformed by the difficulty of ``spec``."""
    return spec.difficulty.transform(spec, tiny_data(), fake_outputs(len(tiny_data().train_labels)))


def training(spec: TrialSpec, kind: type[Trainer] = Trainer) -> Trainer:
    samples = len(tiny_data().train_labels)
    indices = spec.difficulty.select(spec, tiny_data().train_labels, fake_outputs(samples))
    return kind(spec, transformed(spec), indices, fake_parent_state)


@each_difficulty
def test_transform_does_not_change_its_input(name: str) -> None:
    """Other trials of the worker use the same tensors."""
    before = {key: value.clone() for key, value in vars(tiny_data()).items() if isinstance(value, torch.Tensor)}
    data = transformed(tiny_trial(name))
    check_same({key: getattr(tiny_data(), key) for key in before}, before)
    assert data.train_images.shape == tiny_data().train_images.shape
    assert data.train_labels.shape == tiny_data().train_labels.shape


@each_difficulty
def test_transform_changes_only_the_data_of_its_stages(name: str) -> None:
    difficulty = tiny_trial(name).difficulty
    data, stages = transformed(tiny_trial(name)), {part.stage for part in parts(difficulty)}
    assert torch.equal(data.train_labels, tiny_data().train_labels) == ("labels" not in stages)
    assert torch.equal(data.train_images, tiny_data().train_images) == ("images" not in stages)
    assert (data.corrupted_images is None) == ("images" not in stages)
    assert torch.equal(data.test_labels, tiny_data().test_labels)
    assert torch.equal(data.test_images, tiny_data().test_images)


@each_difficulty
def test_arms_use_the_same_batches_and_attack_starts(name: str) -> None:
    dense, sparse = (training(tiny_trial(name, method), CheckedTrainer) for method in ("dense", "set"))
    assert isinstance(dense, CheckedTrainer) and isinstance(sparse, CheckedTrainer)
    for _ in range(2):
        dense.train_epoch(), sparse.train_epoch()
    size = subset_size(len(tiny_data().train_labels), 0.5)
    assert sum(len(labels) for _, labels, _ in dense.batches_per_step) == 2 * size
    check_same(sparse.batches_per_step, dense.batches_per_step)


@each_difficulty
def test_training_resumes_bit_for_bit(name: str) -> None:
    spec = tiny_trial(name, "set")
    uninterrupted, interrupted = training(spec), training(spec)
    for _ in range(4):
        uninterrupted.train_epoch()
    for _ in range(2):
        interrupted.train_epoch()
    resumed = training(spec)
    resumed.restore(tensor_file.loads(tensor_file.dumps(interrupted.state())))
    for _ in range(2):
        resumed.train_epoch()
    check_same(comparable(resumed), comparable(uninterrupted))


@each_difficulty
def test_last_epoch_has_all_accuracies_of_the_difficulty(name: str) -> None:
    spec = tiny_trial(name)
    run = training(spec)
    for _ in range(4):
        run.train_epoch()
    last, stages = run.history[-1], {part.stage for part in parts(spec.difficulty)}
    assert last.clean_accuracy is not None
    assert (last.corrupted_accuracy is None) == ("images" not in stages)
    assert (last.robust_accuracy is None) == ("attack" not in stages)
    assert last.test_accuracy == (last.corrupted_accuracy if "images" in stages else last.clean_accuracy)
    assert all(0 <= value <= 1 for value in (last.clean_accuracy, last.test_accuracy))
