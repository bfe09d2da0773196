"""Masks: the active weights of each layer, as an immutable value with exact counts and stable selection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

from sparsweep.trainables.lazy import torch


class Masks(Mapping[str, "torch.Tensor"]):
    """Boolean tensor for every maskable weight, by name, in network order. True means that the weight is active."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        for name, tensor in tensors.items():
            if tensor.dtype is not torch.bool:
                raise TypeError(f"mask {name}: must be boolean (got {tensor.dtype}).")
        self._tensors = dict(tensors)

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    @classmethod
    def full(cls, weights: Mapping[str, torch.Tensor]) -> Masks:
        """Return masks in which every weight is active."""
        return cls({name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()})

    @property
    def size(self) -> int:
        """Number of maskable weights."""
        return sum(mask.numel() for mask in self.values())

    def counts(self) -> dict[str, int]:
        """Return the number of active weights by layer, with one device-to-host transfer."""
        totals = torch.stack([mask.sum() for mask in self.values()]).tolist()
        return dict(zip(self, totals, strict=True))

    def density(self) -> float:
        """Return the fraction of all maskable weights that is active, in [0, 1]."""
        return sum(self.counts().values()) / self.size

    def equal(self, other: Masks) -> bool:
        """Return whether names, order and values are equal."""
        return list(self) == list(other) and all(torch.equal(self[name], other[name]) for name in self)


def is_plain(value: Any) -> bool:
    """Return whether ``value`` is a dense CPU tensor: not sparse, nested, quantized or without data."""
    return (
        isinstance(value, torch.Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not (value.is_nested or value.is_quantized)
    )


def num_active(total: int, sparsity: float) -> int:
    """Return the number of active weights: the nearest integer, at least 1.

    Args:
        total: Number of weights.
        sparsity: Sparsity in [0, 1).
    """
    return max(1, round((1 - sparsity) * total))


def ranks(scores: torch.Tensor) -> torch.Tensor:
    """Return the rank of every element, 0 for the largest. Of equal elements the earlier one ranks first."""
    order = torch.argsort(scores.flatten(), descending=True, stable=True)
    result = torch.empty_like(order)
    result[order] = torch.arange(len(order), device=order.device)
    return result.view_as(scores)


def largest(scores: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
    """Select the ``count`` largest elements. Of equal elements the earlier one is selected.

    Two algorithms give the same mask. A GPU sorts fast, and the host does not synchronize for a ``count`` on the GPU. A
    CPU needs half the time of a training step to sort the network's weights (11 million). Partial selection of the
    threshold needs an eighth of that time.

    Args:
        scores: Scores of any shape.
        count: Number of elements to select.

    Returns:
        Boolean tensor with the shape of ``scores``.
    """
    return (top_k_by_threshold if scores.device.type == "cpu" else top_k_by_sort)(scores, count)


def top_k_by_sort(scores: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
    """Select the ``count`` largest elements by a full sort (see :func:`largest`)."""
    return ranks(scores) < count


def top_k_by_threshold(scores: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
    # A diverged training has NaN scores. They count as large, as in sorting.
    """Select the ``count`` largest elements by the value of the smallest of them (see :func:`largest`)."""
    values = scores.detach().flatten().nan_to_num(inf, inf, -inf)
    kept = int(count)
    num_masked = len(values) - kept
    if not 0 < num_masked < len(values):
        return torch.full_like(scores, num_masked <= 0, dtype=torch.bool)
    # numpy.partition takes half the time of kthvalue, but ten times as long with many equal values.
    threshold = values.kthvalue(num_masked + 1).values
    selected = values > threshold
    ties = (values == threshold).nonzero().squeeze(1)
    selected[ties[: kept - int(selected.sum())]] = True
    return selected.view_as(scores)


def top_k_global(scores: Mapping[str, torch.Tensor], count: int) -> Masks:
    """Keep exactly the ``count`` largest of all scores ("global" pruning).

    Args:
        scores: Scores by layer name.
        count: Number of active weights in the network.
    """
    flat = torch.cat([score.flatten() for score in scores.values()])
    kept = largest(flat, count)
    parts = kept.split([score.numel() for score in scores.values()])
    return Masks({name: part.view_as(scores[name]) for name, part in zip(scores, parts, strict=True)})


def top_k_per_layer(scores: Mapping[str, torch.Tensor], counts: Mapping[str, int]) -> Masks:
    """Keep exactly the ``counts[name]`` largest scores of every layer.

    Args:
        scores: Scores by layer name.
        counts: Number of active weights by layer name.
    """
    return Masks({name: largest(score, counts[name]) for name, score in scores.items()})


def random_per_layer(
    weights: Mapping[str, torch.Tensor], counts: Mapping[str, int], generator: torch.Generator
) -> Masks:
    """Keep exactly ``counts[name]`` weights of every layer, drawn uniformly.

    Args:
        weights: Weights by layer name.
        counts: Number of active weights by layer name.
        generator: CPU generator of the draw.
    """
    return top_k_per_layer(uniform_scores(weights, generator), counts)


def uniform_scores(weights: Mapping[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Draw independent U(0, 1) scores in the shape of every weight.

    The values do not depend on the device of the weights.

    Args:
        weights: Weights by layer name.
        generator: CPU generator of the draw.
    """
    return {name: torch.rand(w.shape, generator=generator).to(w.device) for name, w in weights.items()}
