"""Masks: which weights of which layer are there. One immutable value, exact counts, stable choices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

from sparsweep.trainables.lazy import torch


class Masks(Mapping[str, "torch.Tensor"]):
    """A boolean tensor for every maskable weight, by name, in the order of the layers (True: the weight is there)."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        for name, tensor in tensors.items():
            if tensor.dtype is not torch.bool:
                raise TypeError(f"mask {name} must be boolean, not {tensor.dtype}")
        self._tensors = dict(tensors)

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    @classmethod
    def full(cls, weights: Mapping[str, torch.Tensor]) -> Masks:
        """Every weight is there."""
        return cls({name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()})

    @property
    def size(self) -> int:
        """Number of maskable weights."""
        return sum(mask.numel() for mask in self.values())

    def counts(self) -> dict[str, int]:
        """Number of weights that are there, by layer (one transfer from the device)."""
        totals = torch.stack([mask.sum() for mask in self.values()]).tolist()
        return dict(zip(self, totals, strict=True))

    def density(self) -> float:
        """Fraction of all maskable weights that are there, in [0, 1]."""
        return sum(self.counts().values()) / self.size

    def equal(self, other: Masks) -> bool:
        return list(self) == list(other) and all(torch.equal(self[name], other[name]) for name in self)


def is_plain(value: Any) -> bool:
    """Return whether ``value`` is a tensor of numbers in memory: not sparse, nested, quantized or without data."""
    return (
        isinstance(value, torch.Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not (value.is_nested or value.is_quantized)
    )


def num_active(total: int, sparsity: float) -> int:
    """How many of ``total`` weights remain at ``sparsity`` in [0, 1): the nearest whole number, at least 1."""
    return max(1, round((1 - sparsity) * total))


def ranks(scores: torch.Tensor) -> torch.Tensor:
    """Rank of every element, 0 for the largest; of equal elements the earlier one ranks first. Shape of ``scores``."""
    order = torch.argsort(scores.flatten(), descending=True, stable=True)
    result = torch.empty_like(order)
    result[order] = torch.arange(len(order), device=order.device)
    return result.view_as(scores)


def largest(scores: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
    """Which ``count`` elements are the largest; of equal ones the earlier. Boolean, of the shape of ``scores``.

    Two ways to the same mask. On a GPU sorting is quick, and a ``count`` that lies there is not waited for. On a CPU
    sorting eleven million weights takes half as long as a training step of their network; to find the one at which to
    draw the line takes an eighth of that.
    """
    return (top_k_by_threshold if scores.device.type == "cpu" else top_k_by_sort)(scores, count)


def top_k_by_sort(scores: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
    return ranks(scores) < count


def top_k_by_threshold(scores: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
    # Where training has diverged there are scores that are no numbers: they count as large, as in sorting.
    values = scores.detach().flatten().nan_to_num(inf, inf, -inf)
    kept = int(count)
    rest = len(values) - kept
    if not 0 < rest < len(values):
        return torch.full_like(scores, rest <= 0, dtype=torch.bool)
    line = values.kthvalue(rest + 1).values  # numpy.partition takes half the time, and ten times that where many tie
    found = values > line
    on_the_line = (values == line).nonzero().squeeze(1)
    found[on_the_line[: kept - int(found.sum())]] = True
    return found.view_as(scores)


def top_k_global(scores: Mapping[str, torch.Tensor], count: int) -> Masks:
    """Keep exactly the ``count`` largest of all scores together ("global" pruning)."""
    flat = torch.cat([score.flatten() for score in scores.values()])
    kept = largest(flat, count)
    parts = kept.split([score.numel() for score in scores.values()])
    return Masks({name: part.view_as(scores[name]) for name, part in zip(scores, parts, strict=True)})


def top_k_per_layer(scores: Mapping[str, torch.Tensor], counts: Mapping[str, int]) -> Masks:
    """Keep exactly the ``counts[name]`` largest scores of every layer."""
    return Masks({name: largest(score, counts[name]) for name, score in scores.items()})


def random_per_layer(
    weights: Mapping[str, torch.Tensor], counts: Mapping[str, int], generator: torch.Generator
) -> Masks:
    """Keep exactly ``counts[name]`` weights of every layer, drawn uniformly."""
    return top_k_per_layer(uniform_scores(weights, generator), counts)


def uniform_scores(weights: Mapping[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Independent U(0, 1) scores of the shape of every weight, on its device, the same whatever the device."""
    return {name: torch.rand(w.shape, generator=generator).to(w.device) for name, w in weights.items()}
