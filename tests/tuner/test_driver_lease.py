"""One driver a sweep: who was first, who is alive, who has lost it, and what a dead one leaves."""

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
    """Time that passes only where somebody sleeps; ``meanwhile`` is what happens then, second by second."""
    now = SimpleNamespace(seconds=0.0, meanwhile=lambda seconds: None)

    def sleep(seconds: float) -> None:
        now.seconds += seconds
        now.meanwhile(now.seconds)

    monkeypatch.setattr(driver_lease.time, "monotonic", lambda: now.seconds)
    monkeypatch.setattr(driver_lease.time, "sleep", sleep)
    return now


@pytest.fixture
def lease(store: Store) -> Iterator[Callable[..., Lease]]:
    """Leases whose thread never beats by itself: the tests renew them."""
    yield lambda name="mine": Lease(name, store, losses.append)
    losses.clear()


losses: list[str] = []


def say(store: Store, at: datetime | None = None, beat: int = 0, **driver: Any) -> None:
    """What another driver would have said."""
    other = {**driver_lease._this_process(), "id": "another", "machine": "of others", "host": "elsewhere", **driver}
    content = {"at": (at or datetime.now(UTC)).isoformat(), "driver": other, "beat": beat, "seconds_left": 3.0}
    store.write(PATH, json.dumps({**content, "running": {"abc": {"epoch": 1, "epochs": 2}}}).encode())


def of_here(pid: int) -> dict[str, Any]:
    """A process of this machine as a driver."""
    return {"machine": driver_lease._node_id(), "pid": pid, "started": driver_lease._start_time(pid)}


def dead_process() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_first_driver_has_the_sweep_until_it_ends(store: Store, lease: Callable[..., Lease]) -> None:
    with lease().acquire() as mine:
        assert read_live_lease("mine", store) is not None
        mine.report({"abc": {"epoch": 1, "epochs": 2}}, 7.0)
        mine.renew()
        word = read_live_lease("mine", store)
        assert word is not None and (word.beat, word.running["abc"]["epoch"], word.seconds_left) == (1, 1, 7.0)
    assert read_lease("mine", store) is None


def test_a_process_of_this_machine_is_believed_as_long_as_it_is_there(
    store: Store, lease: Callable[..., Lease], clock: SimpleNamespace
) -> None:
    """However long ago it spoke: it may have been stopped, and goes on."""
    say(store, NOW, **of_here(os.getppid()))
    with pytest.raises(SweepAlreadyRunning, match=f"mine is being run here by process {os.getppid()} on elsewhere"):
        lease().acquire()
    assert clock.seconds == 0, "no need to wait and see"
    assert read_live_lease("mine", store) is not None


def test_a_dead_process_of_this_machine_is_no_hindrance(store: Store, lease: Callable[..., Lease]) -> None:
    say(store, **of_here(dead_process()))
    assert read_live_lease("mine", store) is None
    lease().acquire()


def test_another_process_of_the_same_number_is_not_the_driver(store: Store, lease: Callable[..., Lease]) -> None:
    say(store, **{**of_here(os.getppid()), "started": "1"})
    assert read_live_lease("mine", store) is None
    lease().acquire()


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(seconds=90), timedelta(seconds=-90), timedelta(days=1)])
def test_a_driver_elsewhere_is_alive_if_its_word_changes_whatever_its_clock_says(
    ahead: timedelta, store: Store, lease: Callable[..., Lease], clock: SimpleNamespace
) -> None:
    say(store, datetime.now(UTC) + ahead)
    clock.meanwhile = lambda seconds: say(store, datetime.now(UTC) + ahead, beat=int(seconds // 5))
    with pytest.raises(SweepAlreadyRunning, match="on elsewhere"):
        lease().acquire()
    assert clock.seconds <= 6, "the next heartbeat is enough"
    word = read_live_lease("mine", store)
    assert word is not None and word.running == {"abc": {"epoch": 1, "epochs": 2}}


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(seconds=90), timedelta(days=-1), timedelta(days=1)])
def test_a_driver_elsewhere_whose_word_stays_the_same_is_dead_whatever_its_clock_says(
    ahead: timedelta, store: Store, lease: Callable[..., Lease], clock: SimpleNamespace
) -> None:
    say(store, datetime.now(UTC) + ahead)
    refuse_if_driven("mine", store)
    assert clock.seconds == pytest.approx(driver_lease.TIMEOUT_SECONDS, abs=1)
    lease().acquire()


def test_a_word_from_the_future_is_not_shown_as_alive(store: Store) -> None:
    say(store, datetime.now(UTC) + timedelta(days=1))
    assert read_live_lease("mine", store) is None


def test_an_old_word_costs_status_no_time(store: Store, clock: SimpleNamespace) -> None:
    say(store, datetime.now(UTC) - timedelta(days=1))
    assert read_live_lease("mine", store) is None
    assert clock.seconds == 0


def test_a_driver_that_ends_while_another_waits_leaves_the_sweep_at_once(
    store: Store, lease: Callable[..., Lease], clock: SimpleNamespace
) -> None:
    say(store)
    clock.meanwhile = lambda seconds: store.delete(PATH)
    lease().acquire()
    assert clock.seconds < 3


