"""Synthetic results: rows of the declared tables, with known effects."""

from __future__ import annotations

import hashlib
import itertools
import json
import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import optuna
import pandas as pd

from sparsweep.analysis.example_images import ENDS, SAMPLES
from sparsweep.analysis.results import Results
from sparsweep.trainables.storage import schemas
from support.synthetic_outcomes import make_outcomes, make_test_images

RECIPE: dict[str, Any] = {
    "epochs": 200,
    "batch_size": 128,
    "lr": 0.1,
    "milestones": "[0.5, 0.75]",
    "gamma": 0.1,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 5e-4,
    "crop_padding": 4,
    "flip": True,
    "rotation": 0.0,
    "drop_last": False,
    "precision": "fp32",
}
SETTING: dict[str, Any] = {
    "dataset": "cifar100",
    "dataset_parameters": "{}",
    "model": "resnet18",
    "model_parameters": "{}",
    "difficulty": "el2n",
    "difficulty_parameters": '{"keep": "hardest", "runs": 10}',
    "data_ratio": 0.3,
    "profile": "clean",
    "evaluation_every": 1,
}
CORRUPTED = {"difficulty": "corruption", "difficulty_parameters": '{"severity": 5}'}
ADVERSARIAL = {"difficulty": "adversarial", "difficulty_parameters": '{"steps": 10}'}
DENSE_FLOPS = 1e16
TWICE = ("lth", "omp", "omp_erk")
ERK = ("set", "random", "omp_erk")

GAINS: dict[str, float] = {"set": 0.03, "snip": 0.02, "gmp": 0.01, "lth": -0.03, "omp": 0.0, "uniform": -0.05}
"""Synthetic difference to dense at sparsity 0.9. It decreases linearly to 0 at sparsity 0."""


def make_row(sparsifier: str, sparsity: float, seed: int, accuracy: float | None, **changes: Any) -> dict[str, Any]:
    """Return the row of a finished trial with a test accuracy in [0, 1]. ``changes`` override other columns."""
    row: dict[str, Any] = dict.fromkeys(schemas.SCHEMAS["trials"].names)
    row |= {"sweep": "synthetic", **SETTING, **RECIPE}
    row |= {"sparsifier": sparsifier, "sparsifier_parameters": "{}", "sparsity": sparsity, "seed": seed}
    row |= {"test_accuracy": accuracy, **changes}
    identity = {name: value for name, value in row.items() if not name.endswith(("_accuracy", "_at"))}
    own = {name: row[name] for name in (*SETTING, *RECIPE)}
    return {**row, "trial": digest(identity), "comparison": digest(own)}


