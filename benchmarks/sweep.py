"""Measure the overhead of a sweep: ``make bench-sweep``, or ``make bench-sweep SIZES="100 300"`` for a short run.

- Trials that do nothing run in this package and in Tune alone.
- A finished sweep starts again.
- A sweep of 100,000 trials is planned.
- Small real trials run as a sweep, in a plain loop and in the authors' loop.

Each measurement runs in a separate process. The benchmark prints the results and writes them to
``benchmarks/results/``: as Markdown, with a description of the machine, and as Parquet.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import noop_sweeps, small_trials
from benchmarks.machine import describe

HERE = Path(__file__).parent
MEASURES: dict[str, Callable[..., dict[str, Any]]] = {**noop_sweeps.MEASURES, **small_trials.MEASURES}
COMMAND = [sys.executable, "-m", "sparsweep.tuner.cli.app"]
GOALS = """Goals: at most 1.0 of bare Tune at 1,000 trials and 0.8 at 10,000; driver below 700 MB; again in under 10 s;
efficiency above 90 %."""


def measure(name: str, storage: str, trials: int, epochs: int = 0) -> dict[str, Any]:
    """Run one of :data:`MEASURES` in a new process."""
    call = ["--measure", name, "--storage", storage, "--trials", str(trials), "--epochs", str(epochs)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sweep", *call], capture_output=True, text=True, cwd=HERE.parent
    )
    if done.returncode:
        raise SystemExit(f"{name} of {trials} trials failed:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{name} {trials:,}: {', '.join(f'{key} {value:.4g}' for key, value in found.items())}", flush=True)
    return {"what": name, "trials": trials, **found}


def command(storage: str, *arguments: str) -> dict[str, Any]:
    """Run a ``sparsweep`` command as a user does. Return wall seconds (imports included) and peak memory in MB."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [*COMMAND, *arguments, "--storage", storage], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=HERE.parent
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"sparsweep {' '.join(arguments)}: exit {os.waitstatus_to_exitcode(status)}")
    return {"seconds": time.perf_counter() - start, "memory": usage.ru_maxrss / 1024}


