"""Measure the time and the memory of the analysis of a large sweep: ``make bench-analysis``.

The benchmark writes synthetic results of 10,000 trials with 200 epochs and 21 layers each. The store's own writer
writes them, one file per trial and table. Then each stage runs in a separate process. The benchmark prints the results
and writes them to ``benchmarks/results/``: as Markdown, with a description of the machine, and as Parquet.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.machine import describe
from tests.support.synthetic_tables import ADVERSARIAL, CORRUPTED, make_epochs, make_layers, make_sweep

HERE = Path(__file__).parent
MILD = {"difficulty": "corruption", "difficulty_parameters": '{"severity": 2}'}
SETTINGS: tuple[tuple[tuple[float, ...], dict[str, Any]], ...] = (
    ((0.2, 0.3, 0.5, 1.0), {}),
    ((0.3, 0.5, 1.0), CORRUPTED),
    ((0.5, 1.0), ADVERSARIAL),
    ((0.3, 0.5), MILD),
)
SEEDS = 5


def trials() -> Iterator[dict[str, Any]]:
    """Yield rows of all methods at nine sparsities, in four settings with several data ratios, for five seeds."""
    from sparsweep.analysis.figures import style

    methods = [name for name in style.SPARSIFIERS if name != "dense"]
    for ratios, setting in SETTINGS:
        for row in make_sweep(methods, [s / 10 for s in range(1, 10)], ratios, SEEDS, **setting):
            yield {**row, "robust_accuracy": row["test_accuracy"] / 2} if setting is ADVERSARIAL else row


def write(storage: str, rows: list[dict[str, Any]], epochs: int) -> None:
    from sparsweep.trainables.storage.store import Store

    store = Store(storage)
    store.mark()
    for row in rows:
        row["spec"] = json.dumps({"kind": "TrialSpec", "spec": row}, default=str)  # as long as a real spec
        tables = {"trials": [row], "layers": list(make_layers(row)), "epochs": make_epochs(row, epochs)}
        store.write_result(row["trial"], tables)


def write_all(storage: str, count: int, epochs: int) -> int:
    """Write ``count`` trials on all cores. Return the number of trials written."""
    rows, cores = list(islice(trials(), count)), os.cpu_count() or 1
    with ProcessPoolExecutor(cores) as pool:
        list(pool.map(write, [storage] * cores, [rows[core::cores] for core in range(cores)], [epochs] * cores))
    return len(rows)


# Stages: each returns a short text about its result.


def load(storage: str) -> str:
    from sparsweep.analysis import load_trials

    return f"{len(load_trials(storage)):,} trials"


def epochs_of_a_method(storage: str) -> str:
    from sparsweep.analysis import load_epochs, load_trials

    wanted = load_trials(storage, columns=["trial"], filters=[("sparsifier", "==", "set")])["trial"]
    return f"{len(load_epochs(storage, wanted)):,} epochs"


def figures(storage: str) -> str:
    from sparsweep.analysis import figures as gallery
    from sparsweep.analysis.results import load_results

    folder, drawn = Path(storage, "figures"), 0
    folder.mkdir(exist_ok=True)
    for figure in gallery.pictures(load_results(storage)):
        try:
            gallery.save(figure, lambda file, content: (folder / file).write_bytes(content))
            drawn += 1
        except ValueError:
            continue
    return f"{drawn} pictures (PNG, PDF, CSV)"


def claims(storage: str) -> str:
    from sparsweep.analysis.claims import evaluate, paper_claims
    from sparsweep.analysis.results import load_results

    return f"{len(evaluate(load_results(storage), paper_claims()))} verdicts"


def report(storage: str) -> str:
    from sparsweep.analysis.claims import evaluate, paper_claims
    from sparsweep.analysis.report import SweepSection, render
    from sparsweep.analysis.results import load_results

    results = load_results(storage)
    names = ("trials", "prerequisites", "done", "running", "failed", "blocked", "pending")
    standing = {**dict.fromkeys(names, 0), "trials": len(results.trials), "failures": [], "blocked_by": []}
    sweep = SweepSection("benchmark", "Synthetic.", "", "", standing)
    page = render(results, [sweep], evaluate(results, paper_claims()), storage, datetime.now(UTC)).encode()
    Path(storage, "report.html").write_bytes(page)
    return f"{len(page) / 1e6:.1f} MB"


STAGES: dict[str, tuple[Callable[[str], str], str]] = {
    "load trials, first time (one file per trial)": (load, ""),
    "load trials": (load, "2 s"),
    "load the epochs of one method, first time": (epochs_of_a_method, ""),
    "load the epochs of one method": (epochs_of_a_method, ""),
    "all figures, with the first read of the layers": (figures, ""),
    "all figures": (figures, "60 s"),
    "all claims": (claims, ""),
    "report": (report, "60 s, 20 MB"),
}


def measure(name: str, storage: str) -> dict[str, Any]:
    """Run a stage in a new process. Return its seconds (imports included) and its peak memory."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.analysis", "--stage", name, "--storage", storage]
    completed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE.parent)
    seconds = time.perf_counter() - start
    return {"stage": name, "seconds": seconds, **json.loads(completed.stdout.splitlines()[-1]), "goal": STAGES[name][1]}


def run_stage(name: str, storage: str) -> None:
    before = time.process_time()
    result = STAGES[name][0](storage)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"result": result, "cpu_seconds": time.process_time() - before, "peak_mb": peak}))


def markdown(table: pd.DataFrame, facts: dict[str, str], head: str) -> str:
    lines = [f"# Analysis of a large sweep\n\n{head}\n", *(f"- {name}: {fact}" for name, fact in facts.items()), ""]
    lines += ["| stage | seconds | of CPU | peak memory | result | goal |", "|---|---|---|---|---|---|"]
    for row in table.to_dict("records"):
        numbers = f"{row['seconds']:.1f} | {row['cpu_seconds']:.1f} | {row['peak_mb']:.0f} MB"
        lines.append(f"| {row['stage']} | {numbers} | {row['result']} | {row['goal']} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--storage", help="folder of the synthetic results; filled if empty (default: a new folder)")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        run_stage(arguments.stage, arguments.storage)
        return
    with tempfile.TemporaryDirectory() as temporary:
        storage = arguments.storage or temporary
        if not Path(storage, "results").exists():
            start = time.perf_counter()
            count = write_all(storage, arguments.trials, arguments.epochs)
            seconds = time.perf_counter() - start
            print(f"wrote {count:,} trials of {arguments.epochs} epochs in {seconds:.0f} s", flush=True)
        facts, rows = describe("pandas", "pyarrow", "matplotlib", "scipy"), []
        for name in STAGES:
            rows.append(measure(name, storage))
            print(f"{name}: {rows[-1]['seconds']:.1f} s", flush=True)
    table = pd.DataFrame(rows)
    head = f"{arguments.trials:,} trials of {arguments.epochs} epochs and 21 layers, synthetic; `make bench-analysis`."
    arguments.out.mkdir(parents=True, exist_ok=True)
    table.assign(**facts).to_parquet(arguments.out / "analysis.parquet", index=False)
    (arguments.out / "analysis.md").write_text(text := markdown(table, facts, head), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
