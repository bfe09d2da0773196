"""Run and resume a sweep: what is missing in the store is handed to Tune, and watched until it is there."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from sparsweep.tuner.config.sweep import Resources, Sweep
from sparsweep.tuner.errors import short_message
from sparsweep.tuner.execution import tune_adapter
from sparsweep.tuner.execution.lifeline import Lifeline, Lost, leave
from sparsweep.tuner.execution.oom import GpuOutOfMemoryMonitor, remaining_state
from sparsweep.tuner.execution.progress import ProgressCallback
from sparsweep.tuner.execution.queue import RunQueue
from sparsweep.tuner.execution.run_options import RunOptions
from sparsweep.tuner.execution.scratch import temporary_folder
from sparsweep.tuner.execution.search import GraphSearch
from sparsweep.tuner.execution.timeout import EpochTimeout, FailFast
from sparsweep.tuner.hardware.gpu_sharing import gpu_fraction, larger_fraction
from sparsweep.tuner.hardware.throughput import measure_gpu_sharing
from sparsweep.tuner.planning.graph import SweepState
from sparsweep.tuner.planning.schedule import scheduling_key

REACH_SECONDS = 10.0
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MAX_PENDING_PER_SLOT = 2
"""Trials that Tune holds ready for each one that runs: enough that no slot waits, few enough for a late release."""
MIN_PENDING = {"local": 4, "cluster": 64}
"""A cluster grows by what waits, so there it must be seen before there are slots."""


class Stopped(Exception):
    """A signal stopped the sweep in an orderly way: what was finished is kept, the rest can be resumed."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


def execute(
    launch: RunOptions,
    state: SweepState,
    images: dict[str, ImageData],
    watch: ProgressCallback,
    followers: Sequence[tune.Callback] = (),
    lost: Lost = leave,
) -> None:
    """Run everything in ``state.ready``. Returns when nothing is left that could run; :class:`Stopped` on a signal.

    SweepError if no trial can ever be placed; ConnectionError if Ray does not start, or cannot be reached.

    ``images``: by their data set's JSON; taken out of it, for the object store holds them from then on; ``lost``: ends
    the process where Ray is lost on the way.
    """
    tune_adapter.set_environment()
    with contextlib.ExitStack() as stack:
        stack.enter_context(stop_signals())
        folder = stack.enter_context(temporary_folder())
        stack.enter_context(cluster(launch.address, folder))
        stack.enter_context(lifeline(launch.address).watched(lost))
        received = stack.enter_context(stop_signals())  # again, for ray.init has set a handler of its own
        datasets = {key: ray.put(images.pop(key)) for key in list(images)}
        shape: dict[str, float] | None = trial_resources(launch.sweep.resources, state, launch.store, watch.log_line)
        while shape is not None and not received and not (launch.fail_fast and watch.failed):
            crowd = run_attempt(launch, state, datasets, shape, watch, followers, folder)
            shape = increase_gpu_share(shape) if crowd else None
            watch.failed -= crowd
            state = remaining_state(state, watch.failed, launch.store) if shape else state
    if received:
        raise Stopped(received[0])


def run_attempt(
    launch: RunOptions,
    state: SweepState,
    datasets: Mapping[str, ray.ObjectRef],
    shape: dict[str, float],
    watch: ProgressCallback,
    followers: Sequence[tune.Callback],
    folder: Path,
) -> set[str]:
    """Run what is ready in trials of ``shape``; returns those for which a share of a GPU was too small."""
    local = launch.address == "local"
    if local and num_slots(shape) == 0:  # a cluster of several machines may grow; this one will not
        have = {name.lower(): amount for name, amount in ray.cluster_resources().items() if name in ("CPU", "GPU")}
        raise SweepError(f"resources: a trial needs {shape}, this machine has {have}: it would wait for ever")
    limit = num_slots(shape) if local else None
    algorithm, stopping = make_search(launch.sweep, state, launch.store, num_slots(shape), limit)
    crowd = GpuOutOfMemoryMonitor(algorithm)
    callbacks = [
        watch,
        *followers,
        *([crowd] if increase_gpu_share(shape) else []),
        *([FailFast()] if launch.fail_fast else []),
    ]
    waiting = MIN_PENDING["local" if local else "cluster"]
    tune_adapter.limit_pending_trials(max(waiting, MAX_PENDING_PER_SLOT * num_slots(shape)))
    run_tune(make_trainable(launch, state, datasets, shape), algorithm, stopping, launch.sweep, callbacks, folder)
    return crowd.runs


