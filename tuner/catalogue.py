"""What there is to choose from, by kind: what ``sparsweep list`` lists."""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What ``sparsweep list`` can list."""

    sparsifiers = "sparsifiers"
    difficulties = "difficulties"
    datasets = "datasets"
    models = "models"
    sweeps = "sweeps"


def catalogue(kind: Kind) -> list[dict[str, str]]:
    """``name`` and ``summary`` of everything of one kind."""
    if kind is Kind.sweeps:
        from tuner.sweep import built_in, description

        return [{"name": name, "summary": description(path)} for name, path in built_in().items()]
    from trainables.data import datasets
    from trainables.difficulty import difficulties
    from trainables.models import models
    from trainables.sparsifiers import sparsifiers

    registries: dict[Kind, Any] = {
        Kind.sparsifiers: sparsifiers,
        Kind.difficulties: difficulties,
        Kind.datasets: datasets,
        Kind.models: models,
    }
    registry = registries[kind]
    return [{"name": name, "summary": registry[name].summary()} for name in registry.names()]


def lines(rows: list[dict[str, str]]) -> list[str]:
    """A catalogue as a person reads it."""
    width = max(len(row["name"]) for row in rows)
    return [f"{row['name']:<{width}}  {row['summary']}" for row in rows]
