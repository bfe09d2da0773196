"""A sweep run from the command: what is said on the way, and what is said and returned at its end."""

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
"""What analysis says of the results of a sweep."""


def run_sweep(launch: RunOptions, data: str | None, remarks: Remarks, retry: bool) -> None:
    """Run what is ready, say what came of it, and exit.

    ``data``: where data sets lie; ``remarks``: what is said of the results at the end; ``retry``: what failed before is
    run too; ``launch.profile`` may be the beginning of a run's id.
    """
    sweep, store = launch.sweep, launch.store
    check_writable(store)
    refuse_another_search(sweep, store)
    from sparsweep.tuner.cli.datasets import read_images
    from sparsweep.tuner.planning.graph import build_graph, compute_state
    from sparsweep.tuner.planning.repair import remove_damaged_results
    from sparsweep.tuner.planning.trials import current_trials

    graph = build_graph(current_trials(sweep, store))
    if retry and (damaged := remove_damaged_results(graph.runs, store)):
        print_message(f"{len(damaged)} damaged results were removed, to be made again: {', '.join(damaged)}")
    state = compute_state(graph, store)
    if retry:
        state = state.retried()
    elif state.failed:
        print_message(f"{len(state.failed)} failed before and are left out: {launch.resume_command} retries them")
    to_suggest = is_searching(sweep, store)
    images = read_images(state, sweep.candidate_datasets if to_suggest else [], data)
    if launch.profile is not None:
        launch = replace(launch, profile=resolve_id_prefix(launch.profile, state.ready, "run to do", store.storage))
    run_unless_idle(launch, state, images, idle=not (state.ready or to_suggest))
    if launch.profile is not None:
        print_message((store.read(f"profiles/{launch.profile}/summary.txt") or b"").decode())
        print_message(f"the trace: {store.uri(f'profiles/{launch.profile}/trace.json')}")
    print_summary(sweep, store, remarks)


def forget_for_rerun(sweep: Sweep, store: Store, what: str) -> list[str]:
    """Forget those finished runs of ``sweep`` that ``--rerun`` wants made again. Return what is to be said of it."""
    check_writable(store)
    from sparsweep.tuner.planning.forgetting import forget, runs_to_rerun
    from sparsweep.tuner.planning.graph import build_graph
    from sparsweep.tuner.planning.trials import current_trials
    from sparsweep.tuner.state.driver_lease import SweepAlreadyRunning, refuse_if_driven

    try:
        refuse_if_driven(sweep.name, store)
    except SweepAlreadyRunning as error:
        raise UsageError(f"{error}: wait until it has ended") from None
    runs = runs_to_rerun(what, build_graph(current_trials(sweep, store)), store)
    forget(runs, store)
    return [f"{sweep.name}: {len(runs)} runs were forgotten, to be made again"]


