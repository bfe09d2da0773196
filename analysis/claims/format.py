"""Verdicts as text and as plain values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from sparsweep.analysis.claims.evaluate import Finding, Verdict, VerdictLabel, count_range
from sparsweep.analysis.claims.rules import Claim, override_filter

WORDS: tuple[VerdictLabel, ...] = ("supported", "contradicted", "undecided", "not decided", "not tested")


def as_json(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    """Return the verdicts as plain values: per claim the deciding part, and all parts."""
    return [
        {
            "claim": verdict.claim.claim,
            "statement": verdict.claim.statement,
            "source": verdict.claim.source,
            "data": verdict.data,
            "data_of_paper": verdict.in_paper,
            "verdict": verdict.verdict,
            "on_its_own_data": verdict.verdict if verdict.on_its_data else "not tested",
            "basis": asdict(verdict.basis),
            **_numbers(verdict.deciding),
            "further_seeds": verdict.further,
            "parts": [
                {
                    "says": finding.part.says,
                    "methods": list(finding.part.methods),
                    "rule": finding.part.model_dump(mode="json", exclude={"says"}, exclude_none=True),
                    "verdict": finding.verdict,
                    **_numbers(finding),
                    "arms": finding.arms,
                    "note": finding.note,
                    "basis": asdict(finding.basis),
                }
                for finding in verdict.findings
            ],
        }
        for verdict in verdicts
    ]


def _numbers(finding: Finding | None) -> dict[str, Any]:
    if finding is None or finding.n == 0:
        return {"effect": None, "interval": None, "n": 0, "unit": None}
    interval = None if math.isnan(finding.low) else [finding.low, finding.high]
    return {"effect": finding.effect, "interval": interval, "n": finding.n, "unit": finding.unit}


def format_verdicts(verdicts: Iterable[Verdict]) -> Iterator[str]:
    """Return the verdicts as lines of text."""
    for verdict in verdicts:
        yield f"{verdict.claim.claim}: {summary(verdict)}"
        yield f"  {verdict.claim.statement} ({verdict.claim.source})"
        if verdict.verdict == "not tested":
            yield f"  {missing_runs(verdict.claim)}"
            continue
        yield f"  rests on {verdict.basis}"
        for finding in verdict.findings:
            yield f"  - {format_verdict(finding)}"


def summary(verdict: Verdict) -> str:
    """Return ``CONTRADICTED on digits / resnet8 (431 samples, 2 seeds); not tested on its data``."""
    if verdict.data is None:
        return verdict.verdict.upper()
    samples, seeds = count_range(verdict.basis.samples, "sample"), count_range((verdict.basis.seeds,) * 2, "seed")
    elsewhere = "" if verdict.on_its_data else "; not tested on its data"
    return f"{verdict.verdict.upper()} on {verdict.data} ({samples}, {seeds}){elsewhere}"


def missing_runs(claim: Claim) -> str:
    """Return what must be run to test a claim."""
    methods = dict.fromkeys(method for part in claim.parts for method in part.methods)
    scopes = dict.fromkeys(str(override_filter(claim.where, part.where)) for part in claim.parts)
    return f"needs dense and {', '.join(methods)} on: {'; '.join(scope for scope in scopes if scope) or 'anything'}"


def format_verdict(finding: Finding) -> str:
    """Return ``set: better than dense: supported, +1.2 points [+0.4, +2.0], n = 3``."""
    said = f"{', '.join(finding.part.methods)}: {finding.part.says}: {finding.verdict}"
    number = "" if finding.n == 0 else f", {format_effect(finding)}, n = {finding.n}"
    return f"{said}{number}{f' ({finding.note})' if finding.note else ''}"


def format_effect(finding: Finding) -> str:
    """Return the effect with its interval in the unit of its value."""
    factor, digits, word = {"accuracy": (100, 1, " points"), "ratio": (100, 1, " %")}.get(finding.unit, (1, 3, ""))

    def signed(number: float) -> str:
        return f"{factor * number:+.{digits}f}".replace("-", "−")

    interval = "" if math.isnan(finding.low) else f" [{signed(finding.low)}, {signed(finding.high)}]"
    return f"{signed(finding.effect)}{word}{interval}"
