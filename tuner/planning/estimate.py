"""Estimate of a sweep before its run: missing runs, FLOPs, and hours from measured throughput."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Any

from sparsweep.trainables.difficulties import difficulties
from sparsweep.trainables.specs.run import RunSpec, from_json
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage import tables
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training.convergence import MIN_STEPS
from sparsweep.trainables.training.execution import ExecutionConfig
from sparsweep.trainables.training.flops import dense_flops
from sparsweep.tuner.config.adaptive_seeds import AdaptiveSeeds
from sparsweep.tuner.config.grid import SweepError
from sparsweep.tuner.config.sweep import Sweep
from sparsweep.tuner.planning.graph import build_graph, compute_state
from sparsweep.tuner.planning.trials import current_trials
from sparsweep.tuner.state import calibration
from sparsweep.tuner.state.calibration import step_kind


def estimate(sweep: Sweep, store: Store) -> dict[str, Any]:
    """Return the facts that ``sparsweep plan`` shows: numbers of runs, FLOPs and hours.

    Args:
        sweep: The sweep.
        store: The storage with finished results and measurements.

    Returns:
        JSON-compatible facts. ``hours`` is None if the storage has no measurement for a kind of trial.
    """
    trials = current_trials(sweep, store) if sweep.search is None else expected_trials(sweep, store)
    state = compute_state(build_graph(trials), store)
    todo = [state.graph.runs[run] for run in state.todo]
    missing = state.trials_in(state.todo)
    hours, grounds = estimate_hours(todo, load_throughput_model(store, sweep.resources.execution))
    return {
        "sweep": sweep.name,
        "trials": len(state.graph.trials),
        "prerequisites": len(state.graph.prerequisite_runs),
        "done": len(state.graph.trials) - len(missing),
        "missing": len(missing),
        "prerequisites_missing": len(state.todo) - len(missing) - len(state.evaluations),
        "evaluations": len(state.evaluations),
        "failed": len(state.failed),
        "undertrained_expected": 0 if sweep.allow_undertrained else short_trainings(todo),
        "train_flops": float(sum(training_flops(spec) for spec in todo)),
        "hours": hours,
        "hours_rest_on": grounds,
        **({} if sweep.seeds is None else {"seeds": expected_seeds(sweep.seeds, trials)}),
    }


def list_runs_to_do(sweep: Sweep, store: Store) -> list[dict[str, str]]:
    """Return ``run`` (id) and ``what`` (description) of all missing runs, prerequisites first.

    For a search, only suggestions already drawn are included.
    """
    state = compute_state(build_graph(current_trials(sweep, store)), store)
    return [{"run": run, "what": str(spec)} for run, spec in state.graph.runs.items() if run in state.todo]


def short_trainings(runs: Iterable[RunSpec]) -> int:
    """Return the number of trials with fewer than ``MIN_STEPS`` steps, whose networks will be under-trained."""
    return sum(run.steps < MIN_STEPS for run in runs if isinstance(run, TrialSpec))


def expected_seeds(seeds: AdaptiveSeeds, trials: Mapping[str, TrialSpec]) -> dict[str, int]:
    """Return the minimum (``from``) and maximum (``to``) seeds per point, and the maximum number of trials."""
    arms = sum(trial.seed == seeds.first for trial in trials.values())
    return {"from": seeds.start, "to": seeds.most, "at_most": arms * seeds.most}


def expected_trials(sweep: Sweep, store: Store) -> dict[str, TrialSpec]:
    """Return the suggestions drawn so far and, for each later suggestion, one random sample of the space."""
    from sparsweep.tuner.search.study import new_study, suggested_spec

    assert sweep.search is not None
    trials = current_trials(sweep, store)
    study = new_study(sweep.search)
    # In a small space random samples may repeat, so draw up to twice the number of trials.
    for _ in range(2 * sweep.search.trials):
        if len(trials) >= sweep.search.trials:
            break
        with suppress(SweepError):  # the search also skips invalid suggestions
            spec = suggested_spec(sweep, study.ask())
            trials[spec.id] = spec
    return trials


def format_estimate(facts: Mapping[str, Any]) -> list[str]:
    """Format the facts of :func:`estimate` as lines."""
    lines = [facts["sweep"], f"  trials         {facts['trials']} ({facts['done']} done, {facts['missing']} to run)"]
    if failed := facts["failed"]:
        lines.append(f"  failed         {failed} runs: run skips them and their dependents, resume retries them")
    if seeds := facts.get("seeds"):
        per_point = f"{seeds['from']} to {seeds['to']} per point, until the comparison with dense is decided"
        lines.append(f"  seeds          {per_point}: at most {seeds['at_most']} trials")
    if short := facts["undertrained_expected"]:
        why = f"fewer than {MIN_STEPS:,} steps: under-trained networks expected, claims not tested on them"
        lines.append(f"  warning        {short} trials train for {why}")
    lines += [
        f"  prerequisites  {facts['prerequisites']} more runs ({facts['prerequisites_missing']} to run)",
        *([f"  evaluations    {count} finished trials, from their weights"] if (count := facts["evaluations"]) else []),
        f"  training       {facts['train_flops']:.3g} FLOPs on hardware (masks save no time)",
        f"  time           {format_hours(facts)}",
    ]
    if "cost" in facts:
        cost = "unknown, because the time is unknown" if facts["cost"] is None else f"{facts['cost']:.2f}"
        lines.append(f"  cost           {cost} ({facts['node_hour']:g} per node-hour; without the head node)")
    return lines


def format_hours(facts: Mapping[str, Any]) -> str:
    """Format the sequential time of all missing runs and the basis of this estimate."""
    if facts["hours"] is None:
        return "unknown. Measure the speed: sparsweep calibrate"
    if not facts["hours_rest_on"]:
        return "none: no training left"
    return f"{format_duration(3600 * facts['hours'])} sequentially, {' and '.join(facts['hours_rest_on'])}"


def format_duration(seconds: float) -> str:
    """Format seconds like ``2 h 05 min``, ``3 min 10 s`` or ``8 s``."""
    rounded = round(seconds)
    if rounded >= 3600:
        return f"{rounded // 3600} h {rounded % 3600 // 60:02} min"
    return f"{rounded // 60} min {rounded % 60:02} s" if rounded >= 60 else f"{rounded} s"


def node_cost(facts: Mapping[str, Any], node_hour: float, trials_per_node: int) -> dict[str, Any]:
    """Return the ``cost`` of all missing runs, without the head node and without startup and idle time of nodes.

    Args:
        facts: Facts of :func:`estimate`.
        node_hour: Price per node-hour, in any currency.
        trials_per_node: Number of trials that one node runs at once.

    Returns:
        ``cost`` in the same currency (None if the hours are unknown) and ``node_hour``.
    """
    hours = facts["hours"]
    return {"cost": None if hours is None else hours / trials_per_node * node_hour, "node_hour": node_hour}


def num_images(spec: RunSpec) -> int:
    """Return the number of training images that a run processes."""
    trial = spec.trained_trial
    if trial is None:
        return 0
    first = trial.sparsifier.start_epoch(trial)
    return trial.images_until(first + spec.num_epochs) - trial.images_until(first)


def training_flops(spec: RunSpec) -> float:
    """Return the training FLOPs of a run: those of the dense network, since unstructured masks save no time."""
    return flops_per_image(spec) * num_images(spec)


def flops_per_image(spec: RunSpec) -> float:
    """Return the training FLOPs per image; 0 for runs without training."""
    trial = spec.trained_trial
    return forward_equivalents(spec) * dense_flops(trial.model, trial.dataset) if trial else 0.0


def forward_equivalents(spec: RunSpec) -> float:
    """Return the cost of a training step per image, in forward passes; 0 for runs without training."""
    return difficulties.cast(spec.trained_trial.difficulty).loss_fn.forward_equivalents if spec.trained_trial else 0.0


@dataclass(frozen=True)
class ThroughputModel:
    """Measured training throughput by kind of trial.

    Attributes:
        finished: Forward passes per second of each finished trial, evaluation included, by data set, model, precision.
        calibrated: Newest images per second (training only) and GPU name, by the JSON of ``step_kind``.
        engine: Execution config of the missing runs.
    """

    finished: Mapping[tuple[str, str, str], list[float]]
    calibrated: Mapping[str, tuple[float, str]]
    engine: ExecutionConfig

    def rate(self, trial: TrialSpec) -> tuple[float, str] | None:
        """Return the forward passes per second of ``trial`` and their source, or None without measurements."""
        measured = self.finished.get((trial.dataset.name, trial.model.name, trial.recipe.precision))
        if measured:
            return median(measured), f"from {len(measured)} finished trials"
        measurement = self.calibrated.get(json.dumps(step_kind(trial, self.engine), sort_keys=True))
        if measurement is None:
            return None
        images_per_second, gpu = measurement
        return images_per_second * forward_equivalents(trial), f"calibrated on {gpu}"


def load_throughput_model(store: Store, engine: ExecutionConfig) -> ThroughputModel:
    """Load the measured throughput from a storage, without rows of unknown methods or without a duration.

    Args:
        store: The storage.
        engine: Execution config of the missing runs.
    """
    columns = ["dataset", "model", "precision", "seconds", "difficulty_parameters", "spec", *IMAGE_COLUMNS]
    table, _ = tables.read_table(store.storage, "trials", columns=columns)
    passes: dict[str, float | None] = {}
    finished: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in table.to_pylist():
        kind = row["difficulty_parameters"]
        if kind not in passes:
            passes[kind] = _passes_of(row["spec"])
        per_image, processed, seconds = passes[kind], images_trained(row), row["seconds"]
        if per_image and processed and seconds and seconds > 0:
            finished[row["dataset"], row["model"], row["precision"]].append(per_image * processed / seconds)
    calibrated = {
        json.dumps(measurement["kind"], sort_keys=True): (measurement["images_per_second"], measurement["card"])
        for measurement in calibration.read_measurements(store, "rate")
        if measurement["images_per_second"] is not None
    }
    return ThroughputModel(finished, calibrated, engine)


IMAGE_COLUMNS = ("samples", "epochs", "steps", "batch_size")


def images_trained(row: Mapping[str, Any]) -> float | None:
    """Return the number of training images that a finished trial processed, or None if a column is empty.

    Args:
        row: The :data:`IMAGE_COLUMNS` of the trial.
    """
    if not (row["samples"] and row["epochs"] and row["batch_size"]):
        return None
    epochs = row["epochs"] if row["steps"] is None else row["steps"] / math.ceil(row["samples"] / row["batch_size"])
    return float(row["samples"] * epochs)


def _passes_of(spec: str | None) -> float | None:
    """Return the forward passes per image of a stored spec, or None if it is damaged or has unknown methods."""
    try:
        return forward_equivalents(from_json(spec or ""))
    except (ValueError, LookupError, TypeError):
        return None


def estimate_hours(specs: Iterable[RunSpec], rates: ThroughputModel) -> tuple[float | None, list[str]]:
    """Return the sequential hours of ``specs`` and the sources of the estimate; None if a throughput is unknown."""
    seconds, grounds = 0.0, dict[str, None]()
    for spec in specs:
        if spec.trained_trial is None:
            continue
        measured = rates.rate(spec.trained_trial)
        if measured is None:
            return None, []
        rate, ground = measured
        seconds += forward_equivalents(spec) * num_images(spec) / rate
        grounds[ground] = None
    return seconds / 3600, list(grounds)
