"""Sweeps of trials that do nothing, run by this package and by Tune alone: the overhead of a trial.

Each function measures the current process, which must be a new one (``benchmarks/sweep.py`` starts it). It returns a
dictionary:

- ``seconds``: duration of the sweep without the start of Ray, which is ``start``;
- ``memory``: peak memory of the driver in MB;
- ``snapshots`` and ``snapshot_seconds``: number and total time of Tune's snapshots.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

POINTS = 100
"""Trials per seed."""
METHODS = ("random", "uniform", "set", "rigl", "snip", "gmp", "mest", "synflow", "lth", "omp", "omp_erk")
SWEEP = f"""
description: "Trials for a benchmark, in which they do nothing. LTH and OMP wait for dense ones."
base: {{dataset: digits, model: resnet8, recipe: {{preset: digits, epochs: 10}}, seed: {{from: 1, to: SEEDS, step: 1}}}}
grids:
  - sparsifier: dense
  - {{sparsifier: [{", ".join(METHODS)}], sparsity: {{from: 0.1, to: 0.9, step: 0.1}}}}
"""


def sweep_file(trials: int) -> str:
    """Return a sweep file with ``trials`` trials, a multiple of :data:`POINTS`."""
    return SWEEP.replace("SEEDS", str(trials // POINTS))


def memory() -> dict[str, float]:
    """Return ``memory``, the peak of this process in MB, and ``private``, its current anonymous memory in MB."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {"memory": int(status["VmHWM"].split()[0]) / 1024, "private": int(status["RssAnon"].split()[0]) / 1024}


@contextmanager
def timed(into: dict[str, Any], name: str) -> Iterator[None]:
    """Write the wall time to ``into[name]`` and the CPU time of this process to ``into["cpu_" + name]``."""
    start, cpu = time.perf_counter(), time.process_time()
    yield
    into[name], into[f"cpu_{name}"] = time.perf_counter() - start, time.process_time() - cpu


@contextmanager
def snapshots_of_tune(into: dict[str, Any]) -> Iterator[None]:
    """Count and time the snapshots that Tune takes inside the context."""
    from ray.tune.execution.tune_controller import TuneController

    save, into["snapshots"], into["snapshot_seconds"] = TuneController.save_to_dir, 0, 0.0

    def counted(controller: TuneController) -> None:
        start = time.perf_counter()
        save(controller)
        into["snapshots"] += 1
        into["snapshot_seconds"] += time.perf_counter() - start

    TuneController.save_to_dir = counted
    yield
    TuneController.save_to_dir = save


def ours(storage: str, trials: int) -> dict[str, Any]:
    """Run a sweep with the graph, search, progress callback and store of this package.

    Each trial writes a row of ``trials``.
    """
    import ray
    from ray import tune

    from sparsweep.trainables.storage import schemas
    from sparsweep.trainables.storage.store import Store
    from sparsweep.tuner.config.sweep import parse_sweep
    from sparsweep.tuner.execution import driver, ray_cluster, tune_adapter
    from sparsweep.tuner.execution.progress import ProgressCallback
    from sparsweep.tuner.execution.queue import RunQueue
    from sparsweep.tuner.execution.scratch import temporary_folder
    from sparsweep.tuner.execution.search import GraphSearch
    from sparsweep.tuner.execution.tune_adapter import SubmissionOrderScheduler
    from sparsweep.tuner.planning.graph import build_graph, compute_state
    from sparsweep.tuner.planning.schedule import scheduling_key
    from sparsweep.tuner.state import sweep_record

    class Nothing(tune.Trainable):
        def setup(self, config: dict[str, Any], store: Store, sweep: str, row: dict[str, Any]) -> None:
            self.store, self.row = store, {**row, "sweep": sweep}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

        def step(self) -> dict[str, Any]:
            row = {**self.row, "trial": self.config["run"], "finished_at": datetime.now(UTC)}
            self.store.write_result(self.config["run"], {"trials": [row]})
            return {"epoch": 10, "epochs": 10, "done": True}

    found: dict[str, Any] = {}
    tune_adapter.set_environment()
    with timed(found, "graph"):
        sweep, store = parse_sweep(sweep_file(trials), "noop"), Store(storage)
        sweep_record.save_sweep(sweep, store)
        state = compute_state(build_graph(sweep.trials), store)
    row = dict.fromkeys(schemas.SCHEMAS["trials"].names)
    start = time.perf_counter()
    with (
        ProgressCallback(sweep.name, state, store) as watch,
        temporary_folder() as folder,
        ray_cluster.cluster("local", folder),
    ):
        found["start"] = time.perf_counter() - start
        with timed(found, "seconds"), snapshots_of_tune(found):
            release = RunQueue(state.graph, state.ready, scheduling_key(sweep, state.graph, state.ready))
            trainable = tune.with_parameters(Nothing, store=store, sweep=sweep.name, row=row)
            slots = int(ray.cluster_resources()["CPU"])
            algorithm, nothing = GraphSearch(release, slots), tune.with_resources(trainable, {"cpu": 1})
            tune_adapter.limit_pending_trials(driver.MAX_PENDING_PER_SLOT * slots)
            driver.run_tune(nothing, algorithm, SubmissionOrderScheduler(), sweep, [watch], folder)
    assert store.finished() == set(sweep.trials)
    return {**found, **memory()}