def digest(identity: dict[str, Any]) -> str:
    text = json.dumps(identity, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def make_layer(trial: str, position: int, density: float, kind: str = "conv", weights: int = 1000) -> dict[str, Any]:
    """Return the row of one layer of a finished trial."""
    row: dict[str, Any] = dict.fromkeys(schemas.SCHEMAS["layers"].names)
    row |= {"trial": trial, "layer": f"layer{position}.weight", "position": position, "kind": kind, "weights": weights}
    return {**row, "nonzero": round(weights * density), "density": density, "flops": 2e3 * density}


def make_failure(trial: str, message: str, attempt: int = 1) -> dict[str, Any]:
    """Return the row of a trial's failure."""
    at = datetime(2024, 5, 6, 7, 8, tzinfo=UTC)
    row = {"trial": trial, "sweep": "synthetic", "error": "RuntimeError", "message": message, "attempt": attempt}
    return {**row, "traceback": f"Traceback ...\nRuntimeError: {message}", "node": "worker-1", "at": at}


def make_sweep(
    methods: Sequence[str] = tuple(GAINS),
    sparsities: Sequence[float] = (0.5, 0.8, 0.9),
    ratios: Sequence[float] = (0.3, 1.0),
    seeds: int = 3,
    noise: float = 0.004,
    **setting: Any,
) -> list[dict[str, Any]]:
    """Return the trials of a sweep: dense, and ``methods`` with :data:`GAINS`.

    ``noise`` is the standard deviation over seeds.
    """
    generator = np.random.default_rng(0)
    rows = []
    for ratio in ratios:
        for seed in range(seeds):
            dense = 0.45 + 0.3 * ratio + generator.normal(0, 0.01)
            for method, sparsity in [("dense", 0.0), *((name, s) for name in methods for s in sparsities)]:
                gain = GAINS.get(method, 0.005 * (len(method) % 5 - 2)) * sparsity / 0.9 if sparsity else 0.0
                accuracy = min(0.999, dense + gain + (generator.normal(0, noise) if sparsity else 0.0))
                results = _results(method, sparsity, accuracy)
                rows.append(make_row(method, sparsity, seed, accuracy, data_ratio=ratio, **results, **setting))
    return rows


def _results(method: str, sparsity: float, accuracy: float) -> dict[str, Any]:
    """Return the result columns of a trial other than its test accuracy."""
    own = DENSE_FLOPS * (1 - 0.8 * sparsity)
    begin = datetime(2024, 5, 6, tzinfo=UTC)
    return {
        "density": 1 - sparsity,
        "clean_accuracy": accuracy,
        "train_accuracy": 0.99,
        "train_loss": 0.05,
        "parameters": 11_220_032,
        "nonzero_parameters": 11_220_032 - round(11_210_432 * sparsity),
        "train_flops": own,
        "inference_flops": own / 1e9,
        "prerequisite_flops": DENSE_FLOPS if method in TWICE else 0.0,
        "scoring_flops": 1e15,
        "seconds": 100.0 + 10 * sparsity,
        "images_per_second": 5000.0,
        "device": "NVIDIA Synthetic",
        "started_at": begin,
        "finished_at": begin + timedelta(seconds=100),
        "commit": "0123456789abcdef",
        "versions": '{"python": "3.11.7", "torch": "2.15.0"}',
        "samples": 15_000,
        "spec": '{"kind": "TrialSpec"}',
    }


def make_layers(trial: dict[str, Any], depth: int = 20) -> Iterator[dict[str, Any]]:
    """Yield the layers of a trial: ``depth`` convolutions and a linear layer. ERK methods have dense early layers."""
    density = 1 - trial["sparsity"]
    for position in range(depth):
        tilt = (1 - 2 * position / (depth - 1)) * (0.8 if trial["sparsifier"] in ERK else 0.1)
        wobble = 0.005 * (trial["seed"] - 1) if density < 1 else 0
        yield make_layer(
            trial["trial"], position, float(np.clip(density + tilt * density * (1 - density) + wobble, 0, 1))
        )
    yield make_layer(trial["trial"], depth, density, kind="linear")


def make_epochs(trial: dict[str, Any], epochs: int = 200) -> list[dict[str, Any]]:
    """Return the epochs of a trial. The accuracy increases to the final one."""
    empty: dict[str, Any] = dict.fromkeys(schemas.SCHEMAS["epochs"].names)
    rows = []
    for epoch in range(1, epochs + 1):
        share = 1 - np.exp(-4 * epoch / epochs)
        row = {"trial": trial["trial"], "epoch": epoch, "lr": 0.1, "train_loss": 4 * (1 - share), "seconds": 0.5}
        accuracy = {"train_accuracy": share, "test_accuracy": trial["test_accuracy"] * share}
        rows.append({**empty, **row, **accuracy, "density": trial["density"]})
    return rows


def make_results(seeds: int = 3) -> Results:
    """Return a small sweep that supports every kind of figure: two settings, layers, attacks and example images."""
    trials = make_sweep(("set", "snip", "lth", "uniform"), sparsities=(0.5, 0.9), seeds=seeds)
    attacked = make_sweep(("set", "lth"), sparsities=(0.8, 0.9), ratios=(1.0,), seeds=seeds, **ADVERSARIAL)
    trials += [{**row, "robust_accuracy": row["test_accuracy"] / 2 + 0.003 * row["seed"]} for row in attacked]
    return results_of(trials, samples=make_samples(), searches={"search": make_study()})


def results_of(trials: Sequence[dict[str, Any]], epochs: int = 20, **more: Any) -> Results:
    """Return results of ``trials`` with their layers, outcomes and ``epochs`` epochs each."""
    layers = [layer for trial in trials for layer in make_layers(trial)]
    course = [epoch for trial in trials if trial["test_accuracy"] is not None for epoch in make_epochs(trial, epochs)]
    return Results(
        schemas.build_table("trials", trials).to_pandas(),
        schemas.build_table("layers", layers).to_pandas(),
        epochs=schemas.build_table("epochs", course).to_pandas(),
        outcomes={"test": (make_outcomes(trials),)},
        test_images=make_test_images(trials),
        **more,
    )


def make_study(objectives: Sequence[str] = ("validation_accuracy",), suggestions: int = 24) -> optuna.Study:
    """Return a search in which sparsity has the largest effect. Every sixth suggestion is pruned."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.RandomSampler(seed=0)
    directions = ["maximize", "minimize"][: len(objectives)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(directions=directions, sampler=sampler)
        study.set_metric_names(list(objectives))
    for number in range(suggestions):
        trial = study.ask()
        sparsity = trial.suggest_float("sparsity", 0.1, 0.9)
        method = trial.suggest_categorical("sparsifier", ["set", "snip"])
        rate = trial.suggest_float("sparsifier.set.prune_rate", 0.1, 0.5) if method == "set" else 0.0
        trial.set_user_attr("trial", digest({"search": number}))
        if number % 6 == 5:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, [0.8 - 0.3 * sparsity + 0.02 * rate, 1e15 * (1 - sparsity)][: len(objectives)])
    return study


def make_samples(classes: int = 2, each: int = 3) -> pd.DataFrame:
    """Return examples as in Figure 1: images of one gray level, darker for harder samples."""
    rows = []
    for label, end, rank in itertools.product(range(classes), ENDS, range(each)):
        score = 1 - 0.1 * rank if end == "hardest" else 0.1 * rank
        image = np.full((8, 8, 1), round(255 * (1 - score)), dtype=np.uint8)
        place = {"dataset": "digits", "name": "el2n", "label": label, "end": end, "rank": rank, "sample": len(rows)}
        place["class_name"] = ("apple", "aquarium_fish")[label]
        rows.append({**place, "score": score, "std": 0.05, "n": 4, "image": image})
    return pd.DataFrame(rows)[list(SAMPLES)]
