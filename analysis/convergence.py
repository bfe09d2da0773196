"""Counts of under-trained networks (rule: ``trainables/training/convergence.py``)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

COLUMNS = ("trial", "epochs", "fit_accuracy", "undertrained", "epochs_to_fit")
"""Columns of ``trials`` that these functions need."""


def is_undertrained(trials: pd.DataFrame) -> pd.Series:
    """Return a bool per row of ``trials``. Unknown values, as in tables before version 3, are False."""
    if "undertrained" not in trials:
        return pd.Series(False, index=trials.index)
    return trials["undertrained"].eq(True).fillna(False).astype(bool)


def steps_of(trials: pd.DataFrame) -> pd.Series:
    """Return the optimizer steps of each trial. Older tables lack the column; whole passes are assumed for them."""
    known = pd.to_numeric(trials["steps"])
    return known.fillna(trials["epochs"] * np.ceil(trials["samples"] / trials["batch_size"]))


@dataclass(frozen=True)
class Convergence:
    """Convergence of a set of trials.

    Attributes:
        trials: Number of trials.
        undertrained: Number of under-trained trials.
        unknown: Number of trials without a verdict.
        epochs: Longest training among the under-trained, in epochs.
        epochs_needed: Extrapolated epochs that they need to fit their samples; None if unknown for all.
        or_more: Whether ``epochs_needed`` is unknown for some.
    """

    trials: int
    undertrained: int
    unknown: int
    epochs: int | None = None
    epochs_needed: int | None = None
    or_more: bool = False

    @classmethod
    def of(cls, trials: pd.DataFrame) -> Convergence:
        """Count ``trials``, a frame with COLUMNS."""
        short = trials[is_undertrained(trials)]
        known = "undertrained" in trials and "epochs_to_fit" in trials
        unknown = int(trials["undertrained"].isna().sum()) if known else len(trials)
        if short.empty or not known:
            return cls(len(trials), len(short), unknown)
        needed = short["epochs_to_fit"].dropna()
        return cls(
            len(trials),
            len(short),
            unknown,
            int(short["epochs"].max()),
            None if needed.empty else int(needed.max()),
            len(needed) < len(short),
        )

    @property
    def needed(self) -> str:
        """``about 80 epochs needed``, ``about 80 epochs or more needed`` or ``epochs needed: unknown``."""
        if self.epochs_needed is None:
            return "epochs needed: unknown"
        return f"about {self.epochs_needed:,} epochs{' or more' if self.or_more else ''} needed"

    def lines(self) -> list[str]:
        """Return the lines that ``status`` and ``run`` print. Empty if every trial converged."""
        found = []
        if self.undertrained:
            found.append(
                f"  under-trained: {self.undertrained} of {self.trials} finished trials "
                f"({self.epochs} epochs trained, {self.needed}): they show how fast methods train, not how well"
            )
        if self.unknown:
            found.append(f"  convergence unknown: {self.unknown} of {self.trials} finished trials")
        return found
