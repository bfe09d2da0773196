"""The ladder: measure the speed-up of each change to the authors' loop in one run. ``make bench``.

Each rung adds one change, starting from the authors' loop (``authors_loop.py``). Each round times each rung, in an
order that is reversed in every other round. The first rung is timed at the beginning and at the end of a round: the
difference is the noise, and ratios are relative to the mean of both in the same round. Each rung is also checked:

- its weights after one step are close to those of the authors' loop in float64;
- masked weights are exactly zero;
- the number of active weights is exact.

The benchmark prints the table and writes it to ``benchmarks/results/``: as Markdown and as Parquet, with a description
of the machine. Without a GPU, the rungs for GPUs are omitted and the networks are small.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.crowd import Crowd
from benchmarks.machine import describe
from benchmarks.measuring import checked, gemm_rate, launches, masking_share, peak_memory, rate
from benchmarks.rungs import ATTACK_STEPS, CHECKED_LR, Change, Ours, Problem, Rung, Theirs
from sparsweep.trainables.training.execution import ExecutionConfig
from sparsweep.trainables.training.flops import forward_flops

RESULTS = Path(__file__).parent / "results"
FIRST = "the authors' loop"
NO_GRAPHS = ExecutionConfig(graphs=False)
TOLERANCES = {"fp32": 1e-5, "bf16": 1e-2}
"""Largest allowed distance of a step from float64, relative to the weights, by precision."""
DISTANCES = ("from_float64_of_weights", "from_float64_of_update", "from_authors_of_update")
"""Distances between all weights after two steps, relative to the weights or to the update of the second step."""


@dataclass(frozen=True)
class Place:
    """A rung's place on the ladder.

    Attributes:
        name: Name in the table.
        make: Function that builds the rung.
        precision: Precision of the training.
        processes: Number of concurrent processes.
    """

    name: str
    make: Callable[[], Rung]
    precision: str = "fp32"
    processes: int = 1


def ladder(problem: Problem, options: argparse.Namespace) -> list[Place]:
    """Return the places from the first rung to the last. Each includes the changes of the previous ones."""
    workers, gpu = options.workers, problem.device.type == "cuda"
    places = [Place(FIRST, partial(Theirs, problem, "loader", workers))]
    if not problem.attack:
        places += [
            Place("the same with a batch in memory", partial(Theirs, problem, "memory", 0)),
            Place("batches made on the device", partial(Theirs, problem, "tensors", 0)),
        ]
    places.append(Place("no waiting, fused step and masks", partial(Ours, problem, "fp32", NO_GRAPHS)))
    best, precision = NO_GRAPHS, "fp32"
    if gpu or options.bf16:
        precision = "bf16"
        places.append(Place("bf16, channels last", partial(Ours, problem, precision, best), precision))
    if gpu:
        best = ExecutionConfig()
        places.append(Place("CUDA graph", partial(Ours, problem, precision, best), precision))
    if options.compile:
        compiled = best.model_copy(update={"compile": True})
        places.append(Place("torch.compile", partial(Ours, problem, precision, compiled), precision))
    for size in options.processes:
        make = partial(Ours, replace(problem), precision, best)
        name = f"{size} processes of {threads_of_each(size)} threads, without compile"
        places.append(Place(name, make, precision, size))
    return places


def threads_of_each(processes: int) -> int:
    return max(1, torch.get_num_threads() // processes)


class Timed:
    """A place on the ladder and its measurements."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.rates: list[float] = []
        self.facts: dict[str, Any] = {"launches": None, "peak_memory": None, **dict.fromkeys(DISTANCES)}
        if place.processes > 1:
            self.crowd = Crowd(place.make, place.processes, threads_of_each(place.processes))
            self.rate, self.close = self.crowd.rate, self.crowd.close
            return
        self.rung = place.make()
        self.rate, self.close = partial(rate, self.rung), lambda: None
        rate(self.rung, 0.0)  # warm-up: compilation, capture and kernel selection are not timed
        compiled = isinstance(self.rung, Ours) and self.rung.engine.compile
        if not compiled or self.rung.problem.device.type == "cuda":
            self.facts["launches"] = launches(self.rung)
        self.facts["peak_memory"] = peak_memory(self.rung)

    def check(self, exact: Change, authors: Change) -> None:
        """Check after all rounds that the network is sparse, and measure the distances of one step.

        Args:
            exact: Step of the authors' loop in float64.
            authors: Step of the authors' loop in fp32.
        """
        if self.place.processes == 1:
            change = checked(self.rung)
            distances = change.of_weights(exact), change.of_update(exact), change.of_update(authors)
            self.facts |= dict(zip(DISTANCES, distances, strict=True))


