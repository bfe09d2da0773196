"""Which results come from networks that were trained to their end (rule: ``trainables/training/convergence.py``)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

COLUMNS = ("trial", "epochs", "fit_accuracy", "undertrained", "epochs_to_fit")
"""Columns of ``trials`` that this needs."""


def is_undertrained(trials: pd.DataFrame) -> pd.Series:
    """bool for each row of ``trials``; False where it is unknown, as in tables of versions before 3."""
    if "undertrained" not in trials:
        return pd.Series(False, index=trials.index)
    return trials["undertrained"].eq(True).fillna(False).astype(bool)


def steps_of(trials: pd.DataFrame) -> pd.Series:
    """Optimizer steps of each trial; of older tables, which do not say, whole passes over its samples."""
    known = pd.to_numeric(trials["steps"])
    return known.fillna(trials["epochs"] * np.ceil(trials["samples"] / trials["batch_size"]))


@dataclass(frozen=True)
class Convergence:
    """How many of ``trials`` trials are under-trained, and of how many it is unknown.

    ``epochs``: the longest training among the under-trained. ``epochs_needed``: what fitting their samples would take,
    extrapolated; None if it is unknown of all. ``or_more``: it is unknown of some.
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
        """What ``status`` and the end of a run print: nothing if all trials were trained to their end."""
        found = []
        if self.undertrained:
            found.append(
                f"  under-trained: {self.undertrained} of {self.trials} finished trials "
                f"({self.epochs} epochs trained, {self.needed}): they show how fast methods train, not how well"
            )
        if self.unknown:
            found.append(f"  convergence unknown: {self.unknown} of {self.trials} finished trials")
        return found
