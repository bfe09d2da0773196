"""A sweep run from the command: what is said on the way, and what is said and returned at its end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import typer

from sparsweep.tuner.cli.session import only_one
from sparsweep.tuner.errors import WrongCall
from sparsweep.tuner.execution.ray_environment import prepare
from sparsweep.tuner.execution.run_options import Launch
from sparsweep.tuner.terminal import say, tell

if TYPE_CHECKING:
    from sparsweep.trainables.data import ImageData
    from sparsweep.trainables.storage.store import Store
    from sparsweep.tuner.config.sweep import Sweep
    from sparsweep.tuner.planning.graph import State
    from sparsweep.tuner.state.driver_lease import Lease

Remarks: TypeAlias = "Callable[[Sweep, Store], list[str]]"
"""What analysis says of the results of a sweep."""


def run_sweep(launch: Launch, data: str | None, remarks: Remarks, retry: bool) -> None:
    """Run what is ready, say what came of it, and exit.

    ``data``: where data sets lie; ``remarks``: what is said of the results at the end; ``retry``: what failed before is
    run too; ``launch.profile`` may be the beginning of a run's id.
    """
    sweep, store = launch.sweep, launch.store
    check_writable(store)
    refuse_another_search(sweep, store)
    from sparsweep.tuner.cli.datasets import read_images
    from sparsweep.tuner.planning.graph import build, examine
    from sparsweep.tuner.planning.repair import remove_damaged_results
    from sparsweep.tuner.planning.trials import points

    graph = build(points(sweep, store))
    if retry and (damaged := remove_damaged_results(graph.runs, store)):
        tell(f"{len(damaged)} damaged results were removed, to be made again: {', '.join(damaged)}")
    state = examine(graph, store)
    if retry:
        state = state.retried()
    elif state.failed:
        tell(f"{len(state.failed)} failed before and are left out: {launch.again} retries them")
    to_suggest = is_searching(sweep, store)
    images = read_images(state, sweep.sources if to_suggest else [], data)
    if launch.profile is not None:
        launch = replace(launch, profile=only_one(launch.profile, state.ready, "run to do", store.storage))
    drive(launch, state, images, idle=not (state.ready or to_suggest))
    if launch.profile is not None:
        tell((store.read(f"profiles/{launch.profile}/summary.txt") or b"").decode())
        tell(f"the trace: {store.address(f'profiles/{launch.profile}/trace.json')}")
    conclude(sweep, store, remarks)


def take_back(sweep: Sweep, store: Store, what: str) -> list[str]:
    """Forget those finished runs of ``sweep`` that ``--rerun`` wants made again. Return what is to be said of it."""
    check_writable(store)
    from sparsweep.tuner.planning.forgetting import forget, runs_to_rerun
    from sparsweep.tuner.planning.graph import build
    from sparsweep.tuner.planning.trials import points
    from sparsweep.tuner.state.driver_lease import SweepAlreadyRunning, refuse_if_driven

    try:
        refuse_if_driven(sweep.name, store)
    except SweepAlreadyRunning as error:
        raise WrongCall(f"{error}: wait until it has ended") from None
    runs = runs_to_rerun(what, build(points(sweep, store)), store)
    forget(runs, store)
    return [f"{sweep.name}: {len(runs)} runs were forgotten, to be made again"]


def remake_artifacts(launch: Launch, data: str | None, what: str) -> None:
    """Make lost weights or scores of a sweep again, print how many, and exit. Results stay as they are.

    Args:
        launch: The sweep and where it runs.
        data: Where data sets lie, None for the default.
        what: ``weights`` (of all finished trials), ``scores``, or the beginning of a run's id.
    """
    sweep, store = launch.sweep, launch.store
    check_writable(store)
    if is_searching(sweep, store):
        raise WrongCall(f"--remake {what}: the search of {sweep.name} has not ended. Resume it without --remake first.")
    from sparsweep.tuner.cli.datasets import read_images
    from sparsweep.tuner.planning.graph import build, examine_artifacts
    from sparsweep.tuner.planning.remaking import runs_to_remake
    from sparsweep.tuner.planning.trials import points

    graph = build(points(sweep, store))
    if what in ("weights", "scores"):
        runs = runs_to_remake(what, graph, store)
    else:
        runs = [only_one(what, graph.runs, "run of this sweep", store.storage)]
    lost = examine_artifacts(graph, runs, store).retried()
    drive(launch, lost, read_images(lost, [], data), idle=not lost.ready)
    still_lost = examine_artifacts(graph, runs, store).todo
    say(f"{sweep.name}: {len(lost.todo - still_lost)} runs made again, {len(still_lost)} still missing")
    if still_lost:
        raise typer.Exit(1)


def check_writable(store: Store) -> None:
    """Raise WrongCall if nothing can be written to ``store``."""
    try:
        store.check_writable()
    except OSError as error:
        raise WrongCall(f"--storage {store.storage}: cannot be written: {error}") from None


def refuse_another_search(sweep: Sweep, store: Store) -> None:
    """Raise WrongCall if a search of this name has drawn suggestions from another space."""
    from sparsweep.tuner.state import sweep_record
    from sparsweep.tuner.state.suggestions import count

    made = count(sweep.name, store) if sweep.search else 0
    before = sweep_record.recall(sweep.name, store, []) if made else None
    if sweep.search is None or before is None or before.search is None:
        return
    more_or_less = {"trials": sweep.search.trials}
    if before.base != sweep.base or before.search.model_copy(update=more_or_less) != sweep.search:
        raise WrongCall(
            f"{sweep.name}: search: {made} suggestions were drawn from another space, base or sampler. Give this one "
            f"another name (--set name=OTHER), or remove {store.address(f'sweeps/{sweep.name}/suggestions')}."
        )


def is_searching(sweep: Sweep, store: Store) -> bool:
    """Return whether ``sweep`` is a search that has suggestions left to make."""
    from sparsweep.tuner.state.suggestions import count

    return sweep.search is not None and count(sweep.name, store) < sweep.search.trials


def drive(launch: Launch, state: State, images: dict[str, ImageData], idle: bool) -> None:
    """Run what is ready as the one driver of the sweep, which is recorded even if it is ``idle``."""
    from sparsweep.tuner.planning.trials import points
    from sparsweep.tuner.state import sweep_record
    from sparsweep.tuner.state.driver_lease import Lease, SweepAlreadyRunning

    sweep, store = launch.sweep, launch.store
    try:
        lease = Lease(sweep.name, store, end_in_order).take(launch.take_over)
    except SweepAlreadyRunning as error:
        raise WrongCall(f"{error}. Wait until it has ended, stop it, or give --take-over to end it.") from None
    with lease:
        sweep_record.remember(sweep, store)
        store.write_membership(sweep.name, points(sweep, store))
        try:
            if not idle:
                train(launch, state, images, lease)
        finally:
            with suppress(OSError):  # what ended the run must not be hidden by a second failure
                store.write_membership(sweep.name, points(sweep, store))  # a search or growing seeds have added some


def end_in_order(why: str) -> None:
    """Say ``why`` and end this process as a signal would: Tune stops in order."""
    tell(why)
    os.kill(os.getpid(), signal.SIGTERM)


def train(launch: Launch, state: State, images: dict[str, ImageData], lease: Lease) -> None:
    """Hand what is ready to Tune; exit 130 or 143 if a signal ends it."""
    sweep, store = launch.sweep, launch.store
    done, total = len(state.graph.runs) - len(state.todo), len(state.graph.runs)
    expected = None
    if sweep.search:
        from sparsweep.tuner.state.suggestions import count

        made = count(sweep.name, store)
        expected = len(state.ready) + sweep.search.trials - made
        tell(f"{sweep.name}: {sweep.search.trials} suggestions, {made} of them made before")
    else:
        tell(f"{sweep.name}: {len(state.ready)} runs to do, {done} of {total} done before")
    prepare(launch.address)
    from sparsweep.tuner.config.grid import SweepError
    from sparsweep.tuner.execution.driver import Stopped, execute
    from sparsweep.tuner.execution.progress import Watch
    from sparsweep.tuner.execution.trackers import tracking

    followers = [tracking(name, sweep.name, state.graph.runs, store) for name in launch.trackers]
    watch = Watch(sweep.name, state, store, expected, lease)

    def lost(what: str) -> None:
        """End the process as :func:`tuner.execution.lifeline.leave` does, and say how to go on."""
        watch.__exit__()
        lease.release()
        tell(f"sparsweep: Ray's {what} was lost; what is finished is kept. Go on with: {launch.again}")
        os._exit(2)

    try:
        with watch:
            execute(launch, state, images, watch, followers, lost)
    except (Stopped, KeyboardInterrupt) as error:
        signum = getattr(error, "signum", 2)
        if not lease.is_lost:
            tell(f"stopped; what is finished is kept. Go on with: {launch.again}")
        raise typer.Exit(128 + signum) from None
    except ConnectionError as error:
        raise WrongCall(f"--address {launch.address}: {error}") from None
    except SweepError as error:
        raise WrongCall(f"{sweep.name}: {error}") from None


def conclude(sweep: Sweep, store: Store, remarks: Remarks) -> None:
    """Say how the sweep stands and exit with 1 if it is not whole."""
    from sparsweep.tuner.cli.status_view import lines
    from sparsweep.tuner.planning.status import report

    outcome = report(sweep, store)
    found = []
    if sweep.search:
        from sparsweep.tuner.search.study import Study

        found = Study(sweep, store).words()
    say("\n".join([*lines(outcome), *remarks(sweep, store), *found, f"results: {store.address('results/trials')}"]))
    if outcome["done"] < outcome["trials"]:
        raise typer.Exit(1)
