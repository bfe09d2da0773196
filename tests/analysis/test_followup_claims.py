"""Claims of follow-up papers: each is testable by its built-in sweeps, and its verdict follows planted effects."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sparsweep.analysis.claims import evaluate, followup_claims, format_verdicts, need_outcomes, paper_claims
from sparsweep.analysis.claims.measures import with_measures
from sparsweep.analysis.claims.rules import Claim, DifferenceInDifferences, override_filter
from sparsweep.analysis.filters import TrialFilter
from sparsweep.analysis.outcomes.matrix import OutcomeMatrix
from sparsweep.analysis.results import Results
from sparsweep.trainables.runs.spec_columns import planned_trials
from sparsweep.trainables.storage import schemas
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.cli.result_tables import judge
from sparsweep.tuner.config.sweep import read_sweep
from support.synthetic_tables import make_row

CLAIMS = {claim.claim: claim for claim in followup_claims()}
SWEEPS = {
    "dst": "dst-corruption",
    "pruned": "disparate-impact",
    "impact": "disparate-impact",
    "calibration": "calibration",
    "descent": "double-descent",
    "small-weights": "small-weights",
}
"""Name of the built-in sweeps by the beginning of the claim's name, without -digits and -cifar."""
PAPERS = {"2410.03030", "1911.05248", "2310.20673", "2302.09369", "2206.08684", "2310.02277"}


def sweep_of(claim: str, form: str) -> str:
    return next(f"{sweep}-{form}" for prefix, sweep in SWEEPS.items() if claim.startswith(prefix))


def test_thirty_claims_of_six_papers() -> None:
    assert len(CLAIMS) == 30
    assert {re.search(r"\d{4}\.\d{5}", claim.source).group() for claim in CLAIMS.values()} == PAPERS  # type: ignore[union-attr]
    assert not CLAIMS.keys() & {claim.claim for claim in paper_claims()}


# Planted effects -----------------------------------------------------------------------------------------------------


@cache
def planned(sweep: str) -> pd.DataFrame:
    """Return the trials of a built-in sweep with the columns of their specs."""
    frame = planned_trials(read_sweep(sweep).trials.values()).to_pandas()
    return frame.assign(undertrained=False, allowed=False, nonzero_parameters=1e5, samples=1000)


def planted(claim: Claim, form: str, sign: float) -> pd.DataFrame:
    """Return trials in which all parts of ``claim`` hold (``sign`` 1), or the opposite of each (-1)."""
    trials = planned(sweep_of(claim.claim, form)).copy()
    noise = np.random.default_rng(0)
    for part in claim.parts:
        if part.value not in trials or trials[part.value].isna().all():
            by_seed = {seed: noise.normal(0.5, 0.01) for seed in trials["seed"].unique()}
            trials[part.value] = trials["seed"].map(by_seed) + noise.normal(0, 1e-4, len(trials))
        here = override_filter(claim.where, part.where).match(trials)
        if isinstance(part, DifferenceInDifferences):
            here &= ~override_filter(override_filter(claim.where, part.where), part.instead).match(trials)
        chosen = here & trials["sparsifier"].isin(part.methods)
        if part.expect.within is not None:
            effect = 0.0 if sign > 0 else 3 * part.expect.within
        else:
            effect = part.expect.bound(0) + (0.03 * sign if part.expect.above is not None else -0.03 * sign)
        trials.loc[chosen, part.value] += effect
    return trials


