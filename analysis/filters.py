"""Filters that select the trials of a panel or of a claim."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict

from sparsweep.analysis import naming
from sparsweep.analysis.groups import DENSE


class Value(BaseModel):
    """A frozen value that rejects unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _as_range(sparsity: Any) -> Any:
    return (sparsity, sparsity) if isinstance(sparsity, int | float) else sparsity


def _as_names(names: Any) -> Any:
    return (names,) if isinstance(names, str) else names


class TrialFilter(Value):
    """Trials with given field values. None matches every value.

    Attributes:
        difficulty: One name or several.
        severity: Severity of the corruption. Difficulties without one match any severity.
        label_noise: Share of wrong training labels. Difficulties without one match any share.
        sparsity: One sparsity, or (lowest, highest). Dense matches every sparsity.
        sparsifier: This method and dense.
    """

    dataset: str | None = None
    model: str | None = None
    difficulty: Annotated[tuple[str, ...] | None, BeforeValidator(_as_names)] = None
    severity: int | None = None
    label_noise: float | None = None
    data_ratio: float | None = None
    sparsity: Annotated[tuple[float, float] | None, BeforeValidator(_as_range)] = None
    sparsifier: str | None = None

    def match(self, trials: pd.DataFrame) -> pd.Series:
        """Return a bool per row of ``trials``."""
        is_dense = trials["sparsifier"] == DENSE
        found = pd.Series(True, index=trials.index)
        for column in ("dataset", "model"):
            if (wanted := getattr(self, column)) is not None:
                found &= trials[column] == wanted
        if self.difficulty is not None:
            found &= trials["difficulty"].isin(self.difficulty)
        for name, value in (("severity", self.severity), ("fraction", self.label_noise)):
            if value is not None:
                texts = trials["difficulty_parameters"]
                known = {text: naming.parameter(text, name) in (None, value) for text in texts.unique()}
                found &= texts.map(known).astype(bool)
        if self.data_ratio is not None:
            found &= np.isclose(trials["data_ratio"], self.data_ratio)
        if self.sparsity is not None:
            low, high = self.sparsity
            found &= is_dense | trials["sparsity"].between(low - 1e-9, high + 1e-9)
        if self.sparsifier is not None:
            found &= is_dense | (trials["sparsifier"] == self.sparsifier)
        return found

    def __str__(self) -> str:
        data = " / ".join(name for name in (self.dataset, self.model) if name)
        hardness = " or ".join(naming.difficulty(name, None) for name in self.difficulty or ())
        hardness += "" if self.severity is None else f" (severity {self.severity})"
        hardness += "" if self.label_noise is None else f" ({self.label_noise:.0%} wrong labels)"
        ratio = "" if self.data_ratio is None else f"data ratio {self.data_ratio:g}"
        return ", ".join(part for part in (data, hardness.strip(), ratio, self._sparsities(), self.sparsifier) if part)

    def _sparsities(self) -> str:
        if self.sparsity is None:
            return ""
        low, high = self.sparsity
        return f"sparsity {low:g}" if low == high else f"sparsity {low:g} to {high:g}"
