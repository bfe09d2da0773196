"""Columns of the table ``trials`` that follow from the spec, for finished and unfinished trials."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from sparsweep.trainables.specs.recipe import Recipe
from sparsweep.trainables.specs.run import to_json
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.schemas import SCHEMAS, build_table


def spec_columns(spec: TrialSpec) -> dict[str, Any]:
    """Return the columns of a trial that follow from its spec, by name."""
    return {
        "trial": spec.id,
        "comparison": spec.comparison,
        "dataset": spec.dataset.name,
        "model": spec.model.name,
        "sparsifier": spec.sparsifier.name,
        "sparsity": spec.sparsity,
        "difficulty": spec.difficulty.table_name,
        "data_ratio": spec.data_ratio,
        "seed": spec.seed,
        "profile": spec.profile,
        "epochs": spec.recipe.epochs,
        "steps": spec.steps,
        "samples": spec.num_samples,
        "dataset_parameters": spec.dataset.model_dump_json(exclude={"name"}),
        "model_parameters": spec.model.model_dump_json(exclude={"name"}),
        "sparsifier_parameters": spec.sparsifier.model_dump_json(exclude={"name"}),
        "difficulty_parameters": spec.difficulty.model_dump_json(exclude={"name"}),
        "step_budget": spec.recipe.steps,
        "evaluation_every": spec.evaluation.every,
        "spec": to_json(spec),
        **_recipe_columns(spec.recipe),
    }


def _recipe_columns(recipe: Recipe) -> dict[str, Any]:
    """Return the columns of a recipe. Null: the field has no effect."""
    others = {name: getattr(recipe, name) for name in Recipe.model_fields if name not in ("epochs", "steps")}
    columns = {**others, "milestones": json.dumps(recipe.milestones)}
    return {name: None if name in recipe.unused else value for name, value in columns.items()}


def planned_trials(specs: Iterable[TrialSpec]) -> pa.Table:
    """Return rows of the table ``trials`` for ``specs``, with null in every column that needs a training."""
    empty: dict[str, Any] = dict.fromkeys(SCHEMAS["trials"].names)
    return build_table("trials", [{**empty, **spec_columns(spec)} for spec in specs])
