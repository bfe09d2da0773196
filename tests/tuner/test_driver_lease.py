"""One driver per sweep: the first driver, running drivers, lost leases and leases of dead drivers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sparsweep.trainables.storage.filesystem import atomic_create
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.sweep import read_sweep
from sparsweep.tuner.state import driver_lease
from sparsweep.tuner.state.driver_lease import Lease, SweepAlreadyRunning, read_lease, read_live_lease, refuse_if_driven

PATH = "sweeps/mine/driver.json"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Fake clock that advances only in ``sleep``, which then calls ``meanwhile`` with the current time in seconds."""
    now = SimpleNamespace(seconds=0.0, meanwhile=lambda seconds: None)

    def sleep(seconds: float) -> None:
        now.seconds += seconds
        now.meanwhile(now.seconds)

    monkeypatch.setattr(driver_lease.time, "monotonic", lambda: now.seconds)
    monkeypatch.setattr(driver_lease.time, "sleep", sleep)
    return now


@pytest.fixture
def lease(store: Store) -> Iterator[Callable[..., Lease]]:
    """Constructor of leases. No heartbeat is due during a test, so tests renew the leases themselves."""
    yield lambda name="mine": Lease(name, store, losses.append)
    losses.clear()


losses: list[str] = []


def write_other_lease(store: Store, at: datetime | None = None, beat: int = 0, **driver: Any) -> None:
    """Write the lease of another driver."""
    other = {**driver_lease._this_process(), "id": "another", "machine": "of others", "host": "elsewhere", **driver}
    content = {"at": (at or datetime.now(UTC)).isoformat(), "driver": other, "beat": beat, "seconds_left": 3.0}
    store.write(PATH, json.dumps({**content, "running": {"abc": {"epoch": 1, "epochs": 2}}}).encode())


def local_driver(pid: int) -> dict[str, Any]:
    """Return the driver fields of a process on this machine."""
    return {"machine": driver_lease._node_id(), "pid": pid, "started": driver_lease._start_time(pid)}


def dead_process() -> int:
    """Return the id of a process that has exited."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_first_driver_holds_the_lease_until_it_exits(store: Store, lease: Callable[..., Lease]) -> None:
    with lease().acquire() as held:
        assert read_live_lease("mine", store) is not None
        held.report({"abc": {"epoch": 1, "epochs": 2}}, 7.0)
        held.renew()
        state = read_live_lease("mine", store)
        assert state is not None and (state.beat, state.running["abc"]["epoch"], state.seconds_left) == (1, 1, 7.0)
    assert read_lease("mine", store) is None


def test_driver_on_this_machine_is_alive_while_its_process_exists(
    store: Store, lease: Callable[..., Lease], clock: SimpleNamespace
) -> None:
    """The age of the heartbeat does not matter, because a suspended process can continue."""
    write_other_lease(store, NOW, **local_driver(os.getppid()))
    with pytest.raises(SweepAlreadyRunning, match=f"mine is being run here by process {os.getppid()} on elsewhere"):
        lease().acquire()
    assert clock.seconds == 0, "the process id is sufficient, no waiting"
    assert read_live_lease("mine", store) is not None


def test_lease_of_a_dead_process_on_this_machine_is_ignored(store: Store, lease: Callable[..., Lease]) -> None:
    write_other_lease(store, **local_driver(dead_process()))
    assert read_live_lease("mine", store) is None
    lease().acquire()


def test_process_with_a_reused_id_is_not_the_driver(store: Store, lease: Callable[..., Lease]) -> None:
    write_other_lease(store, **{**local_driver(os.getppid()), "started": "1"})
    assert read_live_lease("mine", store) is None
    lease().acquire()


@pytest.mark.parametrize(
    "clock_offset", [timedelta(0), timedelta(seconds=90), timedelta(seconds=-90), timedelta(days=1)]
)
def test_remote_driver_is_alive_if_its_lease_changes(
    clock_offset: timedelta, store: Store, lease: Callable[..., Lease], clock: SimpleNamespace
) -> None:
    write_other_lease(store, datetime.now(UTC) + clock_offset)
    clock.meanwhile = lambda seconds: write_other_lease(store, datetime.now(UTC) + clock_offset, beat=int(seconds // 5))
    with pytest.raises(SweepAlreadyRunning, match="on elsewhere"):
        lease().acquire()
    assert clock.seconds <= 6, "one further heartbeat is sufficient"
    state = read_live_lease("mine", store)
    assert state is not None and state.running == {"abc": {"epoch": 1, "epochs": 2}}


@pytest.mark.parametrize("clock_offset", [timedelta(0), timedelta(seconds=90), timedelta(days=-1), timedelta(days=1)])
def test_remote_driver_is_dead_if_its_lease_does_not_change(
    clock_offset: timedelta, store: Store, lease: Callable[..., Lease], clock: SimpleNamespace
) -> None:
    write_other_lease(store, datetime.now(UTC) + clock_offset)
    refuse_if_driven("mine", store)
    assert clock.seconds == pytest.approx(driver_lease.TIMEOUT_SECONDS, abs=1)
    lease().acquire()


def test_lease_from_the_future_is_not_alive(store: Store) -> None:
    write_other_lease(store, datetime.now(UTC) + timedelta(days=1))
    assert read_live_lease("mine", store) is None


def test_status_does_not_wait_for_an_old_lease(store: Store, clock: SimpleNamespace) -> None:
    write_other_lease(store, datetime.now(UTC) - timedelta(days=1))
    assert read_live_lease("mine", store) is None
    assert clock.seconds == 0


def test_lease_deleted_while_waiting_is_acquired_at_once(
    store: Store, lease: Callable[..., Lease], clock: SimpleNamespace
) -> None:
    write_other_lease(store)
    clock.meanwhile = lambda seconds: store.delete(PATH)
    lease().acquire()
    assert clock.seconds < 3


def test_second_writer_wins_if_two_drivers_start_together(
    store: Store, lease: Callable[..., Lease], clock: SimpleNamespace
) -> None:
    clock.meanwhile = lambda seconds: write_other_lease(store)
    with pytest.raises(SweepAlreadyRunning, match="on elsewhere, which started at the same time"):
        lease().acquire()


def test_driver_that_reads_another_owner_loses_the_lease_and_stops_writing(
    store: Store, lease: Callable[..., Lease]
) -> None:
    """The other lease may come late, after a slow write or a suspended process."""
    with lease().acquire() as held:
        write_other_lease(store)
        held.renew()
        held.renew()
        assert held.is_lost
        assert losses == [f"mine was taken over by process {os.getpid()} on elsewhere. This driver exits."]
    state = read_lease("mine", store)
    assert state is not None and state.driver["id"] == "another", (
        "the lost driver must not delete the lease of the new one"
    )


def test_deleted_lease_counts_as_taken_over(store: Store, lease: Callable[..., Lease]) -> None:
    with lease().acquire() as held:
        store.delete(PATH)
        held.renew()
        assert held.is_lost and "a driver that has exited since" in losses[0]
    assert read_lease("mine", store) is None


def test_heartbeats_do_not_depend_on_training(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease is renewed before training starts, since Ray may take minutes to start."""
    monkeypatch.setattr(driver_lease, "HEARTBEAT_SECONDS", 0.01)
    third_heartbeat = threading.Event()
    write = store.write

    def write_and_count(path: str, content: bytes) -> None:
        write(path, content)
        if path == PATH and json.loads(content)["beat"] >= 3:
            third_heartbeat.set()

    monkeypatch.setattr(store, "write", write_and_count)
    with Lease("mine", store, losses.append).acquire():
        assert third_heartbeat.wait(30)
    assert read_lease("mine", store) is None