def bare(storage: str, trials: int) -> dict[str, Any]:
    """Run Tune as an experienced user configures it: workers reused, no log files, no output, default snapshots."""
    import ray

    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    found: dict[str, Any] = {}
    with timed(found, "start"):
        ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    with timed(found, "seconds"), snapshots_of_tune(found):
        bare_tuner(storage, trials).fit()
    ray.shutdown()
    return {**found, **memory()}


def bare_again(storage: str, trials: int) -> dict[str, Any]:
    """Restore the finished sweep of :func:`bare` with Tune's own resume."""
    import ray
    from ray import tune

    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    found: dict[str, Any] = {}
    with timed(found, "seconds"):
        tune.Tuner.restore(f"{storage}/bare", bare_trainable()).fit()
    ray.shutdown()
    return {**found, **memory()}


def bare_trainable() -> Any:
    from ray import tune

    class Nothing(tune.Trainable):
        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

        def step(self) -> dict[str, Any]:
            return {"epoch": 10, "epochs": 10, "done": True}

    return Nothing


def bare_tuner(storage: str, trials: int) -> Any:
    from ray import tune

    return tune.Tuner(
        bare_trainable(),
        param_space={"run": tune.grid_search(list(range(trials)))},
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(
            name="bare",
            storage_path=storage,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )


def planned(storage: str, trials: int) -> dict[str, Any]:
    """Run ``plan``, ``status`` and the release of all runs on a sweep that has not started."""
    from sparsweep.trainables.storage.store import Store
    from sparsweep.tuner.config.sweep import parse_sweep
    from sparsweep.tuner.execution.queue import RunQueue
    from sparsweep.tuner.planning import status
    from sparsweep.tuner.planning.estimate import estimate
    from sparsweep.tuner.planning.graph import build_graph, compute_state
    from sparsweep.tuner.planning.schedule import scheduling_key
    from sparsweep.tuner.state import sweep_record

    found: dict[str, Any] = {}
    store = Store(storage)
    with timed(found, "read"):
        sweep = parse_sweep(sweep_file(trials), "noop")
    sweep_record.save_sweep(sweep, store)
    with timed(found, "plan"):
        estimate(sweep, store)
    with timed(found, "status"):
        status.sweep_status(sweep, store)
    with timed(found, "graph"):
        state = compute_state(build_graph(sweep.trials), store)
    with timed(found, "release"):
        release = RunQueue(state.graph, state.ready, scheduling_key(sweep, state.graph, state.ready))
        while (run := release.next()) is not None:
            release.finish(run)
    assert release.exhausted
    return {**found, **memory()}


MEASURES = {measure.__name__: measure for measure in (ours, bare, bare_again, planned)}
