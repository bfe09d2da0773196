"""Benchmarks on the available devices: images per second per kind of trial, and trials per GPU.

The storage keeps the measurements (see ``calibration``).
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayTaskError
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from sparsweep.trainables import plugins
from sparsweep.trainables.lazy import torch
from sparsweep.trainables.runs.result_rows import device_name
from sparsweep.trainables.specs.run import RunSpec, from_json, to_json
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training.execution import ExecutionConfig
from sparsweep.trainables.training.flops import PASSES
from sparsweep.trainables.training.throughput import ThroughputProbe
from sparsweep.tuner.config.grid import SweepError
from sparsweep.tuner.config.resources import Resources
from sparsweep.tuner.hardware.gpu_sharing import TRIALS_PER_GPU, OutOfGpuMemory, best_trials_per_gpu, is_mps_running
from sparsweep.tuner.planning.estimate import flops_per_image
from sparsweep.tuner.ray_errors import summarize, unwrap
from sparsweep.tuner.state.calibration import read_measurements, save_measurement, step_kind

RATE_SECONDS = 2.0
JOINT_RATE_SECONDS = 1.5
START_DELAY_S = 0.5
"""Delay in seconds between the start command and the start, so that all processes start together."""


def unique_step_kinds(specs: Iterable[RunSpec], engine: ExecutionConfig) -> dict[str, TrialSpec]:
    """Return one trial of each kind among ``specs``.

    Args:
        specs: Runs.
        engine: Execution config, which is part of the kind.

    Returns:
        Trials by the JSON of their :func:`~sparsweep.tuner.state.calibration.step_kind`.
    """
    trials = [spec.trained_trial for spec in specs if spec.trained_trial is not None]
    return {json.dumps(step_kind(trial, engine), sort_keys=True): trial for trial in reversed(trials)}


def measure(specs: Iterable[RunSpec], store: Store, resources: Resources) -> Iterator[dict[str, Any]]:
    """Measure the throughput of every kind of trial and save it.

    Uses this node's GPU, or without a GPU the number of CPU threads of a trial.

    Args:
        specs: Runs, of which one trial per kind is measured.
        store: The storage for the measurements.
        resources: Resources of a trial.

    Yields:
        Each measurement. ``images_per_second`` is None if the trial does not fit into memory.
    """
    torch.set_num_threads(resources.cpus)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for kind, spec in unique_step_kinds(specs, resources.execution).items():
        try:
            rate: float | None = ThroughputProbe(spec, device, resources.execution).rate(RATE_SECONDS)
        except torch.OutOfMemoryError:
            rate = None
        measurement = {"what": "rate", "kind": json.loads(kind), "card": device_name(device), "images_per_second": rate}
        save_measurement(measurement, store)
        yield measurement


def format_rate(found: Mapping[str, Any]) -> str:
    """Format a throughput measurement as one line."""
    kind, rate = found["kind"], found["images_per_second"]
    network = "".join(f" {field} {value}" for field, value in kind["model"].items() if field != "name")
    what = f"{kind['model']['name']}{network} at {kind['resolution'][0]} px, {kind['precision']}"
    what += f", batch {kind['batch_size']}"
    what += "".join(f", {setting} {'on' if on else 'off'}" for setting, on in kind.get("engine", {}).items())
    speed = "does not fit into memory" if rate is None else f"{rate:,.0f} images/s"
    attack = "no attack" if kind["attack"] == PASSES else f"under attack ({kind['attack']:g} forward passes per image)"
    return f"{what}, {attack}: {speed} on {found['card']}"


# Number of trials per GPU --------------------------------------------------------------------------------------------


class ThroughputActor:
    """Ray actor that trains on a fraction of a device for a benchmark."""

    def __init__(self, spec: str, engine: ExecutionConfig, device: str, modules: Sequence[str], folder: str) -> None:
        plugins.begin_worker(folder, modules)
        self.device = torch.device(device)  # imports PyTorch, which reading a spec may need
        self.spec, self.engine = from_json(spec), engine
        self.throughput_probe: ThroughputProbe | None = None

    def ready(self) -> bool:
        """Return True once the actor has started."""
        return True

    def prepare(self) -> bool:
        """Allocate memory and warm up. Return False if the memory is not sufficient."""
        trial = self.spec.trained_trial
        assert trial is not None
        try:
            self.throughput_probe = self.throughput_probe or ThroughputProbe(trial, self.device, self.engine)
        except torch.OutOfMemoryError:
            return False
        return True

    def rate(self, begin: float, seconds: float) -> float:
        """Return the images per second over ``seconds``, starting at the Unix time ``begin``."""
        assert self.throughput_probe is not None
        time.sleep(max(0.0, begin - time.time()))
        return self.throughput_probe.rate(seconds)


@contextmanager
def start_actors(spec: TrialSpec, engine: ExecutionConfig, device: str, count: int) -> Iterator[Sequence[Any]]:
    """Start actors on the same GPU (``device`` is ``cuda``) or the same node (``cpu``).

    Args:
        spec: The trial to benchmark.
        engine: Execution config.
        device: ``cuda`` or ``cpu``.
        count: Number of actors.

    Yields:
        The actors.
    """
    on_gpu = device == "cuda"
    group = placement_group([{"GPU": 1.0} if on_gpu else {"CPU": 1.0}])
    try:
        options: dict[str, Any] = {"num_cpus": 0, "num_gpus": 1 / count if on_gpu else 0}
        strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0)
        factory = ray.remote(ThroughputActor).options(scheduling_strategy=strategy, **options)
        actors = [
            factory.remote(to_json(spec), engine, device, plugins.requested_modules(), os.getcwd())
            for _ in range(count)
        ]
        ray.get([actor.ready.remote() for actor in actors])
        yield actors
    finally:
        remove_placement_group(group)


def joint_rate(actors: Sequence[Any], count: int) -> float:
    """Return the total images per second of the first ``count`` actors at the same time.

    Args:
        actors: All actors.
        count: Number of actors to run.

    Raises:
        OutOfGpuMemory: An actor does not fit into memory.
    """
    active = actors[:count]
    if not all(ray.get([actor.prepare.remote() for actor in active])):
        raise OutOfGpuMemory(f"{count} trials do not fit")
    begin = time.time() + START_DELAY_S
    return float(sum(ray.get([actor.rate.remote(begin, JOINT_RATE_SECONDS) for actor in active])))


def measure_gpu_sharing(
    specs: Iterable[RunSpec], engine: ExecutionConfig, store: Store, say: Callable[[str], None], device: str = "cuda"
) -> int:
    """Return the number of trials that should share a GPU, for the trial with the most FLOPs per image.

    Args:
        specs: Runs with training.
        engine: Execution config.
        store: The storage. An earlier measurement in it is reused, a new one is saved.
        say: Logs a message.
        device: ``cuda`` or ``cpu``.

    Raises:
        SweepError: Ray has a GPU that PyTorch cannot use.
    """
    spec = max(unique_step_kinds(specs, engine).values(), key=flops_per_image)
    probe = ray.remote(probe_device).options(num_cpus=0, num_gpus=0.01 if device == "cuda" else 0).remote(device)
    try:
        gpu, mps = ray.get(probe)
    except RayTaskError as error:
        raise unwrap(error) from error
    key = {"what": "share", "kind": {**step_kind(spec, engine), "mps": mps}, "card": gpu}
    for earlier in read_measurements(store, "share"):
        if all(earlier[name] == value for name, value in key.items()):
            return int(earlier["trials"])
    try:
        with start_actors(spec, engine, device, TRIALS_PER_GPU[-1]) as actors:
            best, rates = best_trials_per_gpu(lambda count: joint_rate(actors, count))
    except OutOfGpuMemory:
        return 1  # the trial itself will raise the error
    save_measurement({**key, "trials": best, "rates": rates}, store)
    by_count = ", ".join(f"{count}: {rate:,.0f}" for count, rate in rates.items())
    say(f"{best} trials per GPU (total images/s by number of trials: {by_count}; MPS {'on' if mps else 'off'})")
    return best


def probe_device(device: str) -> tuple[str, bool]:
    """Return the name of this process's device and whether MPS runs. Raise SweepError if PyTorch cannot use it."""
    try:
        return device_name(torch.device(device)), is_mps_running()
    except (AssertionError, RuntimeError) as error:  # PyTorch without CUDA; missing or old driver
        raise SweepError(
            f"resources.gpus: 'auto' failed, PyTorch cannot use Ray's GPU on {socket.gethostname()} "
            f"({summarize(error)}). Fix PyTorch there, or use CPUs: --set resources.gpus=0"
        ) from error