def climb(problem: Problem, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure all rungs. Return one row per rung."""
    exact, authors = problem.checked_step(torch.float64), problem.checked_step()
    timed = [Timed(place) for place in ladder(problem, options)]
    first, ends, gemm = timed[0], [], []
    for turn in range(options.rounds):
        gemm.append(gemm_rate(problem.device, min(options.seconds, 1.0)))
        middle = timed[1:] if turn % 2 == 0 else timed[:0:-1]
        start = first.rate(options.seconds)
        for other in middle:
            other.rates.append(other.rate(options.seconds))
        ends.append((start, first.rate(options.seconds)))
        first.rates.append(sum(ends[-1]) / 2)
    for one in timed:
        one.check(exact, authors)
        one.close()
    noise = [second / before for before, second in ends]
    rows = [row(problem, one, first, gemm) for one in timed]
    nothing = dict.fromkeys(first.facts)
    again = {"rung": "the same again (the noise)", "images_per_second": median(second for _, second in ends)}
    return [rows[0], {**rows[0], **again, **spread(noise), **nothing}, *rows[1:]]


def spread(ratios: list[float]) -> dict[str, float]:
    return {"ratio": median(ratios), "least": min(ratios), "most": max(ratios)}


def row(problem: Problem, timed: Timed, first: Timed, gemm: list[float]) -> dict[str, Any]:
    ratios = [own / base for own, base in zip(timed.rates, first.rates, strict=True)]
    shares = [own * operations(problem) / most for own, most in zip(timed.rates, gemm, strict=True)]
    return {
        "problem": str(problem),
        "device": problem.device.type,
        "rung": timed.place.name,
        "precision": timed.place.precision,
        "images_per_second": median(timed.rates),
        **spread(ratios),
        "of_gemm": median(shares),
        "rounds": len(timed.rates),
        **timed.facts,
    }


def operations(problem: Problem) -> float:
    """Return the operations of a training step on one image, without masks: masks save no operations on a device."""
    training = problem.training()
    forward = forward_flops(training.layer_flops, dict.fromkeys(training.layer_flops, 1.0))
    return (2 * ATTACK_STEPS + 3 if problem.attack else 3) * forward


# The table ------------------------------------------------------------------------------------------------------------


def table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| rung | images/s | of the authors' | of GEMM | launches | memory "
        "| float64, of weights | of update | authors', of update |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for found in rows:
        memory = "" if found["peak_memory"] is None else f"{found['peak_memory'] / 2**20:,.0f} MiB"
        apart = " | ".join("" if found[name] is None else f"{found[name]:.1e}" for name in DISTANCES)
        if found[DISTANCES[0]] is not None and found[DISTANCES[0]] >= TOLERANCES[found["precision"]]:
            apart = apart.replace(" |", " (beyond) |", 1)
        ratio = f"{found['ratio']:.2f} ({found['least']:.2f} to {found['most']:.2f})"
        counted = "" if found["launches"] is None else str(found["launches"])
        rates = f"{found['images_per_second']:,.0f} | {ratio} | {found['of_gemm']:.1%}"
        lines.append(f"| {found['rung']} | {rates} | {counted} | {memory} | {apart} |")
    return lines


def report(rows: list[dict[str, Any]], facts: dict[str, str]) -> str:
    gpu = torch.cuda.is_available()
    text = ["# The ladder", "", *(f"- {name}: {fact}" for name, fact in facts.items()), ""]
    if not gpu:
        text += ["Not measured on a GPU: none available. Networks and batches are small because this is a CPU.", ""]
    text += [
        f"{rows[0]['rounds']} rounds. Ratios: median over rounds (min to max). GEMM: the rate of a large matrix "
        f"product in the same rounds, in {'bf16' if gpu else 'fp32'}. Launches per step: "
        f"{'kernels and graphs' if gpu else 'operations that PyTorch dispatches, views included'}. The last columns "
        f"compare all weights after one step at learning rate {CHECKED_LR}. They are the distances from the authors' "
        "loop in float64, relative to the weights and to the update, and from the authors' loop in fp32 on this "
        "device (under attack: one attack step, no random start). 'Beyond' marks a distance from float64 of at least "
        f"{TOLERANCES['fp32']:.0e} of the weights in fp32, {TOLERANCES['bf16']:.0e} in bf16. If the authors' loop "
        "itself is beyond, the initial network amplifies rounding, and only the last column is meaningful.",
    ]
    for problem in dict.fromkeys(found["problem"] for found in rows):
        text += ["", f"## {problem}", "", *table([found for found in rows if found["problem"] == problem])]
    return "\n".join([*text, ""])


def masking_report(problem: Problem, rounds: int) -> str:
    shares, seconds = masking_share(problem, rounds)
    share = f"{median(shares):.2%} ({min(shares):.2%} to {max(shares):.2%} in {rounds} rounds)"
    title = "## Masks and bookkeeping on top of a dense step"
    return f"\n{title}\n\n{problem}: {share} of its {seconds:.3f} s.\n"


def problems(options: argparse.Namespace, device: torch.device) -> list[Problem]:
    """Return the problems to measure: the paper's networks on a GPU, smaller ones on a CPU."""
    common = {"samples": 50_000, "device": device}
    if device.type == "cuda":
        plain = Problem("resnet18", 1.0, 32, 128, 100, False, **common)
        candidates = [plain, Problem("vgg16", 1.0, 32, 128, 10, True, **common)]
    else:
        candidates = [
            Problem("resnet8", 1.0, 16, 32, 10, False, **common),
            Problem("resnet18", 1.0, 32, 8, 100, False, **common),
            Problem("vgg16", 0.25, 32, 8, 10, True, **common),
        ]
    return [problem for problem in candidates if not options.model or problem.model in options.model]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", help="only this network; may be repeated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="minimum duration of one measurement of a rung")
    parser.add_argument("--quick", action="store_true", help="one round of 0.1 s per rung, as a smoke test")
    parser.add_argument(
        "--workers", type=int, default=min(4, os.cpu_count() or 1), help="worker processes of the authors' loader"
    )
    parser.add_argument("--processes", type=int, nargs="*", help="numbers of concurrent processes to measure")
    parser.add_argument("--bf16", action="store_true", help="also use bf16 on a CPU")
    compiler = torch.cuda.is_available() or shutil.which("g++") is not None
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=compiler)
    parser.add_argument(
        "--masking", type=int, default=128, help="batch size of the step that masking is compared with; 0: skip"
    )
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.processes is None:
        options.processes = [2, 4, 8] if torch.cuda.is_available() else [2]
    if options.quick:
        options.rounds, options.seconds = 1, 0.1
    return options


def main() -> None:
    options = arguments()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    facts = {**describe("torch", "torchvision"), "threads": str(torch.get_num_threads())}
    if device.type == "cuda":
        facts["card"] = torch.cuda.get_device_name(device)
    rows: list[dict[str, Any]] = []
    for problem in problems(options, device):
        print(f"{problem} ...", flush=True)
        rows += climb(problem, options)
    facts["load after"] = f"{os.getloadavg()[0]:.1f}"
    text = report(rows, facts)
    if options.masking:
        masked = Problem("resnet18", 1.0, 32, options.masking, 100, False, samples=options.masking, device=device)
        text += masking_report(masked, options.rounds)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "ladder.md").write_text(text, encoding="utf-8")
    pq.write_table(pa.Table.from_pylist([{**found, **facts} for found in rows]), options.output / "ladder.parquet")
    print(text)


if __name__ == "__main__":
    main()
