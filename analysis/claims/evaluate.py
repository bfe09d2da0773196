"""Claims judged by results."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from sparsweep.analysis.claims.measures import with_measures
from sparsweep.analysis.claims.rules import PER_SAMPLE, Claim, Part, SeedValues, override_filter
from sparsweep.analysis.convergence import Convergence, is_undertrained, steps_of
from sparsweep.analysis.naming import data_titles
from sparsweep.analysis.results import Results
from sparsweep.analysis.stats import mean_interval, required_extra_seeds

VerdictLabel = Literal["supported", "contradicted", "undecided", "not decided", "not tested"]

_EQUAL = 1e-12  # accuracies that differ by less are the same


def is_accuracy(value: str) -> bool:
    """Return whether a value is a fraction of samples, or a difference of two fractions."""
    return value.endswith(("_accuracy", "_gap"))


def count_range(limits: tuple[float, float] | None, noun: str) -> str:
    """Return ``431 samples``, ``431 to 1,437 samples`` or ``an unknown number of samples``."""
    if limits is None:
        return f"an unknown number of {noun}s"
    low, high = (f"{limit:,.0f}" if limit >= 10 else f"{limit:.2g}" for limit in limits)
    return f"{low} {noun}{'' if low == '1' else 's'}" if low == high else f"{low} to {high} {noun}s"


def _wanted(further: int | None) -> str:
    if further is None:
        return "too near to the boundary for any number of seeds"
    return f"about {further} more seed{'s' if further > 1 else ''} would decide"


@dataclass(frozen=True)
class Basis:
    """The regime of a verdict: number of trials, and the range of samples, seeds and steps.

    ``parameters_per_sample``: active weights over training samples. None if unknown.
    """

    trials: int = 0
    seeds: int = 0
    samples: tuple[float, float] | None = None
    steps: tuple[float, float] | None = None
    parameters_per_sample: tuple[float, float] | None = None

    @classmethod
    def of(cls, trials: pd.DataFrame) -> Basis:
        """Return the regime of ``trials``, rows of the table."""
        share = trials["nonzero_parameters"] / trials["samples"]
        ranges = [_limits(values) for values in (trials["samples"], steps_of(trials), share)]
        return cls(len(trials), trials["seed"].nunique(), *ranges)

    def __str__(self) -> str:
        parameters = count_range(self.parameters_per_sample, "parameter")
        return f"{self.trials} trials of {count_range(self.steps, 'step')}, {parameters} per sample"


def _limits(values: pd.Series) -> tuple[float, float] | None:
    known = pd.to_numeric(values).dropna()
    return None if known.empty else (float(known.min()), float(known.max()))


@dataclass(frozen=True)
class Finding:
    """A judged part of a claim.

    Attributes:
        effect: Mean over ``n`` seeds; NaN if there is none.
        low: Lower end of its 95 % interval.
        high: Upper end.
        extra_seeds: Further seeds that would decide it. None if none or too many would.
    """

    part: Part
    verdict: VerdictLabel
    effect: float
    low: float
    high: float
    n: int
    arms: int
    extra_seeds: int | None
    note: str
    basis: Basis

    @property
    def unit(self) -> str:
        """Unit of the effect."""
        if self.part.rule == "ratio":
            return "ratio"
        return "accuracy" if is_accuracy(self.part.value) else self.part.value


@dataclass(frozen=True)
class Verdict:
    """A claim judged on the data set and network ``data``. None if it was not tested."""

    claim: Claim
    data: str | None
    in_paper: bool
    findings: tuple[Finding, ...]
    basis: Basis = Basis()

    @property
    def on_its_data(self) -> bool:
        """Whether it was judged on the data of its source. True if the source names none."""
        return self.in_paper or not self.claim.data

    @property
    def verdict(self) -> VerdictLabel:
        """Contradicted if a part is, supported if all parts are, not tested without trials, else undecided."""
        words = {finding.verdict for finding in self.findings}
        if not words or words == {"not tested"}:
            return "not tested"
        for word in ("contradicted", "not decided"):
            if word in words:
                return word
        return "supported" if words == {"supported"} else "undecided"

    @property
    def deciding(self) -> Finding | None:
        """The first part with the claim's verdict; for an undecided claim, one with a number. None if not tested."""
        if self.verdict == "not tested":
            return None
        wanted = [finding for finding in self.findings if finding.verdict == self.verdict]
        return (wanted or [finding for finding in self.findings if finding.n])[0]

    @property
    def further(self) -> int | None:
        """Further seeds that would decide every undecided part. None if unknown."""
        open_parts = [finding for finding in self.findings if finding.verdict == "undecided"]
        numbers = [finding.extra_seeds for finding in open_parts if finding.extra_seeds is not None]
        return max(numbers) if numbers and len(numbers) == len(open_parts) else None