def noop(sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Run no-op sweeps of each size with this package and with Tune alone. Start both again after they finish."""
    rows = []
    for trials in sizes:
        with tempfile.TemporaryDirectory() as storage:
            rows += [measure(name, storage, trials) for name in ("ours", "bare")]
            file = Path(storage, "noop.yaml")
            file.write_text(noop_sweeps.sweep_file(trials))
            again = command(storage, "run", str(file))
            rows.append({"what": "ours_again", "trials": trials, **again})
            rows.append(measure("bare_again", storage, trials))
    return rows


def small(trials: int) -> list[dict[str, Any]]:
    """Run small real trials as a sweep, in a plain loop and in the authors' loop."""
    from sparsweep.analysis import load_trials

    slots = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as storage:
        epochs = measure("epochs_of", storage, 1)["epochs"]
        file = Path(storage, "small.yaml")
        file.write_text(small_trials.sweep_file(trials, epochs))
        whole_command = command(storage, "run", str(file))
        table = load_trials(storage)
        wall = (table["finished_at"].max() - table["started_at"].min()).total_seconds()
        loop = measure("loop", storage, trials, epochs)
        few = max(1, trials // 20)
        authors = measure("authors", storage, few, epochs)["seconds"] * trials / few
    row = {"what": "small", "trials": trials, "epochs": epochs, "slots": slots, "seconds": wall}
    row |= {"command_seconds": whole_command["seconds"], "loop_seconds": loop["seconds"], "authors_seconds": authors}
    row["efficiency"] = loop["seconds"] / (wall * slots)
    row["own_efficiency"] = table["seconds"].sum() / (wall * slots)
    return [row]


def line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    return [line(head), line(["---"] * len(head)), *(line(row) for row in rows), ""]


def noop_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    found = {(row["what"], row["trials"]): row for row in rows}
    names = {"ours": "this package", "bare": "Tune alone"}
    lines = []
    for trials in sorted({row["trials"] for row in rows}):
        for name, words in names.items():
            run, again = found[name, trials], found[f"{name}_again", trials]
            ratio = run["seconds"] / found["bare", trials]["seconds"]
            numbers = [run["seconds"], 1000 * run["seconds"] / trials, run["cpu_seconds"], run["start"]]
            memory = [run["memory"], run["private"], again["memory"]]
            lines.append(
                [
                    f"{trials:,}",
                    words,
                    f"{ratio:.2f}",
                    *(f"{number:.1f}" for number in numbers),
                    f"{run['snapshots']}, {run['snapshot_seconds']:.2f}",
                    f"{again['seconds']:.1f}",
                    *(f"{size:.0f}" for size in memory),
                ]
            )
    head = ["trials", "", "over bare", "s", "ms per trial", "driver, CPU s", "start of Ray, s", "snapshots, s"]
    return table([*head, "again, s", "driver, MB", "of it private", "again, MB"], lines)


def planned_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    stages = ("read", "plan", "status", "graph", "release")
    lines = [[f"{r['trials']:,}", *(f"{r[stage]:.1f}" for stage in stages), f"{r['memory']:.0f}"] for r in rows]
    return table(["planned trials", *(f"{stage}, s" for stage in stages), "MB"], lines)


def small_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for row in rows:
        each = row["loop_seconds"] / row["trials"]
        numbers = [row[name] for name in ("loop_seconds", "seconds", "command_seconds", "authors_seconds")]
        shares = [row["efficiency"], row["own_efficiency"]]
        lines.append(
            [
                f"{row['trials']} of {each:.1f} s",
                *(f"{number:.1f}" for number in numbers),
                *(f"{100 * share:.0f} %" for share in shares),
                f"{row['authors_seconds'] / row['seconds']:.1f}",
            ]
        )
    head = ["small trials", "bare loop, s", "sweep, s", "whole command, s", "authors' loop, s", "efficiency"]
    return table([*head, "by the trials' own seconds", "authors' / sweep"], lines)


def report(rows: Sequence[Mapping[str, Any]], facts: Mapping[str, str]) -> str:
    def of(*names: str) -> list[Mapping[str, Any]]:
        return [row for row in rows if row["what"] in names]

    lines = ["# The cost of a sweep\n\n`make bench-sweep`. " + GOALS + "\n"]
    lines += [*(f"- {name}: {fact}" for name, fact in facts.items()), ""]
    lines += noop_table(of("ours", "bare", "ours_again", "bare_again"))
    lines += planned_table(of("planned"))
    lines += small_table(of("small"))
    lines += [
        "Seconds of no-op sweeps exclude the start of Ray. Efficiency: seconds of the bare loop / (seconds of the",
        "sweep x slots), from the start of the first trial to the end of the last one. The authors' loop is measured",
        "on 1/20 of the trials. Not measured on a GPU.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=[100, 1_000, 10_000], help="numbers of no-op trials")
    parser.add_argument("--planned", type=int, nargs="*", default=[100_000], help="numbers of trials only planned")
    parser.add_argument("--small", type=int, default=40, help="small real trials; 0: none")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--measure", choices=MEASURES, help=argparse.SUPPRESS)
    for name, kind in {"storage": str, "trials": int, "epochs": int}.items():
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        more = [options.epochs] if options.measure in small_trials.MEASURES else []
        print(json.dumps(MEASURES[options.measure](options.storage, options.trials, *more)))
        return
    facts = describe("ray", "torch", "pyarrow")
    rows = noop(options.sizes)
    with tempfile.TemporaryDirectory() as storage:
        rows += [measure("planned", f"{storage}/{trials}", trials) for trials in options.planned]
    rows += small(options.small) if options.small else []
    options.out.mkdir(parents=True, exist_ok=True)
    import pandas as pd  # imported here, so that measured processes do not load it

    pd.DataFrame(rows).assign(**facts).to_parquet(options.out / "sweep.parquet", index=False)
    (options.out / "sweep.md").write_text(text := report(rows, facts), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