def run_tune(
    trainable: Any,
    algorithm: GraphSearch,
    stopping: schedulers.TrialScheduler,
    sweep: Sweep,
    callbacks: Sequence[tune.Callback],
    folder: Path,
) -> None:
    """Let Tune run what ``algorithm`` gives it.

    Tune's own files lie in the driver's temporary ``folder``: nothing is ever restored from them, no worker needs
    them, and what Tune pickles has no place in a storage that others can write.
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
    """What gives Tune its trials, at most ``limit`` at a time, and what may stop them early."""
    release = RunQueue(state.graph, state.ready, scheduling_key(sweep, state.graph, state.ready))
    if sweep.seeds is not None:
        from sparsweep.tuner.execution.seed_search import AdaptiveSeedSearch
        from sparsweep.tuner.search.adaptive_seeds import load_plan

        return AdaptiveSeedSearch(
            release, load_plan(sweep, store), store, limit
        ), tune_adapter.SubmissionOrderScheduler()
    if sweep.search is None:
        return GraphSearch(release, limit), tune_adapter.SubmissionOrderScheduler()
    from sparsweep.tuner.execution.optuna_search import OptunaSearch, scheduler  # Optuna takes a second to import
    from sparsweep.tuner.search.study import OptunaStudy

    study = OptunaStudy(sweep, store)
    return OptunaSearch(release, study, store, max(1, parallel)), scheduler(sweep.search, study)


def make_trainable(
    launch: RunOptions, state: SweepState, datasets: Mapping[str, ray.ObjectRef], shape: dict[str, float]
) -> Any:
    """The trainable with what all its trials share: specs and images stay in the object store, once a node."""
    sweep = launch.sweep
    specs = {run: state.graph.runs[run] for run in state.ready}
    shared = tune.with_parameters(
        SparseTrainable,
        specs={run: to_json(spec) for run, spec in specs.items()},
        datasets=datasets,
        store=launch.store,
        sweep=sweep.name,
        threads=sweep.resources.cpus,
        device="cuda" if "gpu" in shape else "cpu",
        modules=plugins.requested_modules(),
        folder=os.getcwd(),
        profile=launch.profile,
        engine=sweep.resources.execution,
    )
    return tune.with_resources(shared, shape)


def trial_resources(
    resources: Resources, state: SweepState, store: Store, say: Callable[[str, bool], None]
) -> dict[str, float]:
    """What Tune reserves for a trial, in Ray's terms; ``gpus: auto`` is measured, where there is a GPU."""
    gpus = resources.gpus
    if gpus == "auto":
        have = ray.cluster_resources()
        if not have.get("GPU") and not have.get("CPU"):
            raise SweepError("resources.gpus: auto sees no node yet: --set resources.gpus=1, or a share, or 0 for none")
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
    """The same with a larger share of a GPU; None if there is none, or a trial has a whole one."""
    fraction = larger_fraction(shape["gpu"]) if "gpu" in shape else None
    return None if fraction is None else {**shape, "gpu": fraction}


def num_slots(shape: dict[str, float]) -> int:
    """Trials that the cluster, as it is now, can run at once."""
    total = ray.cluster_resources()
    return int(min(total.get(name.upper(), 0) // amount for name, amount in shape.items()))


def check_reachable(address: str) -> None:
    """ConnectionError if nothing listens at a ``host:port``, where Ray itself would go on trying for many minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or "://" in address:
        return
    try:
        socket.create_connection((host, int(port)), timeout=REACH_SECONDS).close()
    except (OSError, ValueError) as error:
        raise ConnectionError(f"no Ray cluster can be reached there ({error})") from None


@contextlib.contextmanager
def cluster(address: str, folder: Path) -> Iterator[None]:
    """Ray at ``address``, shut down at the end, quiet: what a user needs to know, this package says itself.

    ``folder``: where a private cluster keeps its files; workers begin in it (see ``SparseTrainable.setup``).
    """
    check_reachable(address)
    tune_adapter.silence_loggers()
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "configure_logging": True}
    if address == "local":
        options |= {"include_dashboard": False, "_temp_dir": str(folder)}
    try:
        # Ray puts the current folder in front of what workers import: a file of the user's could stand for a package.
        with contextlib.chdir(folder):
            connect(address, options)
        yield
    finally:
        ray.shutdown()


def connect(address: str, options: dict[str, Any]) -> None:
    """``ray.init``; ConnectionError that says what to do where Ray would only say that it failed."""
    try:
        ray.init(address=address, **options)
    except Stopped:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and error.code == signal.SIGTERM:  # by the handler that ray.init sets
            raise Stopped(signal.SIGTERM) from None
        if address == "local":
            what = "Ray did not start"
            advice = f"Try again when the machine is less busy. Ray's logs, until then: {options['_temp_dir']}"
        else:
            what = "cannot be connected to"
            advice = "If it asks for a token: RAY_AUTH_MODE=token here, and its token in ~/.ray/auth_token"
        raise ConnectionError(f"{what}: {short_message(error)}. {advice}") from error


def lifeline(address: str) -> Lifeline:
    """What watches the node of this driver and the control store of its cluster, which may restart if not private."""
    servers = tune_adapter.server_addresses()
    if servers is None:
        return Lifeline({}, {})
    timeouts = {"node": 3.0, "control store": 3.0 if address == "local" else 40.0}
    return Lifeline(dict(zip(timeouts, servers, strict=True)), timeouts)


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Turn SIGINT, SIGTERM and SIGHUP into Tune's orderly stop; yields the list of those received.

    To be entered after ``ray.init``, whose own handler of SIGTERM would end the process at once, and before, for that
    takes a while. Tune stops in order on SIGUSR1 while it runs; before that, and at a second signal, the process just
    ends. SIGHUP that is ignored, as under ``nohup``, stays ignored: the sweep goes on without its terminal.
    """
    received: list[int] = []

    def stop(signum: int, frame: Any) -> None:
        received.append(signum)
        if len(received) > 1 or not tune_adapter.can_stop():
            raise Stopped(signum)
        tune_adapter.request_stop()

    heard = [signum for signum in STOPPING if signal.getsignal(signum) is not signal.SIG_IGN]
    previous = {signum: signal.signal(signum, stop) for signum in heard}
    try:
        yield received
    finally:
        tune_adapter.reset_stop()
        for signum, handler in previous.items():
            signal.signal(signum, handler)
