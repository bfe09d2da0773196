"""Log file of a run: epochs, warnings, log records and errors of every attempt."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import pytest

from sparsweep.trainables.runs.base import Progress
from sparsweep.trainables.runs.run_log import RunLog
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.training.trainer import EpochMetrics


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def epoch(number: int) -> EpochMetrics:
    return EpochMetrics(number, 0.1, 2.0, 0.25, None, 0.2, 1.0)


def log_text(store: Store) -> str:
    return (store.read("logs/abc.txt") or b"").decode()


def test_every_epoch_is_logged_once(store: Store) -> None:
    log, history = RunLog("abc", store), [epoch(1), epoch(2)]
    with log.capture():
        log.log_start("set 0.8 on digits", "CPU", Progress(0, 3, None), [])
        log.log_epochs(Progress(2, 3, history[-1]), history)
    with log.capture():
        log.log_epochs(Progress(3, 3, epoch(3)), [*history, epoch(3)])
    lines = [line.partition(" ")[2] for line in log_text(store).splitlines()]
    assert lines[0].startswith("set 0.8 on digits on ") and lines[-1] == "finished"
    assert lines[1:-1] == [
        f"epoch {number}: lr 0.1, train_loss 2, train_accuracy 0.25, density 0.2" for number in (1, 2, 3)
    ]


def test_second_attempt_appends_to_the_log(store: Store) -> None:
    with RunLog("abc", store).capture():
        pass
    first = RunLog("abc", store)
    with first.capture():
        first.write_line("one")
    second = RunLog("abc", store)
    with second.capture():
        second.log_start("it", "CPU", Progress(2, 4, epoch(2)), [epoch(1), epoch(2)])
        second.log_epochs(Progress(3, 4, epoch(3)), [epoch(1), epoch(2), epoch(3)])
    assert log_text(store).splitlines()[0].endswith(" one")
    assert "from its checkpoint after epoch 2" in log_text(store)
    assert log_text(store).count("epoch 3:") == 1 and "epoch 1:" not in log_text(store)


def test_log_records_and_warnings_are_captured_during_the_run(store: Store) -> None:
    log = RunLog("abc", store)
    with log.capture():
        logging.getLogger("sparsweep.trainables.storage.store").warning("a checkpoint was %s", "torn")
        warnings.warn("careful", stacklevel=1)
    logging.getLogger("sparsweep.trainables.storage.store").warning("from another run")
    assert "warning: a checkpoint was torn" in log_text(store)
    assert "warning: careful" in log_text(store)
    assert "another run" not in log_text(store)


def test_traceback_of_an_error_is_logged(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), RunLog("abc", store).capture():
        _ = 1 / 0
    assert "Traceback" in log_text(store) and "ZeroDivisionError: division by zero" in log_text(store)


def test_failed_write_of_the_log_raises_no_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: str, content: bytes) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(store, "write", full)
    with RunLog("abc", store).capture():
        pass
