"""One run as a Ray Tune trainable: it finds its spec by its id, and everything else about it in the store.

A worker lives long and does many runs (``reset_config``): imports, data sets on the device and threads stay, and where
the next run trains the same shapes, its network, captured steps and what was compiled.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray import tune

from sparsweep.trainables import plugins
from sparsweep.trainables.data import ImageData
from sparsweep.trainables.lazy import torch
from sparsweep.trainables.pipeline.device_data import DeviceData, to_device_data
from sparsweep.trainables.runs.base import Progress, Run, RunInputs
from sparsweep.trainables.runs.kinds import is_finished, open_run
from sparsweep.trainables.runs.result_rows import device_name
from sparsweep.trainables.runs.run_log import RunLog
from sparsweep.trainables.specs.run import RunSpec, from_json
from sparsweep.trainables.specs.trial import TrialSpec
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training.execution import ExecutionConfig, StepRunnerCache
from sparsweep.trainables.training.profiler import profile_call

MIN_REPORT_INTERVAL_S = 1.0
"""A step of Tune is as many epochs as fit: each costs the driver some milliseconds, and leaves a checkpoint."""


class CalledExit(ValueError):
    """A method called ``sys.exit``, which would end the worker as if all were well."""


@contextmanager
def no_exit() -> Iterator[None]:
    """Raise CalledExit in the place of a SystemExit, unless it is Ray that ends the worker."""
    try:
        yield
    except SystemExit as error:
        if hasattr(error, "ray_terminate_msg"):
            raise
        raise CalledExit(f"sys.exit({error.code!r}) was called while the trial ran") from error


class SparseTrainable(tune.Trainable):
    """Runs one trial or scoring run of a sweep. ``config["run"]`` is its id; everything else comes from the store.
    A search, whose trials are not known beforehand, gives the spec beside the id. ``wait``, after a failure, are
    seconds to let pass first.

    ``specs``: JSON of every run of the sweep by id; ``datasets``: the images by the data set's JSON, shared by all
    processes of a node through Ray's object store; ``threads``: CPU threads of a run; ``device``: ``cuda`` where a
    GPU or a share of one is reserved for it, else ``cpu``; ``modules``: plugins that the driver was told to import;
    ``folder``: the driver's current one, in which relative paths and such plugins are looked for, where it is there;
    ``profile``: the run of which one epoch is to be profiled; ``engine``: how training steps run.
    """

    def setup(
        self,
        config: dict[str, Any],
        specs: Mapping[str, str] | None = None,
        datasets: Mapping[str, ray.ObjectRef] | None = None,
        store: Store | None = None,
        sweep: str = "",
        threads: int = 1,
        device: str = "cpu",
        modules: Sequence[str] = (),
        folder: str | None = None,
        profile: str | None = None,
        engine: ExecutionConfig | None = None,
    ) -> None:
        plugins.begin_worker(folder, modules)
        assert specs is not None and datasets is not None and store is not None
        self.specs, self.datasets, self.store, self.sweep = specs, datasets, store, sweep
        torch.set_num_threads(threads)
        self.device = torch.device(device)
        self.device_data_cache: dict[tuple[str, int, int], DeviceData] = {}
        self.profile = profile
        self.workshop = StepRunnerCache(engine)
        self.run: Run | None = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.run = None
        return True

    def step(self) -> dict[str, Any]:
        """Some epochs of the run, at least a second's worth; whatever goes wrong is written to ``failures`` first."""
        run_id = self.config["run"]
        try:
            with no_exit():
                return self._step(run_id)
        except Exception as error:
            self.run = None
            self.workshop = StepRunnerCache(self.workshop.engine)  # what an error left half done is not used again
            self.store.write_failure(run_id, self.sweep, error)
            raise

    def _step(self, run_id: str) -> dict[str, Any]:
        if self.run is None:
            self.log = RunLog(run_id, self.store)
        with self.log.capture():
            if self.run is None:
                time.sleep(self.config.get("wait", 0.0))
                spec = from_json(self.config.get("spec") or self.specs[run_id])
                if is_finished(spec, self.store):  # by an attempt that died before it could say so, or another driver
                    return {"epoch": spec.num_epochs, "epochs": spec.num_epochs, "done": True}
                self.run = self._open(spec)
                self.log.log_start(str(spec), device_name(self.device), self.run.progress, self.run.history)
            progress = self._advance(self.run, run_id)
            self.log.log_epochs(progress, self.run.history)
        result: dict[str, Any] = {"epoch": progress.epoch, "epochs": progress.epochs, "done": progress.is_finished}
        if progress.last is not None:
            result |= {"train_loss": progress.last.train_loss, "test_accuracy": progress.last.test_accuracy}
            result["images_per_second"] = self.run.images_per_second
        return result

    def _advance(self, run: Run, run_id: str) -> Progress:
        if run_id != self.profile:
            return run.run_for(MIN_REPORT_INTERVAL_S)
        if not run.progress.epoch and run.progress.epochs > 1:
            return run.run_for(0.0)  # one epoch, in which everything happens for the first time
        self.profile = None
        return profile_call(run_id, self.device, self.store, lambda: run.run_for(0.0))

    def _open(self, spec: RunSpec) -> Run:
        dataset = spec.dataset_spec.model_dump_json()

        def images() -> ImageData:
            return ray.get(self.datasets[dataset])

        def placed(trial: TrialSpec) -> DeviceData:
            key = (dataset, trial.model.channels, trial.model.min_size)
            if key not in self.device_data_cache:
                # One data set at a time: a worker goes through many, and a GPU's memory would fill up.
                self.device_data_cache.clear()
                self.device_data_cache[key] = to_device_data(
                    images(), trial.model.channels, trial.model.min_size, self.device
                )
            return self.device_data_cache[key]

        return open_run(spec, RunInputs(images, placed, self.workshop), self.store, self.sweep)
