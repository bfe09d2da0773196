"""Execution of a sweep by the command: messages during the run, the summary and the exit code at its end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import typer

from sparsweep.tuner.cli.session import resolve_id_prefix
from sparsweep.tuner.errors import UsageError
from sparsweep.tuner.execution.ray_environment import prepare
from sparsweep.tuner.execution.run_options import RunOptions
from sparsweep.tuner.terminal import print_message, print_result

if TYPE_CHECKING:
    from sparsweep.trainables.data import ImageData
    from sparsweep.trainables.storage.store import Store
    from sparsweep.tuner.config.sweep import Sweep
    from sparsweep.tuner.planning.graph import SweepState
    from sparsweep.tuner.state.driver_lease import Lease

Remarks: TypeAlias = "Callable[[Sweep, Store], list[str]]"
"""Function that returns remarks about a sweep's results, one line each."""


def run_sweep(options: RunOptions, data: str | None, remarks: Remarks, retry: bool) -> None:
    """Run all ready runs of a sweep, print the summary and exit.

    Args:
        options: The sweep and its run options. ``profile`` may be a prefix of a run id.
        data: Folder of data sets, None for the default.
        remarks: Returns the remarks about the results that follow the summary.
        retry: Whether to remove damaged results and retry failed runs.

    Raises:
        UsageError: The storage is read-only, the data is missing, or the sweep cannot run.
        typer.Exit: With 1 if trials are missing at the end, with 128 + signal number after a signal.
    """
    sweep, store = options.sweep, options.store
    check_writable(store)
    refuse_another_search(sweep, store)
    from sparsweep.tuner.cli.datasets import read_images
    from sparsweep.tuner.planning.graph import build_graph, compute_state
    from sparsweep.tuner.planning.repair import remove_damaged_measurements, remove_damaged_results
    from sparsweep.tuner.planning.trials import current_trials

    graph = build_graph(current_trials(sweep, store))
    if retry and (damaged := remove_damaged_results(graph.runs, store)):
        print_message(f"removed {len(damaged)} damaged results, they run again: {', '.join(damaged)}")
    if retry and (damaged := remove_damaged_measurements(graph.runs, store)):
        print_message(f"removed {len(damaged)} damaged files, their trials are evaluated again: {', '.join(damaged)}")
    state = compute_state(graph, store)
    if retry:
        state = state.retried()
    elif state.failed:
        print_message(f"skipping {len(state.failed)} failed runs. Retry them: {options.resume_command}")
    to_suggest = is_searching(sweep, store)
    images = read_images(state, sweep.candidate_datasets if to_suggest else [], data)
    if options.profile is not None:
        options = replace(options, profile=resolve_id_prefix(options.profile, state.ready, "run to do", store.storage))
    run_unless_idle(options, state, images, idle=not (state.ready or to_suggest))
    if options.profile is not None:
        print_message((store.read(f"profiles/{options.profile}/summary.txt") or b"").decode())
        print_message(f"trace: {store.uri(f'profiles/{options.profile}/trace.json')}")
    print_summary(sweep, store, remarks)


def forget_for_rerun(sweep: Sweep, store: Store, what: str) -> list[str]:
    """Remove the results that ``--rerun`` selects, for the next run.

    Args:
        sweep: The sweep.
        store: The storage.
        what: Value of ``--rerun``, see :func:`~sparsweep.tuner.planning.forgetting.runs_to_rerun`.

    Returns:
        Messages about the removed results.

    Raises:
        UsageError: Another driver runs the sweep, or ``what`` selects nothing.
    """
    check_writable(store)
    from sparsweep.tuner.planning.forgetting import forget, runs_to_rerun
    from sparsweep.tuner.planning.graph import build_graph
    from sparsweep.tuner.planning.trials import current_trials
    from sparsweep.tuner.state.driver_lease import SweepAlreadyRunning, refuse_if_driven

    try:
        refuse_if_driven(sweep.name, store)
    except SweepAlreadyRunning as error:
        raise UsageError(f"{error}. Wait for its end.") from None
    runs = runs_to_rerun(what, build_graph(current_trials(sweep, store)), store)
    forget(runs, store)
    return [f"{sweep.name}: removed the results of {len(runs)} runs, they run again"]


def remake_artifacts(options: RunOptions, data: str | None, what: str) -> None:
    """Recreate deleted weights or scores of a sweep and print their number. Result tables stay unchanged.

    Args:
        options: The sweep and its run options.
        data: Folder of data sets, None for the default.
        what: ``weights`` (of all finished trials), ``scores``, or a prefix of a run id.

    Raises:
        UsageError: The search of the sweep is not finished, or no run matches ``what``.
        typer.Exit: With 1 if files are still missing at the end.
    """
    sweep, store = options.sweep, options.store
    check_writable(store)
    if is_searching(sweep, store):
        raise UsageError(
            f"--remake {what}: the search of {sweep.name} is not finished. Resume it without --remake first."
        )
    from sparsweep.tuner.cli.datasets import read_images
    from sparsweep.tuner.planning.graph import build_graph, compute_artifact_state
    from sparsweep.tuner.planning.remaking import runs_to_remake
    from sparsweep.tuner.planning.trials import current_trials

    graph = build_graph(current_trials(sweep, store))
    if what in ("weights", "scores"):
        runs = runs_to_remake(what, graph, store)
    else:
        runs = [resolve_id_prefix(what, graph.runs, "run of this sweep", store.storage)]
    lost = compute_artifact_state(graph, runs, store).retried()
    run_unless_idle(options, lost, read_images(lost, [], data), idle=not lost.ready)
    still_lost = compute_artifact_state(graph, runs, store).todo
    print_result(f"{sweep.name}: {len(lost.todo - still_lost)} runs recreated, {len(still_lost)} still missing")
    if still_lost:
        raise typer.Exit(1)


