"""Label noise: the exact number of wrong labels, their new classes, and the inputs of the random draw."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsweep.trainables.difficulties.label_noise import noisy_labels
from sparsweep.trainables.pipeline.device_data import DeviceData
from support.tiny_trials import sources, trial


def labels(samples: int, classes: int) -> torch.Tensor:
    return torch.arange(samples) % classes


@pytest.mark.parametrize("kind", ["symmetric", "pairwise"])
@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    samples=st.integers(1, 200),
    classes=st.integers(2, 12),
    fraction=st.floats(0.001, 0.999),
    seed=st.integers(0, 2**31 - 1),
)
def test_exactly_the_given_fraction_of_labels_is_wrong(
    kind: str, samples: int, classes: int, fraction: float, seed: int
) -> None:
    clean = labels(samples, classes)
    noisy = noisy_labels(clean, classes, kind, fraction, seed)
    wrong = noisy != clean
    assert abs(int(wrong.sum()) - fraction * samples) <= 0.5
    assert noisy.dtype == torch.int64 and noisy.min() >= 0 and noisy.max() < classes
    assert torch.equal(clean, labels(samples, classes)), "the input must not change"
    if kind == "pairwise":
        assert torch.equal(noisy[wrong], (clean[wrong] + 1) % classes)


def test_symmetric_noise_draws_the_other_classes_uniformly() -> None:
    """30,000 wrong labels of class 2 of 4 give 10,000 of each other class, within five standard deviations of 82."""
    noisy = noisy_labels(torch.full((40_000,), 2), 4, "symmetric", 0.75, seed=3)
    counts = noisy.bincount(minlength=4).tolist()
    assert counts[2] == 10_000
    assert all(abs(counts[label] - 10_000) < 5 * 82 for label in (0, 1, 3))


def test_the_wrong_samples_depend_on_the_seed() -> None:
    first, again, other = (noisy_labels(labels(500, 5), 5, "pairwise", 0.3, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_labels_do_not_depend_on_data_ratio_and_method(digits: DeviceData) -> None:
    noise = {"name": "label_noise", "fraction": 0.4}
    specs = [
        trial(difficulty=noise, data_ratio=0.1),
        trial(difficulty=noise, data_ratio=0.9),
        trial(difficulty=noise, sparsifier="set", sparsity=0.8),
    ]

    def altered(spec: object) -> DeviceData:
        return spec.difficulty.transform(spec, digits, sources(None))  # type: ignore[attr-defined,arg-type]

    one, *others = [altered(spec) for spec in specs]
    wrong = one.train_labels != digits.train_labels
    assert int(wrong.sum()) == round(0.4 * len(wrong))
    assert all(torch.equal(one.train_labels, other.train_labels) for other in others)
    unchanged = replace(one, train_labels=digits.train_labels)
    assert unchanged == digits, "images and test labels must be unchanged"
