"""How a figure is to look on a page: its width, and what its bars and bands show."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import pandas as pd

Spread = Literal["std", "interval"]

_INCHES = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72}
_NARROWEST, _WIDEST = 2.5, 24.0  # inches


@dataclass(frozen=True)
class Form:
    """``width``: of the whole figure in inches; None: as wide as its panels need.

    ``spread``: what bars and bands around a mean over seeds show, one standard deviation or the mean's 95 % interval
    (Student's t).
    """

    width: float | None = None
    spread: Spread = "std"

    def half(self, rows: pd.DataFrame, name: str = "") -> pd.Series:
        """Half the length of each bar: column ``NAME_std`` or ``NAME_interval``; without a name, of the accuracy."""
        if name:
            return rows[f"{name}_{self.spread}"]
        return rows["std_percent" if self.spread == "std" else "interval_percent"]

    @property
    def said(self) -> str:
        """What a bar shows, in words."""
        return "standard deviation over seeds" if self.spread == "std" else "95 % interval of the mean (Student's t)"


DEFAULT = Form()


def inches(text: str) -> float:
    """Return the width that ``text`` says, such as ``3.25in``, ``8.5cm``, ``86mm`` or ``240pt``.

    Raises:
        ValueError: ``text`` is no length, or none that a figure can have.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(in|cm|mm|pt)\s*", text)
    if not found:
        raise ValueError(f"--width: no length (got {text!r}). Write it as 3.25in, 8.5cm, 86mm or 240pt.")
    width = float(found[1]) * _INCHES[found[2]]
    if not _NARROWEST <= width <= _WIDEST:
        raise ValueError(f"--width: from {_NARROWEST:g}in to {_WIDEST:g}in (got {text!r}).")
    return width
