"""What a run says is kept with the results: epochs, warnings, log records, errors, of every attempt."""

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


def written(store: Store) -> str:
    return (store.read("logs/abc.txt") or b"").decode()


def test_every_epoch_is_told_once(store: Store) -> None:
    log, history = RunLog("abc", store), [epoch(1), epoch(2)]
    with log.capture():
        log.log_start("set 0.8 on digits", "CPU", Progress(0, 3, None), [])
        log.log_epochs(Progress(2, 3, history[-1]), history)
    with log.capture():
        log.log_epochs(Progress(3, 3, epoch(3)), [*history, epoch(3)])
    lines = [line.partition(" ")[2] for line in written(store).splitlines()]
    assert lines[0].startswith("set 0.8 on digits on ") and lines[-1] == "finished"
    assert lines[1:-1] == [
        f"epoch {number}: lr 0.1, train_loss 2, train_accuracy 0.25, density 0.2" for number in (1, 2, 3)
    ]


def test_a_second_attempt_adds_to_the_first(store: Store) -> None:
    with RunLog("abc", store).capture():
        pass
    first = RunLog("abc", store)
    with first.capture():
        first.write_line("one")
    second = RunLog("abc", store)
    with second.capture():
        second.log_start("it", "CPU", Progress(2, 4, epoch(2)), [epoch(1), epoch(2)])
        second.log_epochs(Progress(3, 4, epoch(3)), [epoch(1), epoch(2), epoch(3)])
    assert written(store).splitlines()[0].endswith(" one")
    assert "from its checkpoint after epoch 2" in written(store)
    assert written(store).count("epoch 3:") == 1 and "epoch 1:" not in written(store)


def test_records_and_warnings_are_heard_while_it_runs(store: Store) -> None:
    log = RunLog("abc", store)
    with log.capture():
        logging.getLogger("sparsweep.trainables.storage.store").warning("a checkpoint was %s", "torn")
        warnings.warn("look here", stacklevel=1)
    logging.getLogger("sparsweep.trainables.storage.store").warning("of somebody else")
    assert "warning: a checkpoint was torn" in written(store)
    assert "warning: look here" in written(store)
    assert "somebody else" not in written(store)


def test_an_error_leaves_its_traceback(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), RunLog("abc", store).capture():
        _ = 1 / 0
    assert "Traceback" in written(store) and "ZeroDivisionError: division by zero" in written(store)


def test_a_log_that_cannot_be_written_stops_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: str, content: bytes) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(store, "write", full)
    with RunLog("abc", store).capture():
        pass
