"""A sweep run from the command: what is said on the way, and what is said and returned at its end."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tuner.opening import DEFAULT_STORAGE, WrongCall

if TYPE_CHECKING:
    from trainables.data import ImageData
    from trainables.store import Store
    from tuner.graph import State
    from tuner.sweep import Sweep


def tell(text: str) -> None:
    """Say something of the course of things; results alone go to standard output."""
    print(text, file=sys.stderr, flush=True)


def run_sweep(sweep: Sweep, store: Store, address: str, data: str | None, retry: bool) -> None:
    """Run what is ready, say what came of it, and exit."""
    try:
        store.check_writable()
    except OSError as error:
        raise WrongCall(f"--storage {store.storage}: cannot be written: {error}") from None
    from tuner import journal
    from tuner.graph import build, examine
    from tuner.images import read_images
    from tuner.suggestions import points

    state = examine(build(points(sweep, store)), store)
    if retry:
        state = state.retried()
    elif state.failed:
        tell(f"{len(state.failed)} failed before and are left out: sparsweep resume {sweep.name} retries them")
    to_suggest = sweep.search is not None and len(state.graph.points) < sweep.search.trials
    images = read_images(state, sweep.sources if to_suggest else [], data)
    try:
        journal.claim(sweep.name, store)
    except journal.Busy as error:
        raise WrongCall(str(error)) from None
    try:
        journal.remember(sweep, store)
        if state.ready or to_suggest:
            train(sweep, state, images, store, address)
    finally:
        journal.end_heartbeat(sweep.name, store)
    conclude(sweep, store)


def train(sweep: Sweep, state: State, images: dict[str, ImageData], store: Store, address: str) -> None:
    """Hand what is ready to Tune; exit 130 or 143 if a signal ends it."""
    done, total = len(state.graph.runs) - len(state.todo), len(state.graph.runs)
    expected = None
    if sweep.search:
        expected = len(state.ready) + sweep.search.trials - len(state.graph.points)
        tell(f"{sweep.name}: {sweep.search.trials} suggestions, {len(state.graph.points)} of them made before")
    else:
        tell(f"{sweep.name}: {len(state.ready)} runs to do, {done} of {total} done before")
    from tuner.execute import Stopped, execute
    from tuner.sweep import SweepError
    from tuner.watch import Watch

    try:
        with Watch(sweep.name, state, store, expected) as watch:
            execute(sweep, state, images, store, address, watch)
    except (Stopped, KeyboardInterrupt) as error:
        signum = getattr(error, "signum", 2)
        where = "" if store.storage == DEFAULT_STORAGE else f" --storage {store.storage}"
        tell(f"stopped; what is finished is kept. Go on with: sparsweep resume {sweep.name}{where}")
        sys.exit(128 + signum)
    except ConnectionError as error:
        raise WrongCall(f"--address {address}: {error}") from None
    except SweepError as error:
        raise WrongCall(f"{sweep.name}: {error}") from None


def conclude(sweep: Sweep, store: Store) -> None:
    """Say how the sweep stands and exit with 1 if it is not whole."""
    from tuner.status import lines, report

    outcome = report(sweep, store)
    found = []
    if sweep.search:
        from tuner.study import Study

        found = Study(sweep, store).words()
    print("\n".join([*lines(outcome), *found, f"results: {store.address('results/trials')}"]))
    if outcome["done"] < outcome["trials"]:
        sys.exit(1)


def calibrate_sweep(sweep: Sweep, store: Store) -> None:
    """Measure each kind of training in a sweep on this machine, and say each as it is known."""
    from tuner.calibrate import line, measure
    from tuner.graph import build
    from tuner.suggestions import points

    for found in measure(build(points(sweep, store)).runs.values(), store, sweep.resources.cpus):
        print(line(found), flush=True)
