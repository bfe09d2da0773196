"""Draws docs/architecture.png: the subpackages of the code, and how one trial walks through them.

The walk is traced: the script reads a sweep file, plans it, runs one trial of one epoch in this process, and notes the
first function that is called in each subpackage. ``python docs/architecture.py`` writes the picture and prints it.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

SWEEP = """
base: {dataset: digits, model: {name: resnet8, width: 0.25}, recipe: {preset: digits, epochs: 1}, data_ratio: 0.1}
grids: [{sparsifier: set, sparsity: 0.5}]
"""
DRIVER = ("config", "state", "search", "planning", "hardware", "execution", "cli")
WORKER = (
    "specs",
    "storage",
    "data",
    "corruptions",
    "pipeline",
    "models",
    "sparsifiers",
    "difficulties",
    "training",
    "runs",
)
PICTURE = Path(__file__).with_name("architecture.png")


def run_one_trial(storage: str) -> None:
    """Read, plan and run the sweep as the command, its driver and a worker do, without Ray between them."""
    from sparsweep.trainables.lazy import torch
    from sparsweep.trainables.pipeline.device_data import to_device_data
    from sparsweep.trainables.runs.base import RunInputs
    from sparsweep.trainables.runs.kinds import open_run
    from sparsweep.trainables.specs.run import from_json, to_json
    from sparsweep.trainables.storage.store import Store
    from sparsweep.tuner.cli.datasets import read_images
    from sparsweep.tuner.config.sweep import parse_sweep
    from sparsweep.tuner.execution.queue import RunQueue
    from sparsweep.tuner.planning.graph import build_graph, compute_state
    from sparsweep.tuner.planning.schedule import scheduling_key
    from sparsweep.tuner.planning.trials import current_trials
    from sparsweep.tuner.state.sweep_record import save_sweep

    sweep, store = parse_sweep(SWEEP, "walk"), Store(storage)
    save_sweep(sweep, store)
    state = compute_state(build_graph(current_trials(sweep, store)), store)
    (images,) = read_images(state, [], None).values()
    queue = RunQueue(state.graph, state.ready, scheduling_key(sweep, state.graph, state.ready))
    sent = to_json(state.graph.runs[str(queue.next())])

    spec = from_json(sent)
    trial = spec.trained_trial
    assert trial is not None
    data = to_device_data(images, trial.model.channels, trial.model.min_size, torch.device("cpu"))
    open_run(spec, RunInputs(lambda: images, lambda _: data), store, sweep.name).run_for(float("inf"))


def trace(call: Callable[[], None]) -> dict[str, tuple[int, str]]:
    """Return the number and the name of the first function that ``call`` entered in each subpackage, by subpackage."""
    entered: dict[str, tuple[int, str]] = {}

    def note(frame: FrameType, event: str, _: Any) -> None:
        module = str(frame.f_globals.get("__name__", ""))
        name = frame.f_code.co_name
        parts = module.split(".")
        if event != "call" or parts[:1] != ["sparsweep"] or len(parts) < 4 or name.startswith(("<", "_")):
            return
        if name in vars(importlib.import_module(module)) or "." in frame.f_code.co_qualname:
            entered.setdefault(".".join(parts[1:3]), (len(entered) + 1, f"{parts[3]}.{frame.f_code.co_qualname}"))

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return entered


def draw(entered: dict[str, tuple[int, str]]) -> None:
    """Draw both packages, the lowest subpackage at the bottom, with the walk's numbers."""
    figure, axes = plt.subplots(figsize=(9, 6.2))
    for left, package, subpackages in ((0.0, "tuner", DRIVER), (5.2, "trainables", WORKER)):
        axes.text(left + 2.2, 10.6, f"sparsweep.{package}", ha="center", fontsize=11, weight="bold")
        for height, subpackage in enumerate(subpackages):
            number, function = entered.get(f"{package}.{subpackage}", (None, ""))
            box = FancyBboxPatch((left, height), 4.4, 0.62, boxstyle="round,pad=0.08", ec="#444", lw=0.8)
            box.set_facecolor("#f2f2f2" if number is None else "#dceaf7")
            axes.add_patch(box)
            axes.text(left + 0.1, height + 0.31, subpackage, va="center", fontsize=10, weight="bold")
            if number is not None:
                axes.text(left + 1.65, height + 0.31, f"{number}  {function}", va="center", fontsize=7.5)
    axes.annotate("", (5.1, 9.3), (4.5, 5.4), arrowprops={"arrowstyle": "->"})
    axes.text(4.55, 8.2, "the spec as JSON,\nthrough Ray", ha="right", fontsize=8)
    axes.set_xlim(-0.2, 9.8)
    axes.set_ylim(-0.4, 11.1)
    axes.axis("off")
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=150, metadata={"Software": ""})


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run_one_trial(f"{folder}/warm")  # imports run functions too
        entered = trace(lambda: run_one_trial(f"{folder}/runs"))
    draw(entered)
    for subpackage, (number, function) in sorted(entered.items(), key=lambda item: item[1]):
        print(f"{number:>2}. {subpackage}: {function}")


if __name__ == "__main__":
    main()
