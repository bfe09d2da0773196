"""Ray Tune trainable of one run. It finds the spec by its id, and all other inputs in the store.

A worker executes many runs (``reset_config``). Imports, data sets on the device and threads persist between runs. If
the next run trains the same shapes, its network, captured steps and compiled code persist too.
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
from sparsweep.trainables.pipeline.device_data import DeviceData, DeviceDataCache
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
"""Minimum duration of a Tune step in seconds: each step costs the driver some milliseconds and writes a checkpoint."""


class CalledExit(ValueError):
    """A method called ``sys.exit``. The worker would otherwise end without an error."""


@contextmanager
def no_exit() -> Iterator[None]:
    """Convert SystemExit in the enclosed code to CalledExit, unless Ray ends the worker.

    Raises:
        CalledExit: The code called ``sys.exit``.
    """
    try:
        yield
    except SystemExit as error:
        if hasattr(error, "ray_terminate_msg"):
            raise
        raise CalledExit(f"the trial called sys.exit({error.code!r})") from error


class SparseTrainable(tune.Trainable):
    """Ray Tune trainable that executes one run of a sweep.

    The keys of ``config`` are ``run``, the id of the run; ``spec``, its JSON, only for trials of a search, which are
    unknown at the start; and ``wait``, seconds to wait before a retry.
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
        """Prepare a worker for its first run.

        Args:
            config: Keys as in the class docstring.
            specs: JSON of every run of the sweep by id.
            datasets: Images by the JSON of the data set, shared by all processes of a node through Ray's object store.
            store: Storage of the sweep.
            sweep: Name of the sweep.
            threads: CPU threads per run.
            device: ``cuda`` if a GPU or a share of one is reserved for the run, else ``cpu``.
            modules: Plugins that the user named in the driver.
            folder: Current folder of the driver. Relative paths and plugins resolve there if it exists on this node.
            profile: Id of the run whose epoch is profiled.
            engine: Execution of training steps.
        """
        plugins.begin_worker(folder, modules)
        assert specs is not None and datasets is not None and store is not None
        self.specs, self.datasets, self.store, self.sweep = specs, datasets, store, sweep
        torch.set_num_threads(threads)
        self.device = torch.device(device)
        self.device_data_cache = DeviceDataCache(self.device)
        self.profile = profile
        self.runner_cache = StepRunnerCache(engine)
        self.run: Run | None = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.run = None
        return True

    def step(self) -> dict[str, Any]:
        """Train some epochs of the run, for at least a second.

        Every error is first written to the table ``failures``, then raised again.
        """
        run_id = self.config["run"]
        try:
            with no_exit():
                return self._step(run_id)
        except Exception as error:
            self.run = None
            self.runner_cache = StepRunnerCache(
                self.runner_cache.engine
            )  # an error may leave the old runner in an invalid state
            self.store.write_failure(run_id, self.sweep, error)
            raise

    def _step(self, run_id: str) -> dict[str, Any]:
        if self.run is None:
            self.log = RunLog(run_id, self.store)
        with self.log.capture():
            if self.run is None:
                time.sleep(self.config.get("wait", 0.0))
                spec = from_json(self.config.get("spec") or self.specs[run_id])
                if is_finished(
                    spec, self.store
                ):  # by an attempt that failed after its last write, or by another driver
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
            return run.run_for(0.0)  # warm-up epoch: it includes initialization
        self.profile = None
        return profile_call(run_id, self.device, self.store, lambda: run.run_for(0.0))

    def _open(self, spec: RunSpec) -> Run:
        dataset = spec.dataset_spec.model_dump_json()

        def load_images() -> ImageData:
            return ray.get(self.datasets[dataset])

        def device_data(trial: TrialSpec) -> DeviceData:
            return self.device_data_cache.get(dataset, trial.model, load_images)

        return open_run(spec, RunInputs(load_images, device_data, self.runner_cache), self.store, self.sweep)
