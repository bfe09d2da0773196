"""Status of a sweep, computed from the store and the driver's heartbeat."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from sparsweep.trainables.storage import tables
from sparsweep.trainables.storage.listing import StorageListing
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.sweep import Sweep
from sparsweep.tuner.errors import UsageError
from sparsweep.tuner.planning.graph import SweepState, build_graph, compute_state
from sparsweep.tuner.planning.repair import MEASUREMENTS
from sparsweep.tuner.planning.trials import current_trials
from sparsweep.tuner.state.driver_lease import read_live_lease
from sparsweep.tuner.state.suggestions import num_early_stopped
from sparsweep.tuner.terminal import printable

OUTCOMES = ("done", "running", "failed", "blocked", "pending")


def sweep_status(sweep: Sweep, store: Store, listing: StorageListing | None = None) -> dict[str, Any]:
    """Compute the status of a sweep: number of trials per outcome, running runs, failures and blocked trials.

    Args:
        sweep: The sweep.
        store: The storage.
        listing: Contents of ``store``, if the caller has listed them already.
    """
    held = listing or store.listing()
    state = compute_state(build_graph(current_trials(sweep, store)), store, held)
    driver = read_live_lease(sweep.name, store)
    running = {} if driver is None else driver.running
    failures = held.failures
    outcome = _outcomes(state, running, held.finished)
    counts = {name: sum(value == name for value in outcome.values()) for name in OUTCOMES}

    def rows(runs: Iterable[str], details: Callable[[str], Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [
            {"trial": run, "what": str(state.graph.runs[run]), **_without_control_characters(details(run))}
            for run in runs
        ]

    return {
        "sweep": sweep.name,
        "trials": len(state.graph.trials),
        "prerequisites": len(state.graph.prerequisite_runs),
        "evaluations": len(state.evaluations),
        **counts,
        **({} if sweep.search is None else {"stopped": num_early_stopped(sweep.name, store)}),
        "alive": driver is not None,
        "seconds_left": None if driver is None else driver.seconds_left,
        "running_now": rows([run for run in running if run in state.graph.runs], lambda run: running[run]),
        "failures": rows(
            sorted(state.failed),
            lambda run: {key: failures[run][key] for key in ("error", "message", "attempt", "node")},
        ),
        "blocked_by": rows(state.trials_in(state.blocked), lambda run: {"by": state.blocked[run]}),
    }


def outcomes(sweep: Sweep, store: Store, listing: StorageListing) -> dict[str, str]:
    """Return the outcome (one of :data:`OUTCOMES`) of each trial of a sweep, by id."""
    state = compute_state(build_graph(current_trials(sweep, store)), store, listing)
    driver = read_live_lease(sweep.name, store)
    return _outcomes(state, {} if driver is None else driver.running, listing.finished)


def _outcomes(state: SweepState, running: Mapping[str, Any], finished: Collection[str]) -> dict[str, str]:
    missing = set(state.graph.trials).difference(finished)
    return {trial: classify(trial, missing, running, state) for trial in state.graph.trials}


def first_line(failure: Mapping[str, Any]) -> str:
    """Return the class and the first line of an error from a row of ``failures``."""
    message = (str(failure["message"] or "").strip().splitlines() or [""])[0]
    return f"{failure['error']}: {message}"


def _without_control_characters(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return stored details of a run without control characters, because the live view prints them unchanged."""
    return {name: printable(value) if isinstance(value, str) else value for name, value in details.items()}


def report_input(sweep: Sweep, store: Store, listing: StorageListing) -> dict[str, Any]:
    """Return the facts about a sweep for a report: name, description, ``spec`` (YAML), newest ``log``, ``report``."""
    log = (store.read(f"sweeps/{sweep.name}/log.txt") or b"").decode(errors="replace")
    texts = {"name": sweep.name, "description": sweep.description, "spec": sweep.dump(), "log": log}
    return {**texts, "report": sweep_status(sweep, store, listing)}


def classify(point: str, missing: set[str], running: Mapping[str, Any], state: SweepState) -> str:
    """Return the outcome (one of :data:`OUTCOMES`) of a trial.

    Args:
        point: Id of the trial.
        missing: Ids of trials without a result.
        running: Running runs by id, from the driver's heartbeat.
        state: State of the sweep.
    """
    if point not in missing:
        return "done"
    if point in running:
        return "running"
    if point in state.failed:
        return "failed"
    return "blocked" if point in state.blocked else "pending"


def known_runs(store: Store) -> frozenset[str]:
    """Return the ids of all finished or failed runs in a storage."""
    listing = store.listing()
    return listing.finished | listing.failures.keys()


def trial_details(trial: str, store: Store) -> dict[str, Any]:
    """Return ``spec``, ``results`` and ``files`` of a finished trial, or ``failure`` of a failed trial.

    Args:
        trial: Id of a finished or failed trial.
        store: The storage.

    Raises:
        UsageError: The result is damaged.
    """
    if trial not in store.finished():
        return {"failure": store.failures()[trial]}
    table, _ = tables.read_table(store.storage, "trials", trials=[trial])
    if not table.num_rows:
        raise UsageError(f"TRIAL {trial}: damaged result. Resume its sweep to repeat the trial.")
    row = table.to_pylist()[0]
    paths = {name: store.result_path(name, trial) for name in ("trials", "epochs", "layers")}
    paths["weights"] = store.artifact_path("weights", trial)
    paths |= {
        f"{table} {name.partition('-')[2]}": store.result_path(table, name)
        for table in MEASUREMENTS
        for name in sorted(store.list_ids(f"results/{table}"))
        if name.startswith(trial)
    }
    files = {name: store.uri(path) for name, path in paths.items() if store.exists(path)}
    return {"spec": _parsed(row.pop("spec")), "results": row, "files": files}


def _parsed(spec: str | None) -> Any:
    """Return the parts of a stored spec, or its text if it is damaged."""
    content = tables.parse_json(spec)
    return content.get("spec", spec) if isinstance(content, dict) else spec