def remake_artifacts(launch: RunOptions, data: str | None, what: str) -> None:
    """Make lost weights or scores of a sweep again, print how many, and exit. Results stay as they are.

    Args:
        launch: The sweep and where it runs.
        data: Where data sets lie, None for the default.
        what: ``weights`` (of all finished trials), ``scores``, or the beginning of a run's id.
    """
    sweep, store = launch.sweep, launch.store
    check_writable(store)
    if is_searching(sweep, store):
        raise UsageError(
            f"--remake {what}: the search of {sweep.name} has not ended. Resume it without --remake first."
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
    run_unless_idle(launch, lost, read_images(lost, [], data), idle=not lost.ready)
    still_lost = compute_artifact_state(graph, runs, store).todo
    print_result(f"{sweep.name}: {len(lost.todo - still_lost)} runs made again, {len(still_lost)} still missing")
    if still_lost:
        raise typer.Exit(1)


def check_writable(store: Store) -> None:
    """Raise WrongCall if nothing can be written to ``store``."""
    try:
        store.check_writable()
    except OSError as error:
        raise UsageError(f"--storage {store.storage}: cannot be written: {error}") from None


def refuse_another_search(sweep: Sweep, store: Store) -> None:
    """Raise WrongCall if a search of this name has drawn suggestions from another space."""
    from sparsweep.tuner.state import sweep_record
    from sparsweep.tuner.state.suggestions import num_suggestions

    made = num_suggestions(sweep.name, store) if sweep.search else 0
    before = sweep_record.load_sweep(sweep.name, store, []) if made else None
    if sweep.search is None or before is None or before.search is None:
        return
    more_or_less = {"trials": sweep.search.trials}
    if before.base != sweep.base or before.search.model_copy(update=more_or_less) != sweep.search:
        raise UsageError(
            f"{sweep.name}: search: {made} suggestions were drawn from another space, base or sampler. Give this one "
            f"another name (--set name=OTHER), or remove {store.uri(f'sweeps/{sweep.name}/suggestions')}."
        )


def is_searching(sweep: Sweep, store: Store) -> bool:
    """Return whether ``sweep`` is a search that has suggestions left to make."""
    from sparsweep.tuner.state.suggestions import num_suggestions

    return sweep.search is not None and num_suggestions(sweep.name, store) < sweep.search.trials


def run_unless_idle(launch: RunOptions, state: SweepState, images: dict[str, ImageData], idle: bool) -> None:
    """Run what is ready as the one driver of the sweep, which is recorded even if it is ``idle``."""
    from sparsweep.tuner.planning.trials import current_trials
    from sparsweep.tuner.state import sweep_record
    from sparsweep.tuner.state.driver_lease import Lease, SweepAlreadyRunning

    sweep, store = launch.sweep, launch.store
    try:
        lease = Lease(sweep.name, store, exit_when_stopped).acquire(launch.take_over)
    except SweepAlreadyRunning as error:
        raise UsageError(f"{error}. Wait until it has ended, stop it, or give --take-over to end it.") from None
    with lease:
        sweep_record.save_sweep(sweep, store)
        store.write_membership(sweep.name, current_trials(sweep, store))
        try:
            if not idle:
                execute_sweep(launch, state, images, lease)
        finally:
            with suppress(OSError):  # what ended the run must not be hidden by a second failure
                store.write_membership(
                    sweep.name, current_trials(sweep, store)
                )  # a search or growing seeds have added some


def exit_when_stopped(why: str) -> None:
    """Say ``why`` and end this process as a signal would: Tune stops in order."""
    print_message(why)
    os.kill(os.getpid(), signal.SIGTERM)


def execute_sweep(launch: RunOptions, state: SweepState, images: dict[str, ImageData], lease: Lease) -> None:
    """Hand what is ready to Tune; exit 130 or 143 if a signal ends it."""
    sweep, store = launch.sweep, launch.store
    done, total = len(state.graph.runs) - len(state.todo), len(state.graph.runs)
    expected = None
    if sweep.search:
        from sparsweep.tuner.state.suggestions import num_suggestions

        made = num_suggestions(sweep.name, store)
        expected = len(state.ready) + sweep.search.trials - made
        print_message(f"{sweep.name}: {sweep.search.trials} suggestions, {made} of them made before")
    else:
        print_message(f"{sweep.name}: {len(state.ready)} runs to do, {done} of {total} done before")
    prepare(launch.address)
    from sparsweep.tuner.config.grid import SweepError
    from sparsweep.tuner.execution.driver import Stopped, execute
    from sparsweep.tuner.execution.progress import ProgressCallback
    from sparsweep.tuner.execution.trackers import make_tracker

    followers = [make_tracker(name, sweep.name, state.graph.runs, store) for name in launch.trackers]
    watch = ProgressCallback(sweep.name, state, store, expected, lease)

    def lost(what: str) -> None:
        """End the process as :func:`tuner.execution.lifeline.leave` does, and say how to go on."""
        watch.__exit__()
        lease.release()
        print_message(
            f"sparsweep: Ray's {what} was lost; what is finished is kept. Go on with: {launch.resume_command}"
        )
        os._exit(2)

    try:
        with watch:
            execute(launch, state, images, watch, followers, lost)
    except (Stopped, KeyboardInterrupt) as error:
        signum = getattr(error, "signum", 2)
        if not lease.is_lost:
            print_message(f"stopped; what is finished is kept. Go on with: {launch.resume_command}")
        raise typer.Exit(128 + signum) from None
    except ConnectionError as error:
        raise UsageError(f"--address {launch.address}: {error}") from None
    except SweepError as error:
        raise UsageError(f"{sweep.name}: {error}") from None


def print_summary(sweep: Sweep, store: Store, remarks: Remarks) -> None:
    """Say how the sweep stands and exit with 1 if it is not whole."""
    from sparsweep.tuner.cli.status_view import format_status
    from sparsweep.tuner.planning.status import sweep_status

    outcome = sweep_status(sweep, store)
    found = []
    if sweep.search:
        from sparsweep.tuner.search.study import OptunaStudy

        found = OptunaStudy(sweep, store).format_best()
    print_result(
        "\n".join([*format_status(outcome), *remarks(sweep, store), *found, f"results: {store.uri('results/trials')}"])
    )
    if outcome["done"] < outcome["trials"]:
        raise typer.Exit(1)
