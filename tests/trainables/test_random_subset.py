"""Random subset of the training data: one per seed, or the fixed subset of the authors (D19)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sparsweep.trainables.difficulties.none import NoDifficulty
from sparsweep.trainables.specs.run import from_json, to_json
from sparsweep.trainables.specs.trial import TrialSpec
from support.tiny_trials import sources, trial

LABELS = torch.zeros(45_000, dtype=torch.int64)


def no_scores(*_: object) -> torch.Tensor:
    raise LookupError("unexpected request for scores")


def chosen(spec: TrialSpec) -> list[int]:
    return spec.difficulty.select(spec, LABELS, sources(no_scores)).tolist()


def half(**fields: Any) -> TrialSpec:
    return trial(data_ratio=0.5, **fields)


def test_each_seed_has_a_different_subset() -> None:
    first, again, other = (chosen(half(seed=seed)) for seed in (0, 0, 1))
    assert first == again != other
    assert len(first) == 22_500


def test_subset_seed_12345_gives_the_authors_subset() -> None:
    """The authors use ``np.random.RandomState(12345).choice(n, int(n * r), replace=False)``. Ours is sorted."""
    expected = np.random.RandomState(12345).choice(45_000, int(45_000 * 0.5), replace=False)
    for seed in (15, 16):
        assert chosen(half(difficulty=NoDifficulty(subset_seed=12345), seed=seed)) == sorted(expected.tolist())


@pytest.mark.parametrize(
    "difficulty",
    ["none", "adversarial", {"name": "adversarial", "steps": 3}, {"name": "composed", "attack": "adversarial"}],
)
def test_profile_authors_sets_the_subset_seed_of_every_random_difficulty(difficulty: Any) -> None:
    authors, paper = (half(difficulty=difficulty, profile=profile) for profile in ("authors", "paper"))
    assert chosen(authors) == chosen(half(difficulty=NoDifficulty(subset_seed=12345)))
    assert chosen(authors) == chosen(authors.replace(seed=7)) != chosen(paper)
    assert chosen(paper) != chosen(paper.replace(seed=7))
    assert authors.difficulty.table_name == paper.difficulty.table_name
    assert from_json(to_json(authors)) == authors


def test_explicit_subset_seed_overrides_the_profile() -> None:
    attack = {"name": "composed", "selection": {"name": "none", "subset_seed": None}, "attack": "adversarial"}
    assert chosen(half(difficulty=attack, profile="authors")) == chosen(half())
