"""What the devices at hand can do: images a second of each kind of training, and how many trials should share a card.

What is found stays in the storage (see ``calibration``).
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
from sparsweep.tuner.config.sweep import Resources
from sparsweep.tuner.hardware.gpu_sharing import TRIALS_PER_GPU, OutOfGpuMemory, best_trials_per_gpu, is_mps_running
from sparsweep.tuner.planning.estimate import flops_per_image
from sparsweep.tuner.ray_errors import summarize, unwrap
from sparsweep.tuner.state.calibration import read_measurements, save_measurement, step_kind

RATE_SECONDS = 2.0
JOINT_RATE_SECONDS = 1.5
START_DELAY_S = 0.5
"""Seconds between telling processes to begin and their beginning, so that they do it together."""


def unique_step_kinds(specs: Iterable[RunSpec], engine: ExecutionConfig) -> dict[str, TrialSpec]:
    """One trial of each kind among ``specs``, by the kind's JSON."""
    trials = [spec.trained_trial for spec in specs if spec.trained_trial is not None]
    return {json.dumps(step_kind(trial, engine), sort_keys=True): trial for trial in reversed(trials)}


def measure(specs: Iterable[RunSpec], store: Store, resources: Resources) -> Iterator[dict[str, Any]]:
    """Measure every kind of training among ``specs`` on this machine's GPU, or on a trial's threads without one.

    What was found is kept; a kind that does not fit into memory has ``images_per_second`` None.
    """
    torch.set_num_threads(resources.cpus)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for kind, spec in unique_step_kinds(specs, resources.execution).items():
        try:
            rate: float | None = ThroughputProbe(spec, device, resources.execution).rate(RATE_SECONDS)
        except torch.OutOfMemoryError:
            rate = None
        found = {"what": "rate", "kind": json.loads(kind), "card": device_name(device), "images_per_second": rate}
        save_measurement(found, store)
        yield found


def format_rate(found: Mapping[str, Any]) -> str:
    """A measured rate as a person reads it."""
    kind, rate = found["kind"], found["images_per_second"]
    network = "".join(f" {field} {value}" for field, value in kind["model"].items() if field != "name")
    what = f"{kind['model']['name']}{network} at {kind['resolution'][0]} px, {kind['precision']}"
    what += f", batch {kind['batch_size']}"
    what += "".join(f", {lever} {'on' if on else 'off'}" for lever, on in kind.get("engine", {}).items())
    speed = "does not fit into memory" if rate is None else f"{rate:,.0f} images/s"
    attack = "no attack" if kind["attack"] == PASSES else f"under attack ({kind['attack']:g} forward passes an image)"
    return f"{what}, {attack}: {speed} on {found['card']}"


# How many trials share a card ----------------------------------------------------------------------------------------


class ThroughputActor:
    """A process with a part of a device, that trains when told to."""

    def __init__(self, spec: str, engine: ExecutionConfig, device: str, modules: Sequence[str], folder: str) -> None:
        plugins.begin_worker(folder, modules)
        self.device = torch.device(device)  # loads PyTorch, which reading a spec may want
        self.spec, self.engine = from_json(spec), engine
        self.throughput_probe: ThroughputProbe | None = None

    def ready(self) -> bool:
        return True

    def prepare(self) -> bool:
        """Take up memory and warm up; False if there is no room."""
        trial = self.spec.trained_trial
        assert trial is not None
        try:
            self.throughput_probe = self.throughput_probe or ThroughputProbe(trial, self.device, self.engine)
        except torch.OutOfMemoryError:
            return False
        return True

    def rate(self, begin: float, seconds: float) -> float:
        """Images a second over ``seconds``, from the moment ``begin`` on."""
        assert self.throughput_probe is not None
        time.sleep(max(0.0, begin - time.time()))
        return self.throughput_probe.rate(seconds)


@contextmanager
def start_actors(spec: TrialSpec, engine: ExecutionConfig, device: str, count: int) -> Iterator[Sequence[Any]]:
    """``count`` processes on one and the same card (``device`` cuda) or machine (cpu)."""
    on_card = device == "cuda"
    group = placement_group([{"GPU": 1.0} if on_card else {"CPU": 1.0}])
    try:
        options: dict[str, Any] = {"num_cpus": 0, "num_gpus": 1 / count if on_card else 0}
        place = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0)
        made = ray.remote(ThroughputActor).options(scheduling_strategy=place, **options)
        actors = [
            made.remote(to_json(spec), engine, device, plugins.requested_modules(), os.getcwd()) for _ in range(count)
        ]
        ray.get([actor.ready.remote() for actor in actors])
        yield actors
    finally:
        remove_placement_group(group)


def joint_rate(actors: Sequence[Any], count: int) -> float:
    """Images a second of the first ``count`` processes at the same time; NoRoom if one does not fit."""
    busy = actors[:count]
    if not all(ray.get([actor.prepare.remote() for actor in busy])):
        raise OutOfGpuMemory(f"{count} trials do not fit")
    begin = time.time() + START_DELAY_S
    return float(sum(ray.get([actor.rate.remote(begin, JOINT_RATE_SECONDS) for actor in busy])))


def measure_gpu_sharing(
    specs: Iterable[RunSpec], engine: ExecutionConfig, store: Store, say: Callable[[str], None], device: str = "cuda"
) -> int:
    """How many trials like the costliest of ``specs`` should share a card; measured if this storage does not know.

    SweepError if PyTorch cannot use what Ray takes for a card.
    """
    spec = max(unique_step_kinds(specs, engine).values(), key=flops_per_image)
    looking = ray.remote(probe_device).options(num_cpus=0, num_gpus=0.01 if device == "cuda" else 0).remote(device)
    try:
        card, mps = ray.get(looking)
    except RayTaskError as error:
        raise unwrap(error) from error
    about = {"what": "share", "kind": {**step_kind(spec, engine), "mps": mps}, "card": card}
    for known in read_measurements(store, "share"):
        if all(known[name] == value for name, value in about.items()):
            return int(known["trials"])
    try:
        with start_actors(spec, engine, device, TRIALS_PER_GPU[-1]) as actors:
            best, rates = best_trials_per_gpu(lambda count: joint_rate(actors, count))
    except OutOfGpuMemory:
        return 1  # the trial itself will say so
    save_measurement({**about, "trials": best, "rates": rates}, store)
    said = ", ".join(f"{count}: {rate:,.0f}" for count, rate in rates.items())
    say(f"{best} trials share a card (images/s of so many together: {said}; MPS {'runs' if mps else 'off'})")
    return best


def probe_device(device: str) -> tuple[str, bool]:
    """The name of the device in this process, and whether MPS lets processes use it at the same time."""
    try:
        return device_name(torch.device(device)), is_mps_running()
    except (AssertionError, RuntimeError) as error:  # a build without CUDA; no driver, or one too old
        raise SweepError(
            f"resources.gpus: auto: Ray has a GPU on {socket.gethostname()}, but PyTorch there cannot use it "
            f"({summarize(error)}); mend that, or --set resources.gpus=0 to run on CPUs"
        ) from error
