"""Progress output of a running sweep, with simulated events of Tune."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.cli.status_view import format_status
from sparsweep.tuner.config.sweep import Sweep, parse_sweep
from sparsweep.tuner.execution import progress
from sparsweep.tuner.planning.estimate import format_duration, training_flops
from sparsweep.tuner.planning.graph import build_graph, compute_state
from sparsweep.tuner.planning.status import known_runs, sweep_status, trial_details
from sparsweep.tuner.state.driver_lease import Lease

SWEEP = """
base: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: 4}}
grids: [{sparsifier: dense, seed: [0, 1]}]
"""


@pytest.fixture
def sweep() -> Sweep:
    return parse_sweep(SWEEP, "two")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.seconds)
    return now


def trial(run: str, **last_result: Any) -> Any:
    return SimpleNamespace(trial_id=run, last_result=last_result, error=OSError("disk on fire"))


def test_eta_uses_the_rate_since_the_first_report(sweep: Sweep, clock: SimpleNamespace, tmp_path: Path) -> None:
    state = compute_state(build_graph(sweep.trials), Store(str(tmp_path)))
    first, second = sweep.trials
    callback = progress.ProgressCallback("two", state, Store(str(tmp_path)))
    clock.seconds += 60  # start of Ray, which is not training time
    callback.on_trial_start(0, [], trial(first))
    assert callback.summary() == "0/2 done, 1 running"
    clock.seconds += 10
    callback.on_trial_result(0, [], trial(first), {"epoch": 2, "epochs": 4})
    assert callback.eta.operations_done() == training_flops(state.graph.runs[first]) / 2
    clock.seconds += 10
    callback.on_trial_result(0, [], trial(first), {"epoch": 4, "epochs": 4})
    callback.on_trial_complete(0, [], trial(first, done=True))
    # Two epochs took ten seconds since the first report; four epochs are left.
    assert callback.summary() == "1/2 done, 0 running, ETA 20 s"
    callback.on_trial_start(0, [], trial(second))
    callback.on_trial_error(0, [], trial(second))
    assert callback.summary() == "1/2 done, 0 running, 1 failed, ETA 0 s"


def test_dead_worker_is_recorded_by_the_driver(sweep: Sweep, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    callback = progress.ProgressCallback("two", compute_state(build_graph(sweep.trials), store), store)
    run = next(iter(sweep.trials))
    callback.on_trial_start(0, [], trial(run))
    callback.on_trial_error(0, [], trial(run))
    assert store.failures()[run]["message"] == "disk on fire"
    report = sweep_status(sweep, store)
    assert (report["failed"], report["pending"], report["done"]) == (1, 1, 0)
    assert format_status(report)[1].endswith("attempt 1: OSError: disk on fire")
    assert known_runs(store) == {run}
    assert "OSError: disk on fire" in trial_details(run, store)["failure"]["traceback"]


def test_heartbeat_contains_the_running_trials(sweep: Sweep, clock: SimpleNamespace, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    run = next(iter(sweep.trials))
    with Lease("two", store, print).acquire() as lease:
        callback = progress.ProgressCallback("two", compute_state(build_graph(sweep.trials), store), store, lease=lease)
        callback.on_trial_start(0, [], trial(run))
        callback.on_trial_result(0, [], trial(run), {"epoch": 1, "epochs": 4})
        clock.seconds += 60
        callback.on_step_end(1, [])
        lease.renew()
        report = sweep_status(sweep, store)
        assert (report["running"], report["pending"], report["alive"]) == (1, 1, True)
        assert format_status(report)[1] == f"  running {run} ({sweep.trials[run]}): epoch 1 of 4"
    assert sweep_status(sweep, store)["running"] == 0


def test_unwritable_log_does_not_stop_the_sweep(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(str(tmp_path))
    callback = progress.ProgressCallback("two", compute_state(build_graph(sweep.trials), store), store)

    def raise_disk_full(path: str, content: bytes) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(store, "write", raise_disk_full)
    with callback:
        pass
    assert "no space left on device" in caplog.text


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (190, "3 min 10 s"), (7500, "2 h 05 min")],
)
def test_durations_are_formatted(seconds: float, expected: str) -> None:
    assert format_duration(seconds) == expected
