"""Intervals, tests and power for few replicates: pure functions of numbers on top of SciPy.

With three to five seeds, a percentile bootstrap covers much less than its nominal level (0.81 instead of 0.95 at n =
3); Student's t interval holds its level. So t is used below BOOTSTRAP_FROM replicates, and the bias-corrected
accelerated bootstrap (Efron, 1987) from there on. Wilcoxon's signed-rank test cannot reach p < 0.05 below n = 6, so it
is omitted there. Equal replicates do not prove certainty (accuracies on few test images tie by chance): their
interval has width 0
and they have no p-value. Values keep their unit.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

BOOTSTRAP_FROM = 20
WILCOXON_FROM = 6
RESAMPLES = 9999
MOST_REPLICATES = 10_000
SIGNIFICANT = 0.05
_ROUNDING = 1e-12  # equal differences of unequal numbers differ in the last bits


def t_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the two-sided Student interval of the mean of ``values`` (n,). NaN if n < 2; width 0 if all are equal."""
    n, mean, error = _moments(values)
    low, high, _ = t_summary(n, mean, error, level)
    return float(low[0]), float(high[0])


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``[n]``, ``[mean]`` and ``[standard error]``, NaN if n < 2."""
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return np.array([len(values)]), np.array([values.mean()]), np.array([error])


def t_summary(
    n: np.ndarray, mean: np.ndarray, error: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return low, high and two-sided p of each mean. Without spread, the interval has width 0 and p is NaN."""
    spread = np.where(error > _ROUNDING * np.abs(mean), error, np.where(np.isnan(error), math.nan, 0.0))
    none = spread == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = stats.t.interval(level, n - 1, loc=mean, scale=spread)
        p = 2 * stats.t.sf(np.abs(mean) / spread, n - 1)
    return np.where(none, mean, low), np.where(none, mean, high), np.where(none, math.nan, p)


def bootstrap_interval(
    values: np.ndarray, generator: np.random.Generator, level: float = 0.95, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Return the two-sided BCa bootstrap interval of the mean of ``values`` (n,).

    If all are equal: :func:`t_interval`.
    """
    if len(values) < 2 or np.ptp(values) == 0:
        return t_interval(values, level)
    found = stats.bootstrap(
        (values,), np.mean, confidence_level=level, n_resamples=resamples, method="BCa", rng=generator
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def mean_interval(
    values: np.ndarray, level: float = 0.95, generator: np.random.Generator | None = None
) -> tuple[float, float]:
    """Return the interval of the mean of ``values`` (n,): bootstrap from n = BOOTSTRAP_FROM on, Student's t below.

    ``generator``: draws the resamples. Default: a generator with a constant seed, so repeated figures are equal.
    """
    if len(values) < BOOTSTRAP_FROM:
        return t_interval(values, level)
    return bootstrap_interval(values, generator or np.random.default_rng(0), level)


def t_p_value(values: np.ndarray) -> float:
    """Return the two-sided p of a zero mean of ``values`` (n,) by Student's t. NaN if n < 2 or all are equal."""
    n, mean, error = _moments(values)
    return float(t_summary(n, mean, error, 0.95)[2][0])


def wilcoxon_p_value(values: np.ndarray) -> float:
    """Return the two-sided p of ``values`` (n,) being symmetric about 0 by signed ranks. NaN if n < WILCOXON_FROM."""
    if len(values) < WILCOXON_FROM:
        return math.nan
    return float(stats.wilcoxon(values, zero_method="zsplit").pvalue)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return Holm's (1979) adjusted p-values, which control the family-wise error rate. NaN stays NaN.

    The k-th smallest of m is multiplied by m - k + 1. The result never decreases and is at most 1.
    """
    adjusted = np.full(len(p_values), math.nan)
    order = np.argsort(p_values)[: np.count_nonzero(~np.isnan(p_values))]  # NaN sorts last
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1)
    return adjusted


def test_groups(
    rows: pd.DataFrame,
    value: str,
    keys: list[str],
    level: float = 0.95,
    generator: np.random.Generator | None = None,
) -> pd.DataFrame:
    """Return one row per group of ``rows`` by ``keys``: the mean of ``value``, its interval, and tests against 0.

    Columns: ``keys``, ``n``, ``mean``, ``low`` and ``high`` (confidence ``level``, not corrected; NaN if n = 1),
    ``p`` (Student's t), ``p_wilcoxon``, ``p_holm`` (corrected over all groups), ``significant`` (``p_holm`` <
    SIGNIFICANT).
    """
    generator = generator or np.random.default_rng(0)
    groups = rows.groupby(keys, dropna=False)[value]
    table = groups.agg(n="count", mean="mean", std="std").reset_index()
    n, mean, std = (table[name].to_numpy(dtype=float) for name in ("n", "mean", "std"))
    low, high, p = t_summary(n, mean, std / np.sqrt(n), level)
    ranks = np.full(len(table), math.nan)
    for place, values in enumerate(group.to_numpy(dtype=float) for _, group in groups):
        if len(values) >= BOOTSTRAP_FROM:
            low[place], high[place] = bootstrap_interval(values, generator, level)
        if len(values) >= WILCOXON_FROM:
            ranks[place] = wilcoxon_p_value(values)
    adjusted = holm(p)
    table = table.assign(low=low, high=high, p=p, p_wilcoxon=ranks, p_holm=adjusted, significant=adjusted < SIGNIFICANT)
    return table.drop(columns="std")


def required_extra_seeds(
    values: np.ndarray, boundary: float = 0.0, level: float = 0.95, power: float = 0.8
) -> int | None:
    """Return how many further replicates would distinguish the mean of ``values`` (n >= 2,) from ``boundary``.

    It is the smallest total N at which a two-sided t-test of size 1 - ``level`` has ``power`` at the observed mean and
    standard deviation, minus n, and at least 1. None if N exceeds MOST_REPLICATES.
    """
    spread, distance = float(np.std(values, ddof=1)), abs(float(np.mean(values)) - boundary)
    if distance == 0:
        return None
    if spread == 0:
        return 1

    def is_enough(total: int) -> bool:
        critical = stats.t.ppf((1 + level) / 2, total - 1)
        return bool(stats.nct.sf(critical, total - 1, math.sqrt(total) * distance / spread) >= power)

    totals = range(2, MOST_REPLICATES + 1)
    place = bisect.bisect_left(totals, True, key=is_enough)
    return max(totals[place] - len(values), 1) if place < len(totals) else None


@dataclass(frozen=True)
class Slope:
    """A line through points: ``slope`` with interval (NaN below three points), ``intercept``, ``r2``."""

    slope: float
    low: float
    high: float
    intercept: float
    r2: float
    n: int


def regression(x: np.ndarray, y: np.ndarray, level: float = 0.95) -> Slope | None:
    """Return the least-squares line of ``y`` (n,) on ``x`` (n,). None if ``x`` has fewer than two distinct values."""
    if len(np.unique(x)) < 2:
        return None
    line: Any = stats.linregress(x, y)
    half = float(stats.t.ppf((1 + level) / 2, len(x) - 2)) * float(line.stderr) if len(x) > 2 else math.nan
    slope = float(line.slope)
    return Slope(slope, slope - half, slope + half, float(line.intercept), float(line.rvalue) ** 2, len(x))
