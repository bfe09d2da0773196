"""Measure time and memory of outcomes of 10,000 trials on 10,000 samples: ``make bench-outcomes``.

The outcomes are random, with 10 classes and five methods. The store's own writer writes one file per trial. Then each
stage runs in a separate process. The results are printed and written to ``benchmarks/results/outcomes.md``.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.machine import describe

HERE = Path(__file__).parent
METHODS = ("dense", "gmp", "lth", "set", "snip")
CLASSES = 10


def trial_id(number: int) -> str:
    return f"{number:016x}"


def write(storage: str, numbers: range, samples: int) -> None:
    """Write the outcomes of the trials ``numbers``."""
    from sparsweep.trainables.storage.schemas import SCHEMAS
    from sparsweep.trainables.storage.store import Store

    store, schema = Store(storage), SCHEMAS["outcomes"]
    labels = np.random.default_rng(0).integers(0, CLASSES, samples)
    for number in numbers:
        random = np.random.default_rng(number + 1)
        predictions = np.where(random.random(samples) < 0.9, labels, random.integers(0, CLASSES, samples))
        values = {name: random.random(samples) for name in ("confidence", "label_probability", "loss")}
        columns = {
            "trial": [trial_id(number)] * samples,
            "split": ["test"] * samples,
            "sample": np.arange(samples),
            "label": labels,
            "prediction": predictions,
            "correct": predictions == labels,
            **values,
        }
        table = pa.table([pa.array(columns[field.name]).cast(field.type) for field in schema], schema=schema)
        store.write_outcomes(trial_id(number), "test", table)


def compact(storage: str, trials: int) -> str:
    from sparsweep.analysis.outcome_files import COPY
    from sparsweep.analysis.outcome_files import compact as copy

    rows, _ = copy(storage)
    return f"{Path(storage, COPY).stat().st_size / rows:.2f} bytes per sample and trial"


def aggregate(storage: str, trials: int) -> str:
    from sparsweep.analysis.outcomes.totals import sample_accuracy

    groups = {trial_id(number): METHODS[number % len(METHODS)] for number in range(trials)}
    found = sample_accuracy(storage, groups)
    return f"{found.shape[0]:,} samples, {found.shape[1]} methods, mean accuracy {found.to_numpy().mean():.4f}"


def one_trial(storage: str, trials: int) -> str:
    from sparsweep.analysis.load import load_outcomes

    return f"{len(load_outcomes(storage, trials=trial_id(trials // 2))):,} rows"


STAGES: dict[str, tuple[Callable[[str, int], str], str]] = {
    "compact": (compact, "copy all files into one: `sparsweep compact`"),
    "aggregate": (aggregate, "accuracy of each method on each sample"),
    "one_trial": (one_trial, "load the rows of one trial"),
}


def run_stage(name: str, storage: str, trials: int) -> None:
    """Run one stage in this process, and print a row of the table."""
    start = time.perf_counter()
    result = STAGES[name][0](storage, trials)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"| {STAGES[name][1]} | {seconds:.1f} | {peak:,.0f} | {result} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--stage", nargs=2, metavar=("STAGE", "STORAGE"), help="run one stage on a written storage")
    chosen = parser.parse_args()
    if chosen.stage:
        run_stage(*chosen.stage, chosen.trials)
        return
    with tempfile.TemporaryDirectory() as storage:
        from sparsweep.trainables.storage.store import Store

        Store(storage).mark()
        parts = [range(start, min(start + 100, chosen.trials)) for start in range(0, chosen.trials, 100)]
        with ProcessPoolExecutor() as writers:
            list(writers.map(write, [storage] * len(parts), parts, [chosen.samples] * len(parts)))
        lines = []
        for name in STAGES:
            size = ["--trials", str(chosen.trials)]
            call = [sys.executable, "-m", "benchmarks.outcomes", *size, "--stage", name, storage]
            lines.append(subprocess.run(call, check=True, capture_output=True, text=True).stdout.strip())
    machine = ", ".join(f"{name} {value}" for name, value in describe("pyarrow", "numpy", "pandas").items())
    head = [
        "# Outcomes of every sample",
        "",
        f"{chosen.trials:,} trials on {chosen.samples:,} samples, {machine}. Command: `make bench-outcomes`.",
        "",
        "| stage | seconds | peak memory (MB) | result |",
        "|---|---|---|---|",
    ]
    text = "\n".join([*head, *lines]) + "\n"
    print(text)
    (HERE / "results/outcomes.md").write_text(text)


if __name__ == "__main__":
    main()
