"""What a running sweep says, fed with Tune's events by hand."""

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

TWO = """
base: {dataset: digits, model: resnet8, recipe: {preset: digits, epochs: 4}}
grids: [{sparsifier: dense, seed: [0, 1]}]
"""


@pytest.fixture
def sweep() -> Sweep:
    return parse_sweep(TWO, "two")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.seconds)
    return now


def trial(run: str, **last_result: Any) -> Any:
    return SimpleNamespace(trial_id=run, last_result=last_result, error=OSError("disk on fire"))


def test_eta_is_the_rate_since_training_began(sweep: Sweep, clock: SimpleNamespace, tmp_path: Path) -> None:
    state = compute_state(build_graph(sweep.trials), Store(str(tmp_path)))
    first, second = sweep.trials
    seen = progress.ProgressCallback("two", state, Store(str(tmp_path)))
    clock.seconds += 60  # Ray starts; this is not training
    seen.on_trial_start(0, [], trial(first))
    assert seen.summary() == "0/2 done, 1 running"
    clock.seconds += 10
    seen.on_trial_result(0, [], trial(first), {"epoch": 2, "epochs": 4})
    assert seen.eta.operations_done() == training_flops(state.graph.runs[first]) / 2
    clock.seconds += 10
    seen.on_trial_result(0, [], trial(first), {"epoch": 4, "epochs": 4})
    seen.on_trial_complete(0, [], trial(first, done=True))
    # Two epochs in the ten seconds since the first sign; four epochs are left.
    assert seen.summary() == "1/2 done, 0 running, ETA 20 s"
    seen.on_trial_start(0, [], trial(second))
    seen.on_trial_error(0, [], trial(second))
    assert seen.summary() == "1/2 done, 0 running, 1 failed, ETA 0 s"


def test_a_worker_that_died_is_recorded_by_the_driver(sweep: Sweep, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    seen = progress.ProgressCallback("two", compute_state(build_graph(sweep.trials), store), store)
    run = next(iter(sweep.trials))
    seen.on_trial_start(0, [], trial(run))
    seen.on_trial_error(0, [], trial(run))
    assert store.failures()[run]["message"] == "disk on fire"
    described = sweep_status(sweep, store)
    assert (described["failed"], described["pending"], described["done"]) == (1, 1, 0)
    assert format_status(described)[1].endswith("attempt 1: OSError: disk on fire")
    assert known_runs(store) == {run}
    assert "OSError: disk on fire" in trial_details(run, store)["failure"]["traceback"]


def test_a_heartbeat_tells_what_is_running(sweep: Sweep, clock: SimpleNamespace, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    run = next(iter(sweep.trials))
    with Lease("two", store, print).acquire() as lease:
        seen = progress.ProgressCallback("two", compute_state(build_graph(sweep.trials), store), store, lease=lease)
        seen.on_trial_start(0, [], trial(run))
        seen.on_trial_result(0, [], trial(run), {"epoch": 1, "epochs": 4})
        clock.seconds += 60
        seen.on_step_end(1, [])
        lease.renew()
        described = sweep_status(sweep, store)
        assert (described["running"], described["pending"], described["alive"]) == (1, 1, True)
        assert format_status(described)[1] == f"  running {run} ({sweep.trials[run]}): epoch 1 of 4"
    assert sweep_status(sweep, store)["running"] == 0


def test_a_journal_that_cannot_be_written_stops_nothing(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(str(tmp_path))
    seen = progress.ProgressCallback("two", compute_state(build_graph(sweep.trials), store), store)

    def full(path: str, content: bytes) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(store, "write", full)
    with seen:
        pass
    assert "no space left on device" in caplog.text


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (190, "3 min 10 s"), (7500, "2 h 05 min")]
)
def test_durations(seconds: float, said: str) -> None:
    assert format_duration(seconds) == said
