"""What a sweep costs before it is run: what is shared or done, operations, and hours from measured throughput."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from trainables import records
from trainables.flops import dense_flops
from trainables.spec import Spec, TrialSpec, load
from trainables.store import Store
from tuner.graph import build, examine
from tuner.points import points
from tuner.seeds import Seeds
from tuner.sweep import Sweep


def price(sweep: Sweep, store: Store) -> dict[str, Any]:
    """What would run, and what it costs; ``hours`` is None where no trial like these has been measured here."""
    trials = points(sweep, store) if sweep.search is None else expected(sweep, store)
    state = examine(build(trials), store)
    todo = [state.graph.runs[run] for run in state.todo]
    missing = state.points_in(state.todo)
    return {
        "sweep": sweep.name,
        "trials": len(state.graph.points),
        "prerequisites": len(state.graph.prerequisites),
        "done": len(state.graph.points) - len(missing),
        "missing": len(missing),
        "prerequisites_missing": len(state.todo) - len(missing),
        "train_flops": float(sum(cost(spec) for spec in todo)),
        "hours": hours(todo, store),
        **({} if sweep.seeds is None else {"seeds": seeds_to_come(sweep.seeds, trials)}),
    }


def seeds_to_come(seeds: Seeds, trials: Mapping[str, TrialSpec]) -> dict[str, int]:
    """Seeds of a point, ``from`` so many ``to`` so many, and the trials that there can be ``at_most``."""
    arms = sum(trial.seed == seeds.first for trial in trials.values())
    return {"from": seeds.start, "to": seeds.most, "at_most": arms * seeds.most}


def expected(sweep: Sweep, store: Store) -> dict[str, TrialSpec]:
    """Trials that a search may make: those suggested so far, and for those to come as many drawn at random."""
    from tuner.study import new_study, suggested_spec

    assert sweep.search is not None
    trials = points(sweep, store)
    study = new_study(sweep.search)
    # Random cells may be equal where a space is small; a few more draws than trials fill up what they can.
    for _ in range(2 * sweep.search.trials):
        if len(trials) >= sweep.search.trials:
            break
        spec = suggested_spec(sweep, study.ask())
        trials[spec.id] = spec
    return trials


def lines(facts: Mapping[str, Any]) -> list[str]:
    """A price as a person reads it."""
    hours = "not known: no trial like these has finished in this storage yet"
    if facts["hours"] is not None:
        hours = f"{facts['hours']:.2f} hours one after the other, by finished trials like these"
    said = [facts["sweep"], f"  trials         {facts['trials']} ({facts['done']} done, {facts['missing']} to run)"]
    if seeds := facts.get("seeds"):
        found = f"{seeds['from']} to {seeds['to']} a point, until its comparison with dense is decided"
        said.append(f"  seeds          {found}: at most {seeds['at_most']} trials")
    return [
        *said,
        f"  prerequisites  {facts['prerequisites']} besides ({facts['prerequisites_missing']} to run)",
        f"  training       {facts['train_flops']:.3g} FLOPs as the hardware does them (masks save no time)",
        f"  time           {hours}",
    ]


def images(spec: Spec) -> int:
    """Training images that a run processes."""
    return spec.training.samples * spec.length if spec.training else 0


def cost(spec: Spec) -> float:
    """Training operations of a run on hardware, which gains nothing from unstructured masks: those of the dense net."""
    trial = spec.training
    return objective_passes(spec) * dense_flops(trial.model, trial.dataset) * images(spec) if trial else 0.0


def hours(specs: Iterable[Spec], store: Store) -> float | None:
    """Hours of one slot for ``specs``, from the rate (evaluation included) of finished trials like them.

    The rate is forward passes of images a second: an attack costs many a step. None where some kind (data set, model,
    precision) has not been measured yet.
    """
    columns = ["dataset", "model", "precision", "samples", "epochs", "seconds", "difficulty_parameters", "spec"]
    table, _ = records.read(store.storage, "trials", columns=columns)
    passes: dict[str, float] = {}
    rates: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in table.to_pylist():
        kind = row["difficulty_parameters"]
        if kind not in passes:
            passes[kind] = objective_passes(load(row["spec"]))
        rate = passes[kind] * row["samples"] * row["epochs"] / row["seconds"]
        rates[row["dataset"], row["model"], row["precision"]].append(rate)
    seconds = 0.0
    for spec in specs:
        trial = spec.training
        if trial is None:
            continue
        measured = rates.get((trial.dataset.name, trial.model.name, trial.recipe.precision))
        if not measured:
            return None
        seconds += objective_passes(spec) * images(spec) / median(measured)
    return seconds / 3600


def objective_passes(spec: Spec) -> float:
    """Forward passes that a training image costs in a step of ``spec``."""
    return spec.training.difficulty.objective.passes if spec.training else 0.0
