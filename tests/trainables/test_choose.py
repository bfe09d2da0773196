"""Selection of samples by score: exact counts, complementary ends, class balance, windows, and ties by index."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsweep.trainables.difficulties.selection import largest_remainder, select_by_score

exact = settings(max_examples=200, deadline=None, derandomize=True)
sample_counts = st.integers(1, 60)
KEEP = ["hardest", "easiest", "window"]


def tied_scores(samples: int, seed: int) -> torch.Tensor:
    """Return scores with few distinct values, so that ties are common."""
    return torch.randint(0, 5, (samples,), generator=torch.Generator().manual_seed(seed)).double()


def scores_without_ties(samples: int, seed: int) -> torch.Tensor:
    return torch.randperm(samples, generator=torch.Generator().manual_seed(seed)).double()


def selected(scores: list[float], *arguments: object) -> list[int]:
    return select_by_score(torch.tensor(scores, dtype=torch.float64), *arguments).tolist()  # type: ignore[arg-type]


# By hand -------------------------------------------------------------------------------------------------------------

SCORES = [0.5, 0.9, 0.5, 0.4, 0.2, 0.7, 0.1, 0.0, 0.3, 0.6]
"""From hard to easy: 1 5 9 0 2 3 8 4 6 7. 0 and 2 are tied."""


@pytest.mark.parametrize(
    ("ratio", "keep", "start", "expected"),
    [
        (0.4, "hardest", 0.0, [0, 1, 5, 9]),
        (0.4, "easiest", 0.0, [4, 6, 7, 8]),
        (0.4, "window", 0.0, [0, 1, 5, 9]),
        (0.4, "window", 0.3, [0, 2, 3, 8]),
        (0.4, "window", 0.6, [4, 6, 7, 8]),
        (1.0, "hardest", 0.0, list(range(10))),
        (0.01, "hardest", 0.0, [1]),
    ],
)
def test_selection_by_hand(ratio: float, keep: str, start: float, expected: list[int]) -> None:
    assert selected(SCORES, ratio, keep, start) == expected


def test_of_equal_scores_the_earlier_samples_are_kept_at_both_ends() -> None:
    assert selected([1.0] * 6, 0.5, "hardest") == selected([1.0] * 6, 0.5, "easiest") == [0, 1, 2]


def test_infinite_scores_are_the_hardest_and_the_easiest() -> None:
    scores = [1.0, float("inf"), 0.0, float("-inf")]
    assert (selected(scores, 0.25, "hardest"), selected(scores, 0.25, "easiest")) == ([1], [3])


def test_balanced_by_hand() -> None:
    """Half of six samples of class 0 and of four of class 1 is three and two, though all of class 1 is easier."""
    classes = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1, 0, 0])
    scores = [9.0, 1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0, 10.0]
    assert selected(scores, 0.5, "hardest", 0.0, classes) == [0, 2, 5, 7, 9]
    assert selected(scores, 0.5, "easiest", 0.0, classes) == [1, 3, 4, 6, 8]
    assert selected(scores, 0.5, "hardest") == [0, 2, 4, 6, 9]


def test_a_balanced_window_is_taken_in_each_class() -> None:
    """From hard to easy class 0 is 0 2 4 6, class 1 is 1 3 5 7. A quarter of each is taken from the middle on."""
    classes = torch.tensor([0, 1] * 4)
    assert selected([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 0.25, "window", 0.5, classes) == [4, 5]


def test_largest_remainder_by_hand() -> None:
    """10 divided by 5 : 3 : 2 leaves no remainder. 7 gives 3.5, 2.1 and 1.4: the largest remainder is rounded up."""
    assert largest_remainder([5, 3, 2], 10) == [5, 3, 2]
    assert largest_remainder([5, 3, 2], 7) == [4, 2, 1]
    assert largest_remainder([1, 1, 1], 2) == [1, 1, 0]


# Properties ----------------------------------------------------------------------------------------------------------


@exact
@given(
    samples=sample_counts,
    ratio=st.floats(0.001, 1),
    keep=st.sampled_from(KEEP),
    start=st.floats(0, 1),
    seed=st.integers(0, 9),
)
def test_the_selection_is_exact_ascending_and_contiguous_in_rank(
    samples: int, ratio: float, keep: str, start: float, seed: int
) -> None:
    scores = scores_without_ties(samples, seed)
    found = select_by_score(scores, ratio, keep, start)
    assert len(found) == max(1, round(samples * ratio))
    assert (found.diff() > 0).all() and found[0] >= 0 and found[-1] < samples
    ranks = scores[found].sort().values
    assert (ranks.diff() == 1).all()
    if keep == "hardest":
        assert ranks[-1] == samples - 1
    elif keep == "easiest":
        assert ranks[0] == 0
    else:
        above = samples - 1 - int(ranks[-1])
        assert above == min(round(start * samples), samples - len(found))


@exact
@given(samples=st.integers(2, 60), data=st.data())
def test_the_hardest_and_the_easiest_complement_each_other(samples: int, data: st.DataObject) -> None:
    kept = data.draw(st.integers(1, samples - 1))
    scores = scores_without_ties(samples, data.draw(st.integers(0, 9)))
    hardest, easiest = (
        select_by_score(scores, kept / samples, "hardest"),
        select_by_score(scores, 1 - kept / samples, "easiest"),
    )
    assert sorted([*hardest.tolist(), *easiest.tolist()]) == list(range(samples))


@exact
@given(samples=sample_counts, data=st.data(), keep=st.sampled_from(["hardest", "easiest"]))
def test_a_larger_ratio_keeps_the_samples_of_a_smaller_one(samples: int, data: st.DataObject, keep: str) -> None:
    small, large = sorted(data.draw(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1))))
    scores = tied_scores(samples, data.draw(st.integers(0, 9)))
    assert set(select_by_score(scores, small, keep).tolist()) <= set(select_by_score(scores, large, keep).tolist())


@exact
@given(
    samples=sample_counts,
    ratio=st.floats(0.01, 1),
    seed=st.integers(0, 9),
    keep=st.sampled_from(["hardest", "easiest"]),
)
def test_ties_go_by_index(samples: int, ratio: float, seed: int, keep: str) -> None:
    """The result equals sorting by (score, index)."""
    scores = tied_scores(samples, seed)
    sign = -1 if keep == "hardest" else 1
    ranking = sorted(range(samples), key=lambda sample: (sign * scores[sample].item(), sample))
    assert select_by_score(scores, ratio, keep).tolist() == sorted(ranking[: max(1, round(samples * ratio))])


@exact
@given(
    samples=sample_counts, classes=st.integers(1, 7), ratio=st.floats(0.001, 1), seed=st.integers(0, 9), data=st.data()
)
def test_balanced_counts_are_exact_in_total_and_within_one_in_each_class(
    samples: int, classes: int, ratio: float, seed: int, data: st.DataObject
) -> None:
    scores = tied_scores(samples, seed)
    labels = torch.tensor(data.draw(st.lists(st.integers(0, classes - 1), min_size=samples, max_size=samples)))
    keep, start = data.draw(st.sampled_from(KEEP)), data.draw(st.floats(0, 1))
    found = select_by_score(scores, ratio, keep, start, labels)
    size = max(1, round(samples * ratio))
    assert len(found) == len(set(found.tolist())) == size and (found.diff() > 0).all()
    for label in labels.unique():
        class_size = int((labels == label).sum())
        count = int((labels[found] == label).sum())
        assert abs(count - Fraction(class_size * size, samples)) < 1
        if keep != "window":
            alone = (
                select_by_score(scores[labels == label], count / class_size, keep)
                if count
                else torch.tensor([], dtype=torch.int64)
            )
            assert torch.equal((labels == label).nonzero()[alone, 0], found[labels[found] == label])


@exact
@given(sizes=st.lists(st.integers(1, 10**6), min_size=1, max_size=30), data=st.data())
def test_largest_remainder_is_exact_and_within_one_and_bounds(sizes: list[int], data: st.DataObject) -> None:
    total = data.draw(st.integers(0, sum(sizes)))
    counts = largest_remainder(sizes, total)
    assert sum(counts) == total
    for size, count in zip(sizes, counts, strict=True):
        assert 0 <= count <= size and abs(count - Fraction(size * total, sum(sizes))) < 1
