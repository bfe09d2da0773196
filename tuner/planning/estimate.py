"""What a sweep costs before it is run: what is shared or done, operations, and hours from measured throughput."""

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
    """What would run, and what it costs; ``hours`` is None where no trial like these has been measured here."""
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
        "prerequisites_missing": len(state.todo) - len(missing),
        "failed": len(state.failed),
        "undertrained_expected": 0 if sweep.allow_undertrained else short_trainings(todo),
        "train_flops": float(sum(training_flops(spec) for spec in todo)),
        "hours": hours,
        "hours_rest_on": grounds,
        **({} if sweep.seeds is None else {"seeds": expected_seeds(sweep.seeds, trials)}),
    }


def list_runs_to_do(sweep: Sweep, store: Store) -> list[dict[str, str]]:
    """Return ``run`` (its id) and ``what`` it is of all that is to be done, prerequisites first.

    What a search will suggest is not known: of its trials, those that were suggested.
    """
    state = compute_state(build_graph(current_trials(sweep, store)), store)
    return [{"run": run, "what": str(spec)} for run, spec in state.graph.runs.items() if run in state.todo]


def short_trainings(runs: Iterable[RunSpec]) -> int:
    """Trials among ``runs`` with so few steps that their networks will be under-trained."""
    return sum(run.steps < MIN_STEPS for run in runs if isinstance(run, TrialSpec))


def expected_seeds(seeds: AdaptiveSeeds, trials: Mapping[str, TrialSpec]) -> dict[str, int]:
    """Seeds of a point, ``from`` so many ``to`` so many, and the trials that there can be ``at_most``."""
    arms = sum(trial.seed == seeds.first for trial in trials.values())
    return {"from": seeds.start, "to": seeds.most, "at_most": arms * seeds.most}


def expected_trials(sweep: Sweep, store: Store) -> dict[str, TrialSpec]:
    """Trials that a search may make: those suggested so far, and for those to come as many drawn at random."""
    from sparsweep.tuner.search.study import new_study, suggested_spec

    assert sweep.search is not None
    trials = current_trials(sweep, store)
    study = new_study(sweep.search)
    # Random cells may be equal where a space is small; a few more draws than trials fill up what they can.
    for _ in range(2 * sweep.search.trials):
        if len(trials) >= sweep.search.trials:
            break
        with suppress(SweepError):  # what can be no trial is left out of the search, too
            spec = suggested_spec(sweep, study.ask())
            trials[spec.id] = spec
    return trials


def format_estimate(facts: Mapping[str, Any]) -> list[str]:
    """A price as a person reads it."""
    said = [facts["sweep"], f"  trials         {facts['trials']} ({facts['done']} done, {facts['missing']} to run)"]
    if failed := facts["failed"]:
        said.append(f"  failed before  {failed} runs: run leaves them and what needs them out, resume retries them")
    if seeds := facts.get("seeds"):
        found = f"{seeds['from']} to {seeds['to']} a point, until its comparison with dense is decided"
        said.append(f"  seeds          {found}: at most {seeds['at_most']} trials")
    if short := facts["undertrained_expected"]:
        why = f"less than {MIN_STEPS:,} steps: expect under-trained networks, on which claims are not judged"
        said.append(f"  warning        {short} trials train for {why}")
    said += [
        f"  prerequisites  {facts['prerequisites']} besides ({facts['prerequisites_missing']} to run)",
        f"  training       {facts['train_flops']:.3g} FLOPs as the hardware does them (masks save no time)",
        f"  time           {format_hours(facts)}",
    ]
    if "cost" in facts:
        known = "not known, as the time is not" if facts["cost"] is None else f"{facts['cost']:.2f}"
        said.append(f"  cost           {known} (nodes at {facts['node_hour']:g} an hour; without the head)")
    return said


def format_hours(facts: Mapping[str, Any]) -> str:
    """How long the runs to come take one after the other, and how that is known."""
    if facts["hours"] is None:
        return "unknown: sparsweep calibrate measures it"
    if not facts["hours_rest_on"]:
        return "none: nothing is left to train"
    return f"{format_duration(3600 * facts['hours'])} one after the other, {' and '.join(facts['hours_rest_on'])}"