def test_temporary_storage_errors_do_not_lose_the_lease(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(driver_lease, "HEARTBEAT_SECONDS", 0.01)
    recovered = threading.Event()
    write, failures = store.write, iter(range(3))

    def fail_three_times(path: str, content: bytes) -> None:
        if json.loads(content)["beat"] and next(failures, None) is not None:
            raise OSError("no answer")
        write(path, content)
        if json.loads(content)["beat"]:
            recovered.set()

    monkeypatch.setattr(store, "write", fail_three_times)
    with Lease("mine", store, losses.append).acquire() as held:
        assert recovered.wait(30) and not held.is_lost
    assert "no answer" in caplog.text and losses == []


def test_take_over_replaces_a_running_driver(store: Store, lease: Callable[..., Lease], clock: SimpleNamespace) -> None:
    write_other_lease(store, **local_driver(os.getppid()))
    lease().acquire(take_over=True)
    state = read_lease("mine", store)
    assert state is not None and state.driver["pid"] == os.getpid()
    assert clock.seconds > driver_lease.HEARTBEAT_SECONDS, "the other driver has had time for a heartbeat"


def test_leases_of_different_sweeps_are_independent(store: Store, lease: Callable[..., Lease]) -> None:
    write_other_lease(store)
    lease("other").acquire()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"3", b'{"at": 3}', b'{"at": "2024-05-06", "driver": {"pid": "x"}}', b"\xff\xfe"],
)
def test_damaged_lease_is_ignored(content: bytes, store: Store, lease: Callable[..., Lease]) -> None:
    store.write(PATH, content)
    assert read_lease("mine", store) is None and read_live_lease("mine", store) is None
    lease().acquire()
    assert read_lease("mine", store) is not None


@pytest.mark.parametrize("field", ["beat", "at"])
def test_lease_with_a_field_of_wrong_type_is_ignored(field: str, store: Store) -> None:
    write_other_lease(store)
    content = json.loads(store.read(PATH) or b"")
    for wrong in ("x", [1], {"a": "b"}):
        store.write(PATH, json.dumps({**content, field: wrong}).encode())
        assert read_lease("mine", store) is None


def test_lease_that_cannot_be_deleted_is_kept(
    store: Store, lease: Callable[..., Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise OSError("read-only file system")

    with lease().acquire():
        monkeypatch.setattr(store, "delete", refuse)
    assert read_lease("mine", store) is not None


def test_atomic_create_does_not_overwrite(tmp_path: Path) -> None:
    target = tmp_path / "folder/file"
    atomic_create(str(target), b"first")
    with pytest.raises(FileExistsError):
        atomic_create(str(target), b"second")
    assert target.read_bytes() == b"first" and list(target.parent.iterdir()) == [target]


def test_lease_without_a_run_record_fails_no_command(store: Store, call: Callable[..., tuple[int, str, str]]) -> None:
    from sparsweep.tuner.state import sweep_record

    sweep_record.save_sweep(read_sweep("smoke"), store)
    write_other_lease(store, **local_driver(dead_process()))
    storage_options = ("--storage", store.storage)
    code, out, _ = call("status", *storage_options)
    assert code == 0 and out.startswith("smoke: 12 trials")
    assert call("gc", *storage_options)[0] == 0
