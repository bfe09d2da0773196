"""Driver of a sweep: runs all missing runs with Ray Tune and monitors them."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import schedulers

from sparsweep.trainables import plugins
from sparsweep.trainables.data import ImageData
from sparsweep.trainables.specs.run import to_json
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.trainable import SparseTrainable
from sparsweep.tuner.config.grid import SweepError
from sparsweep.tuner.config.resources import Resources
from sparsweep.tuner.config.sweep import Sweep
from sparsweep.tuner.execution import tune_adapter
from sparsweep.tuner.execution.lifeline import Lost, leave
from sparsweep.tuner.execution.oom import GpuOutOfMemoryMonitor, remaining_state
from sparsweep.tuner.execution.progress import ProgressCallback
from sparsweep.tuner.execution.queue import RunQueue
from sparsweep.tuner.execution.ray_cluster import cluster, lifeline
from sparsweep.tuner.execution.run_options import RunOptions
from sparsweep.tuner.execution.scratch import temporary_folder
from sparsweep.tuner.execution.search import GraphSearch
from sparsweep.tuner.execution.signals import Stopped, stop_signals
from sparsweep.tuner.execution.timeout import EpochTimeout, FailFast
from sparsweep.tuner.hardware.gpu_sharing import gpu_fraction, larger_fraction
from sparsweep.tuner.hardware.throughput import measure_gpu_sharing
from sparsweep.tuner.planning.graph import SweepState
from sparsweep.tuner.planning.schedule import scheduling_key

MAX_PENDING_PER_SLOT = 2
"""Maximum number of pending Tune trials per slot: enough to keep slots busy, few enough to react to late results."""
MIN_PENDING = {"local": 4, "cluster": 64}
"""Minimum number of pending Tune trials. A cluster adds nodes for pending trials, before it has slots."""


def execute(
    options: RunOptions,
    state: SweepState,
    images: dict[str, ImageData],
    progress: ProgressCallback,
    followers: Sequence[tune.Callback] = (),
    lost: Lost = leave,
) -> None:
    """Run all runs in ``state.ready``. Return when no run is left that can start.

    Args:
        options: The sweep and its run options.
        state: State of the sweep.
        images: Images by the JSON of their data set. Moved from this dict to Ray's object store.
        progress: Callback that logs progress and writes heartbeats.
        followers: More Tune callbacks (trackers).
        lost: Function that ends the process if Ray is lost.

    Raises:
        Stopped: A signal was received.
        SweepError: The resources of a trial never fit.
        ConnectionError: Ray is unreachable.
    """
    tune_adapter.set_environment()
    with stop_signals(), temporary_folder() as folder, contextlib.ExitStack() as stack:
        stack.enter_context(cluster(options.address, folder))
        stack.enter_context(lifeline(options.address).watched(lost))
        received = stack.enter_context(stop_signals())  # again: ray.init replaced the handlers
        datasets = {key: ray.put(images.pop(key)) for key in list(images)}
        shape: dict[str, float] | None = trial_resources(
            options.sweep.resources, state, options.store, progress.log_line
        )
        while shape is not None and not received and not (options.fail_fast and progress.failed):
            out_of_memory = run_attempt(options, state, datasets, shape, progress, followers, folder)
            shape = increase_gpu_share(shape) if out_of_memory else None
            progress.failed -= out_of_memory
            state = remaining_state(state, progress.failed, options.store) if shape else state
    if received:
        raise Stopped(received[0])


def run_attempt(
    options: RunOptions,
    state: SweepState,
    datasets: Mapping[str, ray.ObjectRef],
    shape: dict[str, float],
    progress: ProgressCallback,
    followers: Sequence[tune.Callback],
    folder: Path,
) -> set[str]:
    """Run all ready runs with the same resources.

    The arguments are those of :func:`execute`, and three more. ``datasets`` are the images in Ray's object store.
    ``shape`` are the resources of one trial (``cpu``, optionally ``gpu``). ``folder`` is the driver's temporary folder.

    Returns:
        Ids of runs that ran out of GPU memory.

    Raises:
        SweepError: A trial needs more resources than this node has.
    """
    local = options.address == "local"
    if local and num_slots(shape) == 0:  # only clusters can add nodes
        have = {name.lower(): amount for name, amount in ray.cluster_resources().items() if name in ("CPU", "GPU")}
        raise SweepError(f"resources: a trial needs more than this node has (got {shape}, node: {have}). Reduce them.")
    limit = num_slots(shape) if local else None
    algorithm, stopping = make_search(options.sweep, state, options.store, num_slots(shape), limit)
    oom_monitor = GpuOutOfMemoryMonitor(algorithm)
    callbacks = [
        progress,
        *followers,
        *([oom_monitor] if increase_gpu_share(shape) else []),
        *([FailFast()] if options.fail_fast else []),
    ]
    min_pending = MIN_PENDING["local" if local else "cluster"]
    tune_adapter.limit_pending_trials(max(min_pending, MAX_PENDING_PER_SLOT * num_slots(shape)))
    run_tune(make_trainable(options, state, datasets, shape), algorithm, stopping, options.sweep, callbacks, folder)
    return oom_monitor.runs


def run_tune(
    trainable: Any,
    algorithm: GraphSearch,
    stopping: schedulers.TrialScheduler,
    sweep: Sweep,
    callbacks: Sequence[tune.Callback],
    folder: Path,
) -> None:
    """Run Tune until ``algorithm`` is finished.

    Tune's own files go to the driver's temporary folder, not to the storage. Nothing restores from them, no worker
    needs them, and pickles are unsafe in a storage that other users can write.

    Args:
        trainable: The trainable with its resources.
        algorithm: Searcher that supplies the runs.
        stopping: Tune scheduler for early stopping.
        sweep: The sweep.
        callbacks: Tune callbacks.
        folder: Temporary folder of the driver.
    """
    timeout = sweep.resources.trial_timeout
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(search_alg=algorithm, scheduler=stopping, reuse_actors=True),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=tempfile.mkdtemp(prefix="tune-", dir=folder),
            failure_config=tune.FailureConfig(max_failures=sweep.retries),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[*callbacks, *([] if timeout is None else [EpochTimeout(timeout)])],
            verbose=0,
        ),
    )
    tuner.fit()


def make_search(
    sweep: Sweep, state: SweepState, store: Store, parallel: int, limit: int | None
) -> tuple[GraphSearch, schedulers.TrialScheduler]:
    """Return the searcher and the scheduler for a sweep.

    Args:
        sweep: The sweep.
        state: State of the sweep.
        store: The storage.
        parallel: Number of trials that run at once, for searches.
        limit: Maximum number of runs in flight, None for no limit.
    """
    queue = RunQueue(state.graph, state.ready, scheduling_key(sweep, state.graph, state.ready))
    if sweep.seeds is not None:
        from sparsweep.tuner.execution.seed_search import AdaptiveSeedSearch
        from sparsweep.tuner.search.adaptive_seeds import load_plan

        return AdaptiveSeedSearch(queue, load_plan(sweep, store), store, limit), tune_adapter.SubmissionOrderScheduler()
    if sweep.search is None:
        return GraphSearch(queue, limit), tune_adapter.SubmissionOrderScheduler()
    from sparsweep.tuner.execution.optuna_search import OptunaSearch, scheduler  # slow import: about 1 s
    from sparsweep.tuner.search.study import OptunaStudy

    study = OptunaStudy(sweep, store)
    return OptunaSearch(queue, study, store, max(1, parallel)), scheduler(sweep.search, study)


def make_trainable(
    options: RunOptions, state: SweepState, datasets: Mapping[str, ray.ObjectRef], shape: dict[str, float]
) -> Any:
    """Return the trainable with its shared parameters and resources.

    Specs and images stay in Ray's object store, with one copy per node.

    Args:
        options: The sweep and its run options.
        state: State of the sweep.
        datasets: Images in Ray's object store by the JSON of their data set.
        shape: Resources of one trial.
    """
    sweep = options.sweep
    specs = {run: state.graph.runs[run] for run in state.ready}
    shared = tune.with_parameters(
        SparseTrainable,
        specs={run: to_json(spec) for run, spec in specs.items()},
        datasets=datasets,
        store=options.store,
        sweep=sweep.name,
        threads=sweep.resources.cpus,
        device="cuda" if "gpu" in shape else "cpu",
        modules=plugins.requested_modules(),
        folder=os.getcwd(),
        profile=options.profile,
        engine=sweep.resources.execution,
    )
    return tune.with_resources(shared, shape)


def trial_resources(
    resources: Resources, state: SweepState, store: Store, say: Callable[[str, bool], None]
) -> dict[str, float]:
    """Return the resources of one trial in Ray's terms. ``gpus: auto`` is benchmarked if the cluster has a GPU.

    Args:
        resources: Resources in the sweep file.
        state: State of the sweep.
        store: The storage, which keeps the measurement.
        say: Logs a message; its second argument also prints the message.

    Raises:
        SweepError: ``gpus: auto`` and the cluster has no node yet.
    """
    gpus = resources.gpus
    if gpus == "auto":
        have = ray.cluster_resources()
        if not have.get("GPU") and not have.get("CPU"):
            raise SweepError(
                "resources.gpus: 'auto' needs a running node, none found. Set it, e.g. --set resources.gpus=1"
            )
        gpus = 0.0
        trained = [state.graph.runs[run] for run in state.ready if state.graph.runs[run].trained_trial]
        if have.get("GPU"):
            engine = resources.execution
            gpus = (
                gpu_fraction(measure_gpu_sharing(trained, engine, store, lambda text: say(text, True)))
                if trained
                else 1.0
            )
    return {"cpu": float(resources.cpus), **({"gpu": gpus} if gpus else {})}


def increase_gpu_share(shape: dict[str, float]) -> dict[str, float] | None:
    """Return ``shape`` with the next larger GPU fraction, or None without a GPU or with a full GPU."""
    fraction = larger_fraction(shape["gpu"]) if "gpu" in shape else None
    return None if fraction is None else {**shape, "gpu": fraction}


def num_slots(shape: dict[str, float]) -> int:
    """Return the number of trials that the current cluster can run at once."""
    total = ray.cluster_resources()
    return int(min(total.get(name.upper(), 0) // amount for name, amount in shape.items()))
