"""Names that sweep files can use, by kind, for ``sparsweep list``."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsweep.analysis.claims import Claim
    from sparsweep.trainables.specs.base import FrozenModel


class Kind(StrEnum):
    """Kinds of names that ``sparsweep list`` accepts."""

    sparsifiers = "sparsifiers"
    difficulties = "difficulties"
    datasets = "datasets"
    models = "models"
    sweeps = "sweeps"
    claims = "claims"
    fields = "fields"


def catalogue(kind: Kind) -> list[dict[str, str]]:
    """Return ``name`` and ``summary`` of every entry of one kind."""
    if kind is Kind.sweeps:
        from sparsweep.tuner.config.sweep import built_in, description

        return [{"name": name, "summary": description(path)} for name, path in built_in().items()]
    if kind is Kind.claims:
        return [{"name": name, "summary": claim.statement} for name, claim in _claims().items()]
    return [{"name": name, "summary": cls.summary()} for name, cls in classes(kind).items()]


def _claims() -> dict[str, Claim]:
    from sparsweep.analysis.claims import followup_claims, paper_claims

    return {claim.claim: claim for claim in (*paper_claims(), *followup_claims())}


def classes(kind: Kind) -> dict[str, type[FrozenModel]]:
    """Return the classes of one kind by name. For ``fields``: the parts of a sweep file."""
    if kind is Kind.fields:
        return _parts_of_a_sweep()
    from sparsweep.trainables.data import datasets
    from sparsweep.trainables.difficulties import difficulties
    from sparsweep.trainables.models import models
    from sparsweep.trainables.sparsifiers import sparsifiers

    registries: dict[Kind, Any] = {
        Kind.sparsifiers: sparsifiers,
        Kind.difficulties: difficulties,
        Kind.datasets: datasets,
        Kind.models: models,
    }
    registry = registries[kind]
    return {name: registry[name] for name in registry.names()}


def _parts_of_a_sweep() -> dict[str, type[FrozenModel]]:
    from sparsweep.trainables.specs.recipe import Recipe
    from sparsweep.trainables.specs.trial import Evaluation, TrialSpec
    from sparsweep.trainables.training.execution import ExecutionConfig
    from sparsweep.tuner.config.adaptive_seeds import AdaptiveSeeds
    from sparsweep.tuner.config.resources import Resources
    from sparsweep.tuner.config.search import Search
    from sparsweep.tuner.config.sweep import Sweep

    return {
        "sweep": Sweep,
        "trial": TrialSpec,
        "recipe": Recipe,
        "evaluation": Evaluation,
        "search": Search,
        "seeds": AdaptiveSeeds,
        "resources": Resources,
        "execution": ExecutionConfig,
    }


def field_reference(kind: Kind, name: str) -> dict[str, Any]:
    """Return ``name``, ``about`` (documentation) and ``fields`` of one entry. Raise ValueError for an unknown name."""
    from sparsweep.trainables.specs.base import unknown_choice
    from sparsweep.tuner.cli.field_reference import describe_part, fields

    if kind is Kind.sweeps:
        raise ValueError(f"NAME {name!r}: all sweeps have the same fields. List them: sparsweep list fields sweep")
    if kind is Kind.claims:
        return _described_claim(name)
    entries = classes(kind)
    if name not in entries:
        raise ValueError(f"NAME: {unknown_choice(str(kind), name, entries)}")
    return {"name": name, "about": describe_part(entries[name]), "fields": fields(entries[name])}


def _described_claim(name: str) -> dict[str, Any]:
    """Return ``name`` and ``about`` (statement, source and rules) of a claim."""
    from sparsweep.analysis.claims.format import missing_runs
    from sparsweep.trainables.specs.base import unknown_choice

    claims = _claims()
    if name not in claims:
        raise ValueError(f"NAME: {unknown_choice('claim', name, claims)}")
    claim = claims[name]
    says = [f"- {', '.join(part.methods)}: {part.says}" for part in claim.parts]
    lines = [claim.statement, "", f"Source: {claim.source}", f"It {missing_runs(claim)}", "It holds if:", *says]
    return {"name": name, "about": "\n".join(lines)}


def format_field_reference(facts: dict[str, Any]) -> list[str]:
    """Format the documentation and the fields of one entry as lines."""
    from sparsweep.tuner.cli.field_reference import format_fields

    if "fields" not in facts:  # a claim
        return [facts["about"]]
    return [facts["about"], "", *(format_fields(facts["fields"]) if facts["fields"] else ["No fields."])]


def format_choices(rows: list[dict[str, str]]) -> list[str]:
    """Format a catalogue, one line per entry."""
    width = max(len(row["name"]) for row in rows)
    return [f"{row['name']:<{width}}  {row['summary']}" for row in rows]
