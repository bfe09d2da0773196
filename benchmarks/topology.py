"""Measure the cost of a mask update relative to a training step: ``make bench-topology``.

It times thresholds and updates at 11 and 21 million weights. Each round times every kernel once on every available
device, in an order that is reversed in every other round. Costs are relative to the training step of the same round:
ResNet18 with 100 classes on random 32x32 images, batch size 128. Each round times this step twice; the difference is
the noise. On a CPU with one thread the clock is the CPU time of the process, so other processes do not count.
The results are a table in Markdown and in Parquet, with a description of the machine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.machine import describe
from sparsweep.trainables.data import ImageData
from sparsweep.trainables.models import maskable
from sparsweep.trainables.models.resnet import ResidualModel
from sparsweep.trainables.pipeline.device_data import to_device_data
from sparsweep.trainables.pipeline.rng import derive
from sparsweep.trainables.sparsifiers import Masks, UpdateContext, sparsifiers
from sparsweep.trainables.sparsifiers.masked_params import MaskedParams, Tensors
from sparsweep.trainables.sparsifiers.masks import random_per_layer, top_k_global, top_k_per_layer
from sparsweep.trainables.sparsifiers.saliency import magnitudes
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.training.trainer import Trainer

RESULTS = Path(__file__).parent / "results"
SPARSITY = 0.8
STEPS_PER_EPOCH = 391
METHODS = ("set", "rigl", "gmp")
STEP, GRADIENT = "training step", "dense gradient of a batch"

Kernel = Callable[[], object]


class Long(ResidualModel):
    """Model with the blocks of ResNet34: 21 million weights."""

    name: Literal["long"] = "long"
    channels = 3
    min_size = 32
    blocks = (3, 4, 6, 3)
    widths = (64, 128, 256, 512)


class Short(Long):
    """Model with the blocks of ResNet18: 11 million weights."""

    blocks = (2, 2, 2, 2)


def trial(sparsifier: str, model: ResidualModel, batch: int) -> TrialSpec:
    fields = {"dataset": "digits", "model": model, "sparsifier": sparsifier, "sparsity": SPARSITY}
    return TrialSpec.model_validate({**fields, "recipe": {"batch_size": batch}})


def training(device: torch.device, batch: int) -> Trainer:
    """Return a training of SET on one batch of random images."""
    random = np.random.default_rng(0)
    pixels, labels = random.integers(0, 256, (batch, 3, 32, 32), dtype=np.uint8), random.integers(0, 100, batch)
    data = to_device_data(ImageData(pixels, labels, pixels, labels, classes=100), 3, 32, device)
    return Trainer(trial("set", Short(), batch), data, torch.arange(batch), lambda spec: {})


def weights_of(model: ResidualModel, device: torch.device) -> Tensors:
    """Return the maskable weights of a new network."""
    module = model.build(100, ([0.5] * 3, [0.25] * 3))
    return {name: weight.detach().to(device).requires_grad_() for name, weight in maskable(module).items()}


def thresholds(weights: Tensors) -> Iterator[tuple[str, Kernel]]:
    """Yield kernels that select the largest 20 % of all weights, and of the weights of each layer."""
    scores = magnitudes({name: weight.detach() for name, weight in weights.items()})
    kept = round((1 - SPARSITY) * sum(score.numel() for score in scores.values()))
    counts = {name: round((1 - SPARSITY) * score.numel()) for name, score in scores.items()}
    yield "threshold of the network", lambda: top_k_global(scores, kept)
    yield "thresholds of the layers", lambda: top_k_per_layer(scores, counts)


def update(name: str, weights: Tensors, run: Trainer) -> Kernel:
    """Return a kernel that updates and applies the masks of method ``name``. Gradients are given."""
    counts = {layer: round((1 - SPARSITY) * weight.numel()) for layer, weight in weights.items()}
    masks = random_per_layer(weights, counts, derive(0, "masks"))
    topology = MaskedParams(weights, torch.optim.SGD(weights.values(), lr=0.1, momentum=0.9), masks)
    gradients = {layer: torch.randn_like(weight) for layer, weight in weights.items()}
    method = sparsifiers.parse(name)
    spec = run.spec.replace(sparsifier=method)
    # In the middle of the training every method changes its masks.
    step = run.timeline.steps // 2

    def act() -> None:
        now = UpdateContext(spec, step, run.timeline, topology.dense_values(), derive(0, "masks", 1), lambda: gradients)
        fresh = Masks.full(weights) if name == "gmp" else masks
        topology.set_masks(method.update(fresh, now))

    return act


def kernels(device: torch.device, batch: int) -> dict[tuple[int, str], Kernel]:
    """Return the kernels to time, by number of weights and name."""
    run = training(device, batch)
    run.model.train()
    images, labels = next(run.batches.iter_epoch(derive(0, "batches")))
    noise = run.loss_fn.draw_noise(images, derive(0, "attack", device=device))
    size = run.masks.size
    found: dict[tuple[int, str], Kernel] = {
        (size, STEP): lambda: run.train_step(images, labels, noise, 0),
        (size, GRADIENT): lambda: run._dense_gradients(images, labels, noise),
    }
    for model in (Short(), Long()):
        weights = weights_of(model, device)
        size = sum(weight.numel() for weight in weights.values())
        found |= {(size, name): kernel for name, kernel in thresholds(weights)}
        found |= {(size, f"update of {name}"): update(name, weights_of(model, device), run) for name in METHODS}
    return found


def clock(device: torch.device) -> float:
    """Return the time in seconds after the device has finished its work.

    The time is the CPU time of the process on a CPU with one thread, and the wall time otherwise.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.process_time() if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter()