def check_writable(store: Store) -> None:
    """Raise UsageError if ``store`` is not writable."""
    try:
        store.check_writable()
    except OSError as error:
        raise UsageError(f"--storage {store.storage}: not writable: {error}") from None


def refuse_another_search(sweep: Sweep, store: Store) -> None:
    """Raise UsageError if the stored suggestions of this name come from another search space."""
    from sparsweep.tuner.state import sweep_record
    from sparsweep.tuner.state.suggestions import num_suggestions

    made = num_suggestions(sweep.name, store) if sweep.search else 0
    before = sweep_record.load_sweep(sweep.name, store, []) if made else None
    if sweep.search is None or before is None or before.search is None:
        return
    more_or_less = {"trials": sweep.search.trials}
    if before.base != sweep.base or before.search.model_copy(update=more_or_less) != sweep.search:
        raise UsageError(
            f"{sweep.name}: search: {made} stored suggestions come from another space, base or sampler. "
            f"Choose another name (--set name=OTHER), or remove {store.uri(f'sweeps/{sweep.name}/suggestions')}."
        )


def is_searching(sweep: Sweep, store: Store) -> bool:
    """Return whether ``sweep`` is a search with suggestions left to draw."""
    from sparsweep.tuner.state.suggestions import num_suggestions

    return sweep.search is not None and num_suggestions(sweep.name, store) < sweep.search.trials


def run_unless_idle(options: RunOptions, state: SweepState, images: dict[str, ImageData], idle: bool) -> None:
    """Acquire the sweep's lease, record the sweep and, unless ``idle``, run all ready runs."""
    from sparsweep.tuner.planning.trials import current_trials
    from sparsweep.tuner.state import sweep_record
    from sparsweep.tuner.state.driver_lease import Lease, SweepAlreadyRunning

    sweep, store = options.sweep, options.store
    try:
        lease = Lease(sweep.name, store, exit_when_stopped).acquire(options.take_over)
    except SweepAlreadyRunning as error:
        raise UsageError(f"{error}. Wait for its end, stop it, or take over with --take-over.") from None
    with lease:
        sweep_record.save_sweep(sweep, store)
        store.write_membership(sweep.name, current_trials(sweep, store))
        try:
            if not idle:
                execute_sweep(options, state, images, lease)
        finally:
            # A search or adaptive seeds may have added trials. A second error must not hide the first one.
            with suppress(OSError):
                store.write_membership(sweep.name, current_trials(sweep, store))


def exit_when_stopped(why: str) -> None:
    """Print ``why`` and send SIGTERM to this process, so that Tune stops in order."""
    print_message(why)
    os.kill(os.getpid(), signal.SIGTERM)


def execute_sweep(options: RunOptions, state: SweepState, images: dict[str, ImageData], lease: Lease) -> None:
    """Run all ready runs with Tune. Exit with 128 + signal number after a signal."""
    sweep, store = options.sweep, options.store
    expected = _print_start(sweep, store, state)
    prepare(options.address)
    from sparsweep.tuner.config.grid import SweepError
    from sparsweep.tuner.execution.driver import execute
    from sparsweep.tuner.execution.progress import ProgressCallback
    from sparsweep.tuner.execution.signals import Stopped
    from sparsweep.tuner.execution.trackers import make_tracker

    followers = [make_tracker(name, sweep.name, state.graph.runs, store) for name in options.trackers]
    progress = ProgressCallback(sweep.name, state, store, expected, lease, options.echo)

    def lost(what: str) -> None:
        """Print the resume command and exit like :func:`~sparsweep.tuner.execution.lifeline.leave`."""
        progress.__exit__()
        lease.release()
        print_message(f"sparsweep: lost Ray's {what}. Finished runs are kept. Continue: {options.resume_command}")
        os._exit(2)

    try:
        with progress:
            execute(options, state, images, progress, followers, lost)
    except (Stopped, KeyboardInterrupt) as error:
        signum = getattr(error, "signum", 2)
        if not lease.is_lost:
            print_message(f"stopped. Finished runs are kept. Continue: {options.resume_command}")
        raise typer.Exit(128 + signum) from None
    except ConnectionError as error:
        raise UsageError(f"--address {options.address}: {error}") from None
    except SweepError as error:
        raise UsageError(f"{sweep.name}: {error}") from None


def _print_start(sweep: Sweep, store: Store, state: SweepState) -> int | None:
    """Print the number of runs to do. Return the expected total number of runs of a search, None for grids."""
    if sweep.search is None:
        done, total = len(state.graph.runs) - len(state.todo), len(state.graph.runs)
        print_message(f"{sweep.name}: {len(state.ready)} runs to do, {done} of {total} already finished")
        return None
    from sparsweep.tuner.state.suggestions import num_suggestions

    drawn = num_suggestions(sweep.name, store)
    print_message(f"{sweep.name}: {sweep.search.trials} suggestions, {drawn} already drawn")
    return len(state.ready) + sweep.search.trials - drawn


def print_summary(sweep: Sweep, store: Store, remarks: Remarks) -> None:
    """Print the sweep's status, the remarks and the best suggestions. Exit with 1 if trials are missing."""
    from sparsweep.tuner.cli.status_view import format_status
    from sparsweep.tuner.planning.status import sweep_status

    outcome = sweep_status(sweep, store)
    best = []
    if sweep.search:
        from sparsweep.tuner.search.study import OptunaStudy

        best = OptunaStudy(sweep, store).format_best()
    location = f"results: {store.uri('results/trials')}"
    print_result("\n".join([*format_status(outcome), *remarks(sweep, store), *best, location]))
    if outcome["done"] < outcome["trials"]:
        raise typer.Exit(1)
