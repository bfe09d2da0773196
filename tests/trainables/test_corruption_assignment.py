"""Assignment of corruption types to images: counts and probabilities of the three methods, and errors."""

from __future__ import annotations

import numpy as np
import pytest

from sparsweep.trainables.corruptions import ASSIGNMENTS, TYPE_SETS, assign

H15 = TYPE_SETS["h15"]
LABELS = np.arange(30_000) % 100


def test_uniform_draws_each_type_with_equal_probability() -> None:
    counts = np.bincount(assign(30_000, None, H15, "uniform", 0.0, 0, "train"), minlength=15)
    assert len(counts) == 15
    assert np.abs(counts - 2000).max() < 5 * (30_000 * 1 / 15 * 14 / 15) ** 0.5  # five standard deviations
    assert counts.min() != counts.max()  # drawn independently, not balanced


@pytest.mark.parametrize("count", [0, 1, 14, 15, 16, 1000])
def test_balanced_counts_differ_by_at_most_one(count: int) -> None:
    counts = np.bincount(assign(count, None, H15, "balanced", 0.0, 0, "train"), minlength=15)
    assert counts.sum() == count and counts.max() - counts.min() <= 1


def test_balanced_is_in_random_order() -> None:
    assigned = assign(1500, None, H15, "balanced", 0.0, 0, "train")
    assert np.mean(assigned == np.arange(1500) % 15) == pytest.approx(1 / 15, abs=5 * (14 / 225 / 1500) ** 0.5)


@pytest.mark.parametrize("skew", [0.0, 0.3, 0.95, 1.0])
def test_class_skewed_aligns_a_share_of_the_images(skew: float) -> None:
    """The type is the class modulo 15 with probability ``skew``. The other 14 types share the rest equally."""
    assigned = assign(30_000, LABELS, H15, "class_skewed", skew, 0, "train")
    shift = (assigned - LABELS) % 15
    shares = np.bincount(shift, minlength=15) / 30_000
    assert shares[0] == pytest.approx(skew, abs=5 * (skew * (1 - skew) / 30_000) ** 0.5)
    rest = (1 - skew) / 14
    assert shares[1:] == pytest.approx([rest] * 14, abs=5 * (rest / 30_000) ** 0.5)


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_the_same_seed_and_split_give_the_same_types(assignment: str) -> None:
    def types(seed: int, split: str) -> list[int]:
        return assign(500, LABELS[:500], H15, assignment, 0.5, seed, split).tolist()

    assert types(0, "train") == types(0, "train")
    assert types(0, "train") != types(1, "train")
    assert types(0, "train") != types(0, "test")


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_assigned_positions_are_integers_within_the_types(assignment: str) -> None:
    assigned = assign(500, LABELS[:500], TYPE_SETS["named3"], assignment, 0.5, 0, "train")
    assert assigned.dtype == np.int64 and assigned.shape == (500,) and set(assigned.tolist()) == {0, 1, 2}


def test_a_single_type_is_assigned_to_all_images() -> None:
    assert not assign(20, None, ("fog",), "uniform", 0.0, 0, "train").any()
    assert not assign(20, None, ("fog",), "balanced", 0.0, 0, "train").any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"assignment": "random"}, "assignment: unknown 'random'; choose from uniform, balanced, class_skewed"),
        ({"types": ()}, r"types: must have at least one type \(got none\)"),
        ({"types": ("fog",)}, r"types: class_skewed needs at least two types \(got 1\)"),
        ({"labels": None}, "labels: class_skewed needs one label per image, 100"),
        ({"labels": LABELS[:99]}, "labels: class_skewed needs one label per image, 100"),
        ({"skew": 1.5}, r"skew: must be a probability in \[0, 1\] \(got 1\.5\)"),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_errors_name_the_value_and_the_choices(changes: dict[str, object], message: str) -> None:
    arguments = {"count": 100, "labels": LABELS[:100], "types": H15, "assignment": "class_skewed", "skew": 0.5}
    with pytest.raises(ValueError, match=message):
        assign(**(arguments | {"seed": 0, "split": "train"} | changes))