def seconds(kernel: Kernel, device: torch.device) -> float:
    """Return the duration of one call."""
    start = clock(device)
    kernel()
    return clock(device) - start


def measure(device: torch.device, batch: int, rounds: int) -> list[dict[str, Any]]:
    """Return one row per kernel: median seconds, and costs relative to the training step of the same round.

    Costs are the median, minimum and maximum over rounds.
    """
    table = kernels(device, batch)
    (step,) = (key for key in table if key[1] == STEP)
    order = [*table, step]
    for key in table if device.type == "cuda" else [step]:
        table[key]()  # warm-up: compilation and kernel selection are not timed
    times: dict[tuple[int, str], list[list[float]]] = {key: [] for key in table}
    for turn in range(rounds):
        found: dict[tuple[int, str], list[float]] = {key: [] for key in table}
        for key in order if turn % 2 == 0 else reversed(order):
            found[key].append(seconds(table[key], device))
        for key in table:
            times[key].append(found[key])
    rows = []
    for (size, name), rounds_of in times.items():
        steps = [statistics.mean(pair) for pair in times[step]]
        # For the step itself: second time in a round / first time, which is the noise.
        ratios = [pair[-1] / (pair[0] if name == STEP else mean) for pair, mean in zip(rounds_of, steps, strict=True)]
        rows.append(
            {
                "device": title(device),
                "weights": size,
                "kernel": name,
                "seconds": statistics.median(value for pair in rounds_of for value in pair),
                "of_a_step": statistics.median(ratios),
                "least": min(ratios),
                "most": max(ratios),
                "rounds": rounds,
                "batch": batch,
            }
        )
    return rows


def title(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return "CPU, 1 thread, its own seconds" if threads == 1 else f"CPU, {threads} threads"


def shares(rows: list[dict[str, Any]]) -> list[str]:
    """Return the share of training time that the updates at 11 million weights take, as lines of text."""
    lines = []
    for device in dict.fromkeys(row["device"] for row in rows):
        own = {row["kernel"]: row for row in reversed(rows) if row["device"] == device}
        for name in METHODS:
            gradient = own[GRADIENT]["of_a_step"] if name == "rigl" else 0.0
            cost = own[f"update of {name}"]["of_a_step"] + gradient
            for epochs in dict.fromkeys((4.0, sparsifiers[name].model_fields["update_every"].default)):
                share = cost / (cost + round(epochs * STEPS_PER_EPOCH))
                what = " with its dense gradient" if gradient else ""
                lines.append(
                    f"- update of {name}{what}, every {epochs:g} epochs of {STEPS_PER_EPOCH} steps: "
                    f"{share:.3%} ({device})"
                )
    return lines


def report(rows: list[dict[str, Any]], facts: dict[str, str]) -> str:
    measured = "" if torch.cuda.is_available() else " Not measured on a GPU: none available."
    lines = [
        "# Cost of a mask update",
        "",
        *(f"- {name}: {fact}" for name, fact in facts.items()),
        "",
        f"`make bench-topology`, {rows[0]['rounds']} rounds.{measured}",
        "",
        f"A training step is one of ResNet18 at 100 classes on {rows[0]['batch']} images of 32x32 pixels, sparsity "
        f"{SPARSITY}. Costs relative to the step of the same round: median (min to max). The step relative to itself "
        "is the noise.",
        "",
        "| device | weights | kernel | seconds | relative to a step |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        ratio = f"{row['of_a_step']:.3f} ({row['least']:.3f} to {row['most']:.3f})"
        lines.append(f"| {row['device']} | {row['weights']:,} | {row['kernel']} | {row['seconds']:.3f} | {ratio} |")
    return "\n".join([*lines, "", "Share of the training time that updates take:", "", *shares(rows), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    devices = [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]
    facts = describe("torch")
    rows = [row for device in devices for row in measure(device, arguments.batch, arguments.rounds)]
    arguments.output.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([{**row, **facts} for row in rows]), arguments.output / "topology.parquet")
    text = report(rows, facts)
    (arguments.output / "topology.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
