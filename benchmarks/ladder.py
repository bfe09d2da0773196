"""The ladder: what each change makes of the authors' loop, measured in one run. ``make bench``.

From the authors' loop (``authors_loop.py``) every rung adds one thing. Every round times every rung, in an order that
is reversed every other round, and the first rung at both ends of it: how far those two are apart is the noise. Ratios
are to their mean in the same round. Beside each rung stands a check: its weights after one step against the same step
in float64, masked weights exactly zero, the number of weights exact. The table is printed and kept in
``benchmarks/results/``, as Markdown and as Parquet, with a description of the machine.

Without a GPU the rungs that are made for one are left out, and the networks are small ones unless told otherwise.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.crowd import Crowd
from benchmarks.machine import describe
from benchmarks.measuring import check, gemm_rate, launches, masking_share, peak_memory, rate
from benchmarks.rungs import ATTACK_STEPS, Ours, Problem, Rung, Theirs
from trainables.engine import Engine
from trainables.flops import forward_flops

RESULTS = Path(__file__).parent / "results"
FIRST = "the authors' loop"
NO_GRAPHS = Engine(graphs=False)
TOLERANCES = {"fp32": 1e-5, "bf16": 1e-2}
"""For the distance of a step from float64, relative to the weights."""


@dataclass(frozen=True)
class Place:
    """A rung's place on the ladder: how it is built, on how many processes it runs, and in what precision."""

    name: str
    make: Callable[[], Rung]
    precision: str = "fp32"
    processes: int = 1


def ladder(problem: Problem, options: argparse.Namespace) -> list[Place]:
    """From the bottom up, each with what those below it have."""
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
        best = Engine()
        places.append(Place("CUDA graph", partial(Ours, problem, precision, best), precision))
    if options.compile:
        whole = best.model_copy(update={"compile": True})
        places.append(Place("torch.compile", partial(Ours, problem, precision, whole), precision))
    for size in options.processes:
        make = partial(Ours, replace(problem), precision, best)
        places.append(Place(f"{size} processes, without compile", make, precision, size))
    return places


