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
from sparsweep.trainables.specs.run import Spec, dump, load
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training.execution import Engine
from sparsweep.trainables.training.flops import PASSES
from sparsweep.trainables.training.throughput import Rehearsal
from sparsweep.tuner.config.grid import SweepError
from sparsweep.tuner.config.sweep import Resources
from sparsweep.tuner.hardware.gpu_sharing import LADDER, NoRoom, choose, mps_runs
from sparsweep.tuner.planning.estimate import cost_of_image
from sparsweep.tuner.ray_errors import cause, in_words
from sparsweep.tuner.state.calibration import keep, kind_of, read

RATE_SECONDS = 2.0
TOGETHER_SECONDS = 1.5
HEAD_START = 0.5
"""Seconds between telling processes to begin and their beginning, so that they do it together."""


def kinds(specs: Iterable[Spec], engine: Engine) -> dict[str, TrialSpec]:
    """One trial of each kind among ``specs``, by the kind's JSON."""
    trials = [spec.training for spec in specs if spec.training is not None]
    return {json.dumps(kind_of(trial, engine), sort_keys=True): trial for trial in reversed(trials)}


def measure(specs: Iterable[Spec], store: Store, resources: Resources) -> Iterator[dict[str, Any]]:
    """Measure every kind of training among ``specs`` on this machine's GPU, or on a trial's threads without one.

    What was found is kept; a kind that does not fit into memory has ``images_per_second`` None.
    """
    torch.set_num_threads(resources.cpus)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for kind, spec in kinds(specs, resources.engine).items():
        try:
            rate: float | None = Rehearsal(spec, device, resources.engine).rate(RATE_SECONDS)
        except torch.OutOfMemoryError:
            rate = None
        found = {"what": "rate", "kind": json.loads(kind), "card": device_name(device), "images_per_second": rate}
        keep(found, store)
        yield found


def line(found: Mapping[str, Any]) -> str:
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


class Probe:
    """A process with a part of a device, that trains when told to."""

    def __init__(self, spec: str, engine: Engine, device: str, modules: Sequence[str], folder: str) -> None:
        plugins.begin_worker(folder, modules)
        self.device = torch.device(device)  # loads PyTorch, which reading a spec may want
        self.spec, self.engine = load(spec), engine
        self.rehearsal: Rehearsal | None = None

    def ready(self) -> bool:
        return True

    def prepare(self) -> bool:
        """Take up memory and warm up; False if there is no room."""
        trial = self.spec.training
        assert trial is not None
        try:
            self.rehearsal = self.rehearsal or Rehearsal(trial, self.device, self.engine)
        except torch.OutOfMemoryError:
            return False
        return True

    def rate(self, begin: float, seconds: float) -> float:
        """Images a second over ``seconds``, from the moment ``begin`` on."""
        assert self.rehearsal is not None
        time.sleep(max(0.0, begin - time.time()))
        return self.rehearsal.rate(seconds)


@contextmanager
def probes(spec: TrialSpec, engine: Engine, device: str, count: int) -> Iterator[Sequence[Any]]:
    """``count`` processes on one and the same card (``device`` cuda) or machine (cpu)."""
    on_card = device == "cuda"
    group = placement_group([{"GPU": 1.0} if on_card else {"CPU": 1.0}])
    try:
        options: dict[str, Any] = {"num_cpus": 0, "num_gpus": 1 / count if on_card else 0}
        place = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0)
        made = ray.remote(Probe).options(scheduling_strategy=place, **options)
        actors = [made.remote(dump(spec), engine, device, plugins.named(), os.getcwd()) for _ in range(count)]
        ray.get([actor.ready.remote() for actor in actors])
        yield actors
    finally:
        remove_placement_group(group)


def together(actors: Sequence[Any], count: int) -> float:
    """Images a second of the first ``count`` processes at the same time; NoRoom if one does not fit."""
    busy = actors[:count]
    if not all(ray.get([actor.prepare.remote() for actor in busy])):
        raise NoRoom(f"{count} trials do not fit")
    begin = time.time() + HEAD_START
    return float(sum(ray.get([actor.rate.remote(begin, TOGETHER_SECONDS) for actor in busy])))


def share_a_card(
    specs: Iterable[Spec], engine: Engine, store: Store, say: Callable[[str], None], device: str = "cuda"
) -> int:
    """How many trials like the costliest of ``specs`` should share a card; measured if this storage does not know.

    SweepError if PyTorch cannot use what Ray takes for a card.
    """
    spec = max(kinds(specs, engine).values(), key=cost_of_image)
    looking = ray.remote(look_at).options(num_cpus=0, num_gpus=0.01 if device == "cuda" else 0).remote(device)
    try:
        card, mps = ray.get(looking)
    except RayTaskError as error:
        raise cause(error) from error
    about = {"what": "share", "kind": {**kind_of(spec, engine), "mps": mps}, "card": card}
    for known in read(store, "share"):
        if all(known[name] == value for name, value in about.items()):
            return int(known["trials"])
    try:
        with probes(spec, engine, device, LADDER[-1]) as actors:
            best, rates = choose(lambda count: together(actors, count))
    except NoRoom:
        return 1  # the trial itself will say so
    keep({**about, "trials": best, "rates": rates}, store)
    said = ", ".join(f"{count}: {rate:,.0f}" for count, rate in rates.items())
    say(f"{best} trials share a card (images/s of so many together: {said}; MPS {'runs' if mps else 'off'})")
    return best


def look_at(device: str) -> tuple[str, bool]:
    """The name of the device in this process, and whether MPS lets processes use it at the same time."""
    try:
        return device_name(torch.device(device)), mps_runs()
    except (AssertionError, RuntimeError) as error:  # a build without CUDA; no driver, or one too old
        raise SweepError(
            f"resources.gpus: auto: Ray has a GPU on {socket.gethostname()}, but PyTorch there cannot use it "
            f"({in_words(error)}); mend that, or --set resources.gpus=0 to run on CPUs"
        ) from error