def verdicts(claim: Claim, trials: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the verdicts on trials that already have the derived values."""
    module = sys.modules["sparsweep.analysis.claims.evaluate"]  # the package's name stands for the function
    monkeypatch.setattr(module, "with_measures", lambda results: results.trials)
    return evaluate(trials, [claim])


@pytest.mark.parametrize("form", ["digits", "cifar"])
@pytest.mark.parametrize("name", CLAIMS)
def test_verdict_follows_the_planted_effect(name: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = CLAIMS[name]
    held = verdicts(claim, planted(claim, form, 1), monkeypatch)
    assert {verdict.verdict for verdict in held} == {"supported"}
    assert all(finding.n >= 3 for verdict in held for finding in verdict.findings)  # every part is tested
    opposite = verdicts(claim, planted(claim, form, -1), monkeypatch)
    assert {verdict.verdict for verdict in opposite} == {"contradicted"}


@pytest.mark.parametrize("name", [name for name in CLAIMS if name != "dst-cost"])
def test_undertrained_networks_decide_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = planted(CLAIMS[name], "digits", 1).assign(undertrained=True)
    [verdict] = verdicts(CLAIMS[name], trials, monkeypatch)
    assert verdict.verdict == "not decided"
    assert "under-trained" in "\n".join(format_verdicts([verdict]))


# Values --------------------------------------------------------------------------------------------------------------


def frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return schemas.build_table("trials", rows).to_pandas()


def test_gaps_match_a_worked_example() -> None:
    row = make_row("dense", 0.0, 0, 0.75, worst_class_accuracy=0.5, mean_corruption_accuracy=0.625)
    [found] = with_measures(Results(frame([row]))).to_dict("records")
    assert (found["worst_class_gap"], found["corruption_gap"]) == (0.25, 0.125)
    assert np.isnan(found["hard_accuracy"]) and np.isnan(found["hardness_gap"])


def outcomes(predictions: dict[str, list[int]], probabilities: dict[str, list[float]]) -> OutcomeMatrix:
    """Return outcomes of samples whose labels are all 0."""
    count = len(next(iter(predictions.values())))
    tables = [
        pa.table(
            {
                "trial": [trial] * count,
                "sample": np.arange(count, dtype=np.int32),
                "label": np.zeros(count, np.uint16),
                "prediction": np.array(predictions[trial], np.uint16),
                "label_probability": np.array(probabilities[trial], np.float16),
            }
        )
        for trial in predictions
    ]
    return OutcomeMatrix.from_tables(tables)


def test_accuracy_on_easy_and_hard_images_matches_a_worked_example() -> None:
    """Twenty images: the dense network of the other seed is less sure of each next one. A tenth has two images."""
    rows = [make_row("dense", 0.0, seed, 0.9) for seed in (0, 1)] + [make_row("gmp", 0.9, 0, 0.8)]
    sure = [1 - number / 32 for number in range(20)]
    right, wrong = [0] * 20, [0] * 19 + [1]  # GMP misses the last image
    ids = [row["trial"] for row in rows]
    matrix = outcomes(dict(zip(ids, (right, right, wrong), strict=True)), dict.fromkeys(ids, sure))
    found = with_measures(Results(frame(rows), outcomes={"test": (matrix,)})).set_index("trial")
    assert found["easy_accuracy"].to_dict() == dict.fromkeys(ids, 1.0)
    assert found["hard_accuracy"].to_dict() == dict(zip(ids, (1.0, 1.0, 0.5), strict=True))
    assert found["hardness_gap"].to_dict() == dict(zip(ids, (0.0, 0.0, 0.5), strict=True))


def test_tables_of_an_earlier_version_have_no_such_values() -> None:
    row = make_row("set", 0.5, 0, 0.75)
    trials = frame([row]).drop(columns=["ece", "worst_class_accuracy", "mean_corruption_accuracy"])
    found = with_measures(Results(trials))
    assert found[["ece", "worst_class_gap", "corruption_gap"]].isna().all(axis=None)
    assert {verdict.verdict for verdict in evaluate(Results(trials), followup_claims())} == {"not tested"}


def test_filter_by_label_noise() -> None:
    def noisy(fraction: float) -> dict[str, Any]:
        parameters = {"difficulty": "label_noise", "difficulty_parameters": f'{{"fraction": {fraction}}}'}
        return make_row("dense", 0.0, 0, 0.5, **parameters)

    trials = frame([noisy(0.2), noisy(0.4), make_row("dense", 0.0, 0, 0.5)])
    chosen = TrialFilter(label_noise=0.4)
    assert chosen.match(trials).tolist() == [False, True, True]  # difficulties without noise match any share
    assert "40% wrong labels" in str(chosen)


def test_outcomes_are_needed_only_by_claims_about_samples_in_scope() -> None:
    claims = [CLAIMS["pruned-atypical"]]
    in_scope = {"difficulty": "none", "data_ratio": 1.0}
    assert need_outcomes(claims, frame([make_row("gmp", 0.9, 0, 0.5, **in_scope)]))
    assert not need_outcomes(claims, frame([make_row("gmp", 0.5, 0, 0.5, **in_scope)]))
    assert not need_outcomes(claims, frame([make_row("set", 0.9, 0, 0.5, **in_scope)]))
    assert not need_outcomes([CLAIMS["dst-clean"]], frame([make_row("gmp", 0.9, 0, 0.5, **in_scope)]))


def test_command_leaves_out_untested_followups(tmp_path: Path) -> None:
    scope = {"difficulty": "none", "data_ratio": 1.0, "undertrained": False}
    rows = [make_row("dense", 0.0, seed, 0.5 + seed / 100, **scope) for seed in (0, 1, 2)]
    rows += [make_row("gmp", 0.5, seed, 0.501 + seed / 99, **scope) for seed in (0, 1, 2)]
    found = judge(Results(frame(rows)), [*paper_claims(), *followup_claims()], Store(str(tmp_path)))
    followups = [verdict for verdict in found if verdict.claim.claim in CLAIMS]
    assert [(verdict.claim.claim, verdict.verdict) for verdict in followups] == [
        ("pruned-top-line", "supported"),
        ("impact-mean", "supported"),
    ]
    assert len(found) == len(paper_claims()) + 2
