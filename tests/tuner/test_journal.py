"""One driver a sweep: who was first, who is alive, and what a dead one leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from trainables.store import Store
from tuner import journal

PATH = "sweeps/mine/driver.json"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def say(store: Store, at: datetime | None = None, **driver: Any) -> None:
    """What another driver would have said."""
    content = {
        "at": (at or datetime.now(UTC)).isoformat(),
        "driver": {**journal.DRIVER, **driver},
        "running": {"abc": {"epoch": 1, "epochs": 2}},
    }
    store.write(PATH, json.dumps(content).encode())


def dead_process() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_first_driver_has_the_sweep(store: Store) -> None:
    journal.claim("mine", store)
    assert journal.is_alive("mine", store)
    journal.claim("mine", store)  # again, by the same process
    journal.end_heartbeat("mine", store)
    assert not journal.is_alive("mine", store)


def test_a_second_driver_is_refused_and_told_where_the_first_is(store: Store) -> None:
    say(store, pid=os.getppid())
    with pytest.raises(journal.Busy, match=f"mine is being run here by process {os.getppid()} on "):
        journal.claim("mine", store)
    assert journal.running("mine", store) == {"abc": {"epoch": 1, "epochs": 2}}  # its word is still there


def test_a_driver_on_another_machine_is_believed(store: Store) -> None:
    say(store, host="elsewhere", pid=dead_process())
    with pytest.raises(journal.Busy, match="on elsewhere"):
        journal.claim("mine", store)


def test_a_killed_driver_on_this_machine_is_no_hindrance(store: Store) -> None:
    say(store, pid=dead_process())
    assert journal.running("mine", store) == {}
    journal.claim("mine", store)


def test_a_silent_driver_is_taken_for_dead(store: Store) -> None:
    say(store, datetime.now(UTC) - 2 * journal.ALIVE, host="elsewhere")
    journal.claim("mine", store)


def test_of_two_that_begin_at_once_the_later_word_counts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between this driver's word and its second look another one wrote."""
    monkeypatch.setattr("time.sleep", lambda seconds: say(store, host="elsewhere"))
    with pytest.raises(journal.Busy, match="on elsewhere"):
        journal.claim("mine", store)


def test_other_sweeps_of_a_storage_are_their_own(store: Store) -> None:
    say(store, host="elsewhere")
    journal.claim("other", store)


def test_a_silence_is_longer_than_several_heartbeats() -> None:
    from tuner.watch import HEARTBEAT_SECONDS

    assert timedelta(seconds=5 * HEARTBEAT_SECONDS) < journal.ALIVE


def test_a_word_that_cannot_be_taken_back_is_left(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise OSError("read-only file system")

    journal.claim("mine", store)
    monkeypatch.setattr(store, "delete", refuse)
    journal.end_heartbeat("mine", store)
    assert journal.is_alive("mine", store)  # until it has been silent for long enough
