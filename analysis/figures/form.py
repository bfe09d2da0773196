"""Form of a figure on a page: its width, and the meaning of its bars and bands."""

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
    """Form of a figure.

    Attributes:
        width: Width of the whole figure in inches. None: as wide as its panels need.
        spread: Meaning of bars and bands around a mean over seeds: ``std`` (one standard deviation) or ``interval``
        (the
            mean's 95 % Student interval).
    """

    width: float | None = None
    spread: Spread = "std"

    def half(self, rows: pd.DataFrame, name: str = "") -> pd.Series:
        """Return half the length of each bar: column ``NAME_std`` or ``NAME_interval``. Default name: the accuracy."""
        if name:
            return rows[f"{name}_{self.spread}"]
        return rows["std_percent" if self.spread == "std" else "interval_percent"]

    @property
    def said(self) -> str:
        """Return the meaning of a bar in words."""
        return "standard deviation over seeds" if self.spread == "std" else "95 % interval of the mean (Student's t)"


DEFAULT = Form()


def inches(text: str) -> float:
    """Return a length such as ``3.25in``, ``8.5cm``, ``86mm`` or ``240pt`` in inches.

    Raises:
        ValueError: ``text`` is no length, or too small or large for a figure.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(in|cm|mm|pt)\s*", text)
    if not found:
        raise ValueError(f"--width: no length (got {text!r}). Write it as 3.25in, 8.5cm, 86mm or 240pt.")
    width = float(found[1]) * _INCHES[found[2]]
    if not _NARROWEST <= width <= _WIDEST:
        raise ValueError(f"--width: from {_NARROWEST:g}in to {_WIDEST:g}in (got {text!r}).")
    return width