def evaluate(results: Results | pd.DataFrame, claims: Iterable[Claim]) -> list[Verdict]:
    """Return the verdicts on ``claims`` in order, one per data set and network with trials in their scope.

    A claim without such trials has one verdict, *not tested*.
    """
    trials = with_measures(Results.of(results))
    titles = data_titles(trials) if len(trials) else pd.Series(dtype=str)
    parts = {title: rows for title, rows in trials.groupby(titles)} if len(trials) else {}
    verdicts = []
    for claim in claims:
        found = [_judge(claim, str(title), rows) for title, rows in parts.items()]
        tested = [verdict for verdict in found if verdict.verdict != "not tested"]
        verdicts += tested or [Verdict(claim, None, False, _untested(claim))]
    return verdicts


def need_outcomes(claims: Iterable[Claim], trials: pd.DataFrame) -> bool:
    """Return whether a claim needs the outcomes of samples of some of ``trials``."""
    return any(
        part.value in PER_SAMPLE
        and (override_filter(claim.where, part.where).match(trials) & trials["sparsifier"].isin(part.methods)).any()
        for claim in claims
        for part in claim.parts
    )


def _judge(claim: Claim, title: str, trials: pd.DataFrame) -> Verdict:
    first = trials.iloc[0]
    rules = [
        (rule, rule.sample(trials, scope))
        for part in claim.parts
        for scope in [override_filter(claim.where, part.where)]
        if scope.dataset in (None, first["dataset"]) and scope.model in (None, first["model"])
        for rule in part.split()
    ]
    findings = tuple(_find(rule, sample) for rule, sample in rules)
    used = [sample.trials for _, sample in rules if len(sample.values)]
    in_paper = f"{first['dataset']}/{first['model']}" in claim.data
    basis = Basis.of(pd.concat(used).drop_duplicates("trial")) if used else Basis()
    return Verdict(claim, title, in_paper, findings, basis)


def _untested(claim: Claim) -> tuple[Finding, ...]:
    nothing = SeedValues(pd.Series(dtype=float))
    return tuple(_find(rule, nothing) for part in claim.parts for rule in part.split())


def _find(part: Any, sample: SeedValues) -> Finding:
    values = sample.values.to_numpy(dtype=float)
    n, effect = len(values), float(values.mean()) if len(values) else math.nan
    low, high = mean_interval(values) if n else (math.nan, math.nan)
    missing = [method for method in part.methods if method not in sample.methods]
    notes = [f"without {', '.join(missing)}"] if missing and n else []
    further: int | None = None
    verdict: VerdictLabel
    short = _undertrained(part, sample) if n else Convergence(0, 0, 0)
    if n == 0:
        verdict = "not tested"
        notes.append("no finished trials of it with their partners")
    elif short.undertrained:
        verdict = "not decided"
        notes.append(f"under-trained, {short.undertrained} of {short.trials} trials; {short.needed}")
    elif n == 1:
        verdict, further = "undecided", 1
        notes.append("one seed: no interval, at least one more is needed")
    elif is_accuracy(part.value) and np.ptp(values) < _EQUAL:
        verdict, further = "undecided", 1
        notes.append("all seeds are equal: no spread to judge by")
    else:
        verdict = part.expect.judge(low, high)
        if verdict == "undecided":
            further = required_extra_seeds(values, part.expect.bound(effect))
            notes.append(_wanted(further))
    if n and (allowed := _allowed(sample)):
        notes.append(f"judged on under-trained networks, as the sweep allows: {allowed} of {len(sample.trials)} trials")
    basis = Basis.of(sample.trials) if n else Basis()
    return Finding(part, verdict, effect, low, high, n, sample.arms, further, "; ".join(notes), basis)


def _undertrained(part: Any, sample: SeedValues) -> Convergence:
    """Return the convergence of the trials of ``sample``, if ``part`` needs it and no sweep allows under-training."""
    trials = sample.trials
    return Convergence.of(trials[~trials["allowed"]]) if part.needs_convergence else Convergence(0, 0, 0)


def _allowed(sample: SeedValues) -> int:
    return int((is_undertrained(sample.trials) & sample.trials["allowed"]).sum())