class Timed:
    """A place on the ladder with what was measured there."""

    def __init__(self, place: Place, reference: dict[str, torch.Tensor]) -> None:
        self.place = place
        self.rates: list[float] = []
        self.facts: dict[str, Any] = {"launches": None, "peak_memory": None, "distance": None}
        if place.processes > 1:
            threads = max(1, torch.get_num_threads() // place.processes)
            self.crowd = Crowd(place.make, place.processes, threads)
            self.rate, self.close = self.crowd.rate, self.crowd.close
            return
        self.rung = place.make()
        self.rate, self.close = partial(rate, self.rung), lambda: None
        rate(self.rung, 0.0)  # what is compiled, captured or chosen at first is not timed
        compiled = isinstance(self.rung, Ours) and self.rung.engine.compile
        if not compiled or self.rung.problem.device.type == "cuda":
            self.facts["launches"] = launches(self.rung)
        self.facts |= {"peak_memory": peak_memory(self.rung), "distance": check(self.rung, reference)}

    def last_check(self, reference: dict[str, torch.Tensor]) -> None:
        """After all rounds: still sparse, and still the same step."""
        if self.place.processes == 1:
            check(self.rung, reference)


def climb(problem: Problem, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row a rung."""
    reference = problem.checked_step(torch.float64)
    timed = [Timed(place, reference) for place in ladder(problem, options)]
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
        one.last_check(reference)
        one.close()
    noise = [second / before for before, second in ends]
    rows = [row(problem, one, first, gemm) for one in timed]
    rows.insert(1, {**rows[0], "rung": "the same again (the noise)", **spread(noise), "launches": None})
    return rows


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
    """Of a training step on one image, masks not counted: they save a device nothing."""
    training = problem.training()
    forward = forward_flops(training.layer_flops, dict.fromkeys(training.layer_flops, 1.0))
    return (2 * ATTACK_STEPS + 3 if problem.attack else 3) * forward


# The table ------------------------------------------------------------------------------------------------------------


def table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| rung | images/s | of the authors' | of GEMM | launches | memory | distance from float64 |",
        "|---|---|---|---|---|---|---|",
    ]
    for found in rows:
        memory = "" if found["peak_memory"] is None else f"{found['peak_memory'] / 2**20:,.0f} MiB"
        apart = ""
        if found["distance"] is not None:
            verdict = "" if found["distance"] < TOLERANCES[found["precision"]] else " (too far)"
            apart = f"{found['distance']:.1e}{verdict}"
        ratio = f"{found['ratio']:.2f} ({found['least']:.2f} to {found['most']:.2f})"
        counted = "" if found["launches"] is None else str(found["launches"])
        rates = f"{found['images_per_second']:,.0f} | {ratio} | {found['of_gemm']:.1%}"
        lines.append(f"| {found['rung']} | {rates} | {counted} | {memory} | {apart} |")
    return lines


def report(rows: list[dict[str, Any]], shares: dict[str, tuple[float, float]], facts: dict[str, str]) -> str:
    gpu = torch.cuda.is_available()
    text = ["# The ladder", "", *(f"- {name}: {fact}" for name, fact in facts.items()), ""]
    if not gpu:
        text += ["Not measured on a GPU: there was none. Small networks, for this is a CPU.", ""]
    text += [
        f"{rows[0]['rounds']} rounds. Ratios: median over rounds (least to most). GEMM: the rate of a large product in "
        f"the same rounds, in {'bf16' if gpu else 'fp32'}. Launches: what the host starts in a step ("
        f"{'kernels and graphs' if gpu else 'operations that PyTorch dispatches, views included'}). The distance is "
        "that of all weights after one step, relative to them (attacked by one step, where attacked).",
    ]
    for problem in dict.fromkeys(found["problem"] for found in rows):
        text += ["", f"## {problem}", "", *table([found for found in rows if found["problem"] == problem])]
    text += ["", "## Masks and bookkeeping on top of a dense step", ""]
    text += [f"- {name}: {share:.2%} of a step of {seconds:.3f} s" for name, (share, seconds) in shares.items()]
    return "\n".join([*text, ""])


def problems(options: argparse.Namespace, device: torch.device) -> list[Problem]:
    """What is climbed: the paper's networks on a GPU; on a CPU ones that it trains in a benchmark's time."""
    whole = {"samples": 50_000, "device": device}
    if device.type == "cuda":
        plain = Problem("resnet18", 1.0, 32, 128, 100, False, **whole)
        found = [plain, Problem("vgg16", 1.0, 32, 128, 10, True, **whole)]
    else:
        found = [
            Problem("resnet8", 1.0, 16, 32, 10, False, **whole),
            Problem("resnet18", 1.0, 32, 32, 100, False, **whole),
            Problem("vgg16", 0.25, 32, 32, 10, True, **whole),
        ]
    return [one for one in found if not options.model or one.model in options.model]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", help="only this network; may be repeated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="at least so long is every rung timed in a round")
    parser.add_argument("--quick", action="store_true", help="a round of a tenth of a second, to see that it works")
    parser.add_argument("--workers", type=int, default=min(4, os.cpu_count() or 1), help="of the authors' loader")
    parser.add_argument("--processes", type=int, nargs="*", help="numbers of processes side by side")
    parser.add_argument("--bf16", action="store_true", help="on a CPU too")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=torch.cuda.is_available())
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
    rows, shares = [], {}
    for problem in problems(options, device):
        print(f"{problem} ...", flush=True)
        rows += climb(problem, options)
        if not problem.attack:
            shares[str(problem)] = masking_share(problem, options.seconds)
    options.output.mkdir(parents=True, exist_ok=True)
    text = report(rows, shares, facts)
    (options.output / "ladder.md").write_text(text, encoding="utf-8")
    print(text)
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist([{**found, **facts} for found in rows]), options.output / "ladder.parquet")


if __name__ == "__main__":
    main()