def test_of_two_that_begin_at_once_the_later_word_counts(
    store: Store, lease: Callable[..., Lease], clock: SimpleNamespace
) -> None:
    clock.meanwhile = lambda seconds: say(store)
    with pytest.raises(SweepAlreadyRunning, match="on elsewhere, which started at the same time"):
        lease().acquire()


def test_who_finds_another_owner_at_a_heartbeat_has_lost_and_writes_no_more(
    store: Store, lease: Callable[..., Lease]
) -> None:
    """However late the other's word came: a slow storage, a process that was stopped in between."""
    with lease().acquire() as mine:
        say(store)
        mine.renew()
        mine.renew()
        assert mine.is_lost
        assert losses == [f"mine was taken over by process {os.getpid()} on elsewhere. This driver exits."]
    word = read_lease("mine", store)
    assert word is not None and word.driver["id"] == "another", "its end takes nobody else's word away"


def test_a_word_that_is_gone_was_taken_over_too(store: Store, lease: Callable[..., Lease]) -> None:
    """By a driver that ended while this one was stopped."""
    with lease().acquire() as mine:
        store.delete(PATH)
        mine.renew()
        assert mine.is_lost and "a driver that has exited since" in losses[0]
    assert read_lease("mine", store) is None


def test_heartbeats_need_no_training(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray may take minutes to start."""
    monkeypatch.setattr(driver_lease, "HEARTBEAT_SECONDS", 0.01)
    third = threading.Event()
    write = store.write

    def counted(path: str, content: bytes) -> None:
        write(path, content)
        if path == PATH and json.loads(content)["beat"] >= 3:
            third.set()

    monkeypatch.setattr(store, "write", counted)
    with Lease("mine", store, losses.append).acquire():
        assert third.wait(30)
    assert read_lease("mine", store) is None


def test_a_storage_that_is_away_for_a_while_ends_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(driver_lease, "HEARTBEAT_SECONDS", 0.01)
    back = threading.Event()
    write, failures = store.write, iter(range(3))

    def sometimes(path: str, content: bytes) -> None:
        if json.loads(content)["beat"] and next(failures, None) is not None:
            raise OSError("no answer")
        write(path, content)
        if json.loads(content)["beat"]:
            back.set()

    monkeypatch.setattr(store, "write", sometimes)
    with Lease("mine", store, losses.append).acquire() as mine:
        assert back.wait(30) and not mine.is_lost
    assert "no answer" in caplog.text and losses == []


def test_taking_over_ends_a_living_driver(store: Store, lease: Callable[..., Lease], clock: SimpleNamespace) -> None:
    say(store, **of_here(os.getppid()))
    lease().acquire(take_over=True)
    word = read_lease("mine", store)
    assert word is not None and word.driver["pid"] == os.getpid()
    assert clock.seconds > driver_lease.HEARTBEAT_SECONDS, "the other has seen it"


def test_other_sweeps_of_a_storage_are_their_own(store: Store, lease: Callable[..., Lease]) -> None:
    say(store)
    lease("other").acquire()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"3", b'{"at": 3}', b'{"at": "2024-05-06", "driver": {"pid": "x"}}', b"\xff\xfe"],
)
def test_a_damaged_word_counts_as_none(content: bytes, store: Store, lease: Callable[..., Lease]) -> None:
    store.write(PATH, content)
    assert read_lease("mine", store) is None and read_live_lease("mine", store) is None
    lease().acquire()
    assert read_lease("mine", store) is not None


@pytest.mark.parametrize("field", ["beat", "at"])
def test_a_word_with_a_field_of_another_type_counts_as_none(field: str, store: Store) -> None:
    say(store)
    content = json.loads(store.read(PATH) or b"")
    for wrong in ("x", [1], {"a": "b"}):
        store.write(PATH, json.dumps({**content, field: wrong}).encode())
        assert read_lease("mine", store) is None


def test_a_word_that_cannot_be_taken_back_is_left(
    store: Store, lease: Callable[..., Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise OSError("read-only file system")

    with lease().acquire():
        monkeypatch.setattr(store, "delete", refuse)
    assert read_lease("mine", store) is not None


def test_a_file_is_created_once(tmp_path: Path) -> None:
    target = tmp_path / "folder/file"
    atomic_create(str(target), b"first")
    with pytest.raises(FileExistsError):
        atomic_create(str(target), b"second")
    assert target.read_bytes() == b"first" and list(target.parent.iterdir()) == [target]


def test_a_driver_killed_between_its_word_and_its_record_breaks_nothing(
    store: Store, call: Callable[..., tuple[int, str, str]]
) -> None:
    from sparsweep.tuner.state import sweep_record

    sweep_record.save_sweep(read_sweep("smoke"), store)
    say(store, **of_here(dead_process()))
    place = ("--storage", store.storage)
    code, out, _ = call("status", *place)
    assert code == 0 and out.startswith("smoke: 12 trials")
    assert call("gc", *place)[0] == 0
