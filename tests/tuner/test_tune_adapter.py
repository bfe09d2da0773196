"""Two fake trials in the real controller of Ray Tune, to test the adapter's use of Ray internals."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune
from ray.tune.experiment import Trial

from sparsweep.tuner.execution import tune_adapter
from sparsweep.tuner.execution.tune_adapter import DriverCallback, RunSearch, RunTrial, SubmissionOrderScheduler


class CountingTrainable(tune.Trainable):
    """Trainable that counts to 3. Run ``fragile`` raises once, run ``silent`` hangs until its worker is killed."""

    def setup(self, config: dict[str, Any], folder: str = "") -> None:
        self.run, self.count, self.folder = config["run"], 0, Path(folder)
        (self.folder / f"delay-{self.run}-{time.monotonic_ns()}").write_text(str(config.get("wait", 0.0)))

    def step(self) -> dict[str, Any]:
        attempts = len(list(self.folder.glob(f"delay-{self.run}-*")))
        if self.run == "fragile" and attempts == 1:
            raise OSError("planted")
        if self.run == "silent" and attempts == 1:
            time.sleep(600)
        self.count += 1
        return {"count": self.count, "done": self.count == 3}


class TwoRuns(RunSearch):
    """Search that gives Tune two runs in a fixed order."""

    def __init__(self) -> None:
        super().__init__()
        self.remaining, self.completed = ["fragile", "silent"], list[str]()

    @property
    def total_samples(self) -> int:
        return 2

    def next_trial(self) -> Trial | None:
        return self.make_trial(run := self.remaining.pop(0), {"run": run}) if self.remaining else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.completed.append(trial_id)

    def is_finished(self) -> bool:
        return super().is_finished() or not self.remaining


class KillSilent(DriverCallback):
    """Kills a worker that is silent for a second, and records the events of the controller."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.errors: list[Exception | None] = []
        self.started_at: dict[RunTrial, float] = {}
        self.pending_limit: str | None = None

    def on_trial_start(self, iteration: int, trials: list[RunTrial], trial: RunTrial, **info: Any) -> None:
        self.started.append(trial.trial_id)
        if trial.trial_id == "silent" and not self.started_at:
            self.started_at[trial] = time.monotonic()

    def on_trial_recover(self, iteration: int, trials: list[RunTrial], trial: RunTrial, **info: Any) -> None:
        self.errors.append(trial.error)

    def on_step_end(self, iteration: int, trials: list[RunTrial], **info: Any) -> None:
        for trial, started in list(self.started_at.items()):
            if time.monotonic() - started > 1 and "silent" in self.started and trial.kill_reason is None:
                del self.started_at[trial]
                tune_adapter.kill_worker(trial, TimeoutError("killed"))


@pytest.fixture
def cluster() -> Any:
    tune_adapter.set_environment()
    tune_adapter.silence_loggers()
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_controller_runs_retries_and_kills_trials(cluster: None, tmp_path: Path) -> None:
    search, callback = TwoRuns(), KillSilent()
    tune_adapter.limit_pending_trials(4)
    assert not tune_adapter.can_stop()
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(CountingTrainable, folder=str(tmp_path)), {"cpu": 1}),
        tune_config=tune.TuneConfig(search_alg=search, scheduler=SubmissionOrderScheduler(), reuse_actors=False),
        run_config=tune.RunConfig(
            name="fake",
            storage_path=str(tmp_path / "tune"),
            failure_config=tune.FailureConfig(max_failures=3),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[callback],
            verbose=0,
        ),
    )
    results = tuner.fit()
    assert [result.metrics["count"] for result in results] == [3, 3] and not results.errors
    # Two workers start at the same time, in arbitrary order.
    assert sorted(callback.started) == ["fragile", "fragile", "silent", "silent"]
    assert sorted(search.completed) == ["fragile", "silent"]
    kinds = {type(getattr(error, "cause", error)).__name__ for error in callback.errors}
    assert kinds == {"OSError", "TimeoutError"}
    delays = sorted(float(file.read_text()) for file in tmp_path.glob("delay-*"))
    assert delays == [0.0, 0.0, 1.0, 1.0], "the second attempt gets a delay of one second"
    servers = tune_adapter.server_addresses()
    assert servers is not None and all(host and port > 0 for host, port in servers)
