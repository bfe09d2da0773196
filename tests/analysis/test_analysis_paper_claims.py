"""The paper's claims on planted results: all claims hold, the reversed effects, and no effects.

One table holds all settings that a claim could confuse: severities, data ratios, sparsities and difficulties.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any, Literal

import numpy as np
import pytest

from sparsweep.analysis.claims import evaluate, paper_claims
from sparsweep.analysis.results import Results
from sparsweep.trainables.storage import schemas
from support.synthetic_tables import ADVERSARIAL, DENSE_FLOPS, TWICE, make_layer, make_row

World = Literal["true", "reversed", "null"]
SIGN = {"true": 1.0, "reversed": -1.0, "null": 0.0}

FIVE = ("gmp", "lth", "omp", "snip", "set")
VARIANTS = ("omp_erk", "random", "uniform")
SPARSITIES = (0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9)
SEEDS = 4
DEPTH = 9
TILTS = {"set": 0.3, "snip": 0.2}
NOISE = 0.001

BASE = {"set": 0.02, "snip": 0.015, "gmp": 0.006, "omp": 0.004, "random": 0.01, "omp_erk": 0.01, "uniform": -0.02}
SCARCITY = {0.2: 2.5, 0.3: 2.0, 0.5: 1.0}
ROBUST = {"set": 0.03, "gmp": 0.02, "snip": 0.02, "lth": 0.01, "omp": 0.01}


def el2n(method: str, sparsity: float, ratio: float) -> float:
    """Return the gain. Gains grow with sparsity and with fewer data; LTH loses more at higher sparsity."""
    shape = -0.04 * sparsity**3 if method == "lth" else BASE[method] * sparsity / 0.9
    return SCARCITY[ratio] * shape


def corrupted(method: str, sparsity: float, ratio: float, severity: int) -> float:
    if ratio == 1.0:
        return -0.04 * sparsity**3 if method == "lth" else 0.02 * (0.5 - sparsity)
    if severity == 5:
        return el2n(method, sparsity, ratio)
    return {2: 0.004 if method == "omp" else -0.001, 4: 0.03, 6: 0.015}[severity]


def settings() -> list[tuple[dict[str, Any], float, Any]]:
    """Return settings: columns, data ratio, and a function that returns the gain of a method and sparsity."""
    of_severity = {
        severity: {"difficulty": "corruption", "difficulty_parameters": f'{{"severity": {severity}}}'}
        for severity in (2, 4, 5, 6)
    }
    return [
        *(({}, ratio, lambda m, s, r=ratio: el2n(m, s, r)) for ratio in SCARCITY),
        (of_severity[5], 1.0, lambda m, s: corrupted(m, s, 1.0, 5)),
        *((of_severity[v], 0.3, lambda m, s, v=v: corrupted(m, s, 0.3, v)) for v in of_severity),
    ]


def costs(method: str, sparsity: float, sign: float) -> dict[str, float]:
    """Return cost columns. LTH and OMP also train the dense network. ``sign`` -1 reverses all differences to dense."""
    prerequisite = DENSE_FLOPS if method in TWICE else 0.0
    share = (1 - sparsity / 2) if method != "dense" else 1.0
    extra = DENSE_FLOPS * (share - 1) + prerequisite
    parameters = 1e6 * (1 - sign * sparsity)
    return {"train_flops": DENSE_FLOPS, "prerequisite_flops": sign * extra, "nonzero_parameters": parameters}


def antithetic(generator: np.random.Generator) -> np.ndarray:
    """Return noise of four seeds with mean zero, so that no effect appears by chance."""
    first, second = generator.normal(0, NOISE, 2)
    return np.array([first, -first, second, -second])


@cache
def world(kind: World) -> Results:
    sign, generator = SIGN[kind], np.random.default_rng(0)
    trials: list[dict[str, Any]] = []
    layers: list[dict[str, Any]] = []

    def add(method: str, sparsity: float, accuracies: dict[str, np.ndarray], **columns: Any) -> None:
        """Add one trial per seed. Its layer densities have the method's tilt, multiplied by ``sign``."""
        noise = [antithetic(generator) for _ in range(DEPTH)]
        for seed in range(SEEDS):
            row = make_row(method, sparsity, seed, None, **columns, **costs(method, sparsity, sign))
            trials.append({**row, **{name: values[seed] for name, values in accuracies.items()}})
            tilt = sign * TILTS.get(method, 0.02)
            densities = [0.5 + tilt * (1 - 2 * depth / (DEPTH - 1)) + noise[depth][seed] for depth in range(DEPTH)]
            layers.extend(make_layer(row["trial"], depth, density) for depth, density in enumerate(densities))

    dense = 0.5 + generator.normal(0, 0.01, SEEDS)
    for columns, ratio, gain in settings():
        add("dense", 0.0, {"test_accuracy": dense}, data_ratio=ratio, **columns)
        for method, sparsity in product((*FIVE, *VARIANTS), SPARSITIES):
            accuracy = dense + sign * gain(method, sparsity) + antithetic(generator)
            add(method, sparsity, {"test_accuracy": accuracy}, data_ratio=ratio, **columns)
    for ratio in (1.0, 0.5):
        accuracies = {"clean_accuracy": np.full(SEEDS, 0.6), "robust_accuracy": dense}
        add("dense", 0.0, accuracies, data_ratio=ratio, **ADVERSARIAL)
        for method, sparsity in product(FIVE, (0.8, 0.9)):
            # Effects are reversed at sparsity 0.8, which no claim covers.
            effect = ROBUST[method] * (sign if sparsity == 0.9 else -sign)
            noisy = {name: values + antithetic(generator) for name, values in accuracies.items()}
            noisy["robust_accuracy"] += effect
            add(method, sparsity, noisy, data_ratio=ratio, **ADVERSARIAL)
    return Results(schemas.build_table("trials", trials).to_pandas(), schemas.build_table("layers", layers).to_pandas())


CLAIMS = {claim.claim: claim for claim in paper_claims()}
NULL = {
    # These claims state more than one point, but the effect is zero.
    **dict.fromkeys(("el2n-third", "el2n-fifth"), "contradicted"),
}


def verdict_on(name: str, kind: World) -> Any:
    [verdict] = evaluate(world(kind), [CLAIMS[name]])
    return verdict


@pytest.mark.parametrize("name", CLAIMS)
def test_claim_is_supported_by_its_planted_effect(name: str) -> None:
    verdict = verdict_on(name, "true")
    part_verdicts = {(finding.part.says, finding.part.methods): finding.verdict for finding in verdict.findings}
    assert set(part_verdicts.values()) == {"supported"}, part_verdicts
    assert verdict.verdict == "supported" and verdict.in_paper


@pytest.mark.parametrize("name", CLAIMS)
def test_claim_is_contradicted_by_the_reversed_effect(name: str) -> None:
    assert verdict_on(name, "reversed").verdict == "contradicted"


@pytest.mark.parametrize("name", CLAIMS)
def test_claim_is_not_supported_without_an_effect(name: str) -> None:
    verdict = verdict_on(name, "null")
    part_verdicts = {(finding.part.says, finding.part.methods): finding.verdict for finding in verdict.findings}
    assert verdict.verdict == NULL.get(name, "undecided"), part_verdicts