def format_duration(seconds: float) -> str:
    """``2 h 05 min``, ``3 min 10 s`` or ``8 s``."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 60} min {whole % 60:02} s" if whole >= 60 else f"{whole} s"


def node_cost(facts: Mapping[str, Any], node_hour: float, trials_per_node: int) -> dict[str, Any]:
    """``cost`` of nodes that take ``node_hour`` an hour and run so many trials at once, in the same money.

    None where the hours are not known. Not in it: the head, and what a node costs before and after its work.
    """
    hours = facts["hours"]
    return {"cost": None if hours is None else hours / trials_per_node * node_hour, "node_hour": node_hour}


def num_images(spec: RunSpec) -> int:
    """Training images that a run processes."""
    trial = spec.trained_trial
    if trial is None:
        return 0
    first = trial.sparsifier.start_epoch(trial)
    return trial.images_until(first + spec.num_epochs) - trial.images_until(first)


def training_flops(spec: RunSpec) -> float:
    """Training operations of a run on hardware, which gains nothing from unstructured masks: those of the dense net."""
    return flops_per_image(spec) * num_images(spec)


def flops_per_image(spec: RunSpec) -> float:
    """Operations of training on one image; 0 where nothing is trained."""
    trial = spec.trained_trial
    return forward_equivalents(spec) * dense_flops(trial.model, trial.dataset) if trial else 0.0


def forward_equivalents(spec: RunSpec) -> float:
    """Forward passes that a training image costs in a step of ``spec``."""
    return difficulties.cast(spec.trained_trial.difficulty).loss_fn.forward_equivalents if spec.trained_trial else 0.0


@dataclass(frozen=True)
class ThroughputModel:
    """How fast trials have been, and what is known of those that have not been run: passes of an image a second.

    ``finished``: by data set, model and precision, evaluation included; ``calibrated``: by the JSON of ``step_kind``,
    training alone, with the card; the newest where there are several; ``engine``: how those to come are to run.
    """

    finished: Mapping[tuple[str, str, str], list[float]]
    calibrated: Mapping[str, tuple[float, str]]
    engine: ExecutionConfig

    def rate(self, trial: TrialSpec) -> tuple[float, str] | None:
        """The rate of ``trial`` and what it rests on; None if nothing is known."""
        measured = self.finished.get((trial.dataset.name, trial.model.name, trial.recipe.precision))
        if measured:
            return median(measured), f"from {len(measured)} finished trials"
        known = self.calibrated.get(json.dumps(step_kind(trial, self.engine), sort_keys=True))
        if known is None:
            return None
        images_a_second, card = known
        return images_a_second * forward_equivalents(trial), f"calibrated on {card}"


def load_throughput_model(store: Store, engine: ExecutionConfig) -> ThroughputModel:
    """What the storage tells of the speed of trials under ``engine``.

    Rows that tell nothing are left out: of methods that are not known here, or without a duration.
    """
    columns = ["dataset", "model", "precision", "seconds", "difficulty_parameters", "spec", *IMAGE_COLUMNS]
    table, _ = tables.read_table(store.storage, "trials", columns=columns)
    passes: dict[str, float | None] = {}
    finished: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in table.to_pylist():
        kind = row["difficulty_parameters"]
        if kind not in passes:
            passes[kind] = _passes_of(row["spec"])
        of_image, processed, seconds = passes[kind], images_trained(row), row["seconds"]
        if of_image and processed and seconds and seconds > 0:
            finished[row["dataset"], row["model"], row["precision"]].append(of_image * processed / seconds)
    calibrated = {
        json.dumps(found["kind"], sort_keys=True): (found["images_per_second"], found["card"])
        for found in calibration.read_measurements(store, "rate")
        if found["images_per_second"] is not None
    }
    return ThroughputModel(finished, calibrated, engine)


IMAGE_COLUMNS = ("samples", "epochs", "steps", "batch_size")


def images_trained(row: Mapping[str, Any]) -> float | None:
    """Training images that a finished trial went through, None if ``row``, its :data:`IMAGE_COLUMNS`, does not say."""
    if not (row["samples"] and row["epochs"] and row["batch_size"]):
        return None
    passes = row["epochs"] if row["steps"] is None else row["steps"] / math.ceil(row["samples"] / row["batch_size"])
    return float(row["samples"] * passes)


def _passes_of(spec: str | None) -> float | None:
    """Return the forward passes per image of a stored spec, or None if it is damaged or its methods are not known."""
    try:
        return forward_equivalents(from_json(spec or ""))
    except (ValueError, LookupError, TypeError):
        return None


def estimate_hours(specs: Iterable[RunSpec], rates: ThroughputModel) -> tuple[float | None, list[str]]:
    """Hours of one slot for ``specs``, and what they rest on; None where the speed of some trial is not known."""
    seconds, grounds = 0.0, dict[str, None]()
    for spec in specs:
        if spec.trained_trial is None:
            continue
        found = rates.rate(spec.trained_trial)
        if found is None:
            return None, []
        rate, ground = found
        seconds += forward_equivalents(spec) * num_images(spec) / rate
        grounds[ground] = None
    return seconds / 3600, list(grounds)
