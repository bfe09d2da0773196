"""How a sweep stands, as the store and the driver's heartbeat say it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sparsweep.trainables.storage import tables
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.sweep import Sweep
from sparsweep.tuner.errors import UsageError
from sparsweep.tuner.planning.graph import SweepState, build_graph, compute_state
from sparsweep.tuner.planning.trials import current_trials
from sparsweep.tuner.state.driver_lease import read_live_lease
from sparsweep.tuner.state.suggestions import num_early_stopped
from sparsweep.tuner.terminal import printable

OUTCOMES = ("done", "running", "failed", "blocked", "pending")


def sweep_status(sweep: Sweep, store: Store) -> dict[str, Any]:
    """Counts of the sweep's own trials by outcome, and the reasons of what failed or is blocked."""
    state = compute_state(build_graph(current_trials(sweep, store)), store)
    driver = read_live_lease(sweep.name, store)
    running = {} if driver is None else driver.running
    failures = store.failures()
    outcome = _outcomes(state, running, store.finished())
    counts = {name: sum(found == name for found in outcome.values()) for name in OUTCOMES}

    def about(runs: Iterable[str], words: Callable[[str], Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [
            {"trial": run, "what": str(state.graph.runs[run]), **_without_control_characters(words(run))}
            for run in runs
        ]

    return {
        "sweep": sweep.name,
        "trials": len(state.graph.trials),
        "prerequisites": len(state.graph.prerequisite_runs),
        **counts,
        **({} if sweep.search is None else {"stopped": num_early_stopped(sweep.name, store)}),
        "alive": driver is not None,
        "seconds_left": None if driver is None else driver.seconds_left,
        "running_now": about([run for run in running if run in state.graph.runs], lambda run: running[run]),
        "failures": about(
            sorted(state.failed),
            lambda run: {key: failures[run][key] for key in ("error", "message", "attempt", "node")},
        ),
        "blocked_by": about(state.trials_in(state.blocked), lambda run: {"by": state.blocked[run]}),
    }


def outcomes(sweep: Sweep, store: Store) -> dict[str, str]:
    """Which of :data:`OUTCOMES` each trial of a sweep is in, by id."""
    state = compute_state(build_graph(current_trials(sweep, store)), store)
    driver = read_live_lease(sweep.name, store)
    return _outcomes(state, {} if driver is None else driver.running, store.finished())


def _outcomes(state: SweepState, running: Mapping[str, Any], finished: set[str]) -> dict[str, str]:
    missing = set(state.graph.trials) - finished
    return {point: classify(point, missing, running, state) for point in state.graph.trials}


def first_line(failure: Mapping[str, Any]) -> str:
    """Return class and first line of an error, from a row of ``failures``."""
    message = (str(failure["message"] or "").strip().splitlines() or [""])[0]
    return f"{failure['error']}: {message}"


def _without_control_characters(words: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a storage says of a run, without control characters: a live view writes it as it is."""
    return {name: printable(value) if isinstance(value, str) else value for name, value in words.items()}


def report_input(sweep: Sweep, store: Store) -> dict[str, Any]:
    """What a report says of a sweep: name, description, ``spec`` (YAML), newest ``log``, ``report``."""
    log = (store.read(f"sweeps/{sweep.name}/log.txt") or b"").decode(errors="replace")
    texts = {"name": sweep.name, "description": sweep.description, "spec": sweep.dump(), "log": log}
    return {**texts, "report": sweep_status(sweep, store)}


def classify(point: str, missing: set[str], running: Mapping[str, Any], state: SweepState) -> str:
    """Which of :data:`OUTCOMES` a point of the sweep is in."""
    if point not in missing:
        return "done"
    if point in running:
        return "running"
    if point in state.failed:
        return "failed"
    return "blocked" if point in state.blocked else "pending"


def known_runs(store: Store) -> set[str]:
    """Ids of all runs that finished or failed here."""
    return store.finished() | store.failures().keys()


def trial_details(trial: str, store: Store) -> dict[str, Any]:
    """``spec``, ``results`` and ``files`` of a finished trial; ``failure`` of one that failed and has not finished.

    Raises:
        WrongCall: The result is damaged.
    """
    if trial not in store.finished():
        return {"failure": store.failures()[trial]}
    table, _ = tables.read_table(store.storage, "trials", trials=[trial])
    if not table.num_rows:
        raise UsageError(f"TRIAL {trial}: its result is damaged. Resume its sweep to make it again.")
    row = table.to_pylist()[0]
    paths = {name: store.result_path(name, trial) for name in ("trials", "epochs", "layers")}
    paths["weights"] = store.artifact_path("weights", trial)
    files = {name: store.uri(path) for name, path in paths.items() if store.exists(path)}
    return {"spec": _parsed(row.pop("spec")), "results": row, "files": files}


def _parsed(spec: str | None) -> Any:
    """Return the parts of a stored spec, or its text if it is damaged."""
    found = tables.parse_json(spec)
    return found.get("spec", spec) if isinstance(found, dict) else spec
