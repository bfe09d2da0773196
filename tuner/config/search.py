"""Hyperparameter search with Optuna: field ``search`` of a sweep file, in place of ``grids``.

Module ``space`` documents the syntax of ``search.space``.
"""

from __future__ import annotations

from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from sparsweep.trainables.specs.base import FrozenModel, SpecError, unknown_choice
from sparsweep.trainables.storage.schemas import SCHEMAS

NUMBERS = [name for name in SCHEMAS["trials"].names if pa.types.is_floating(SCHEMAS["trials"].field(name).type)]
"""Columns of ``trials`` that can be objectives of a search."""


class Search(FrozenModel):
    """Settings of a hyperparameter search."""

    space: dict[str, Any] | list[dict[str, Any]] = Field(description="fields of a trial, with intervals and choices")
    objectives: dict[str, Literal["maximize", "minimize"]] = Field(
        min_length=1, description="columns of the trials table and their directions"
    )
    trials: int = Field(default=50, ge=1, description="total number of suggestions")
    sampler: Literal["tpe", "gp", "nsga2", "random", "qmc"] = Field(default="tpe", description="Optuna sampler")
    sampler_seed: int = Field(default=0, ge=0, lt=2**32, description="seed of the sampler")
    population: int = Field(default=20, ge=2, description="population size of nsga2; the first generation is random")
    stopping: Literal["none", "asha", "median"] = Field(default="none", description="early stopping of weak trials")
    grace: int = Field(default=1, ge=1, description="minimum epochs before early stopping")

    @field_validator("objectives")
    @classmethod
    def _columns_of_numbers(cls, objectives: dict[str, str]) -> dict[str, str]:
        for name in objectives:
            if name not in NUMBERS:
                raise ValueError(unknown_choice("column", name, NUMBERS))
        return objectives

    @model_validator(mode="after")
    def _stopping_needs_one_curve(self) -> Search:
        if self.stopping != "none" and self.objectives != {"test_accuracy": "maximize"}:
            raise SpecError(
                "stopping",
                f"'{self.stopping}' needs the single objective test_accuracy: maximize (got {self.objectives})",
            )
        return self
