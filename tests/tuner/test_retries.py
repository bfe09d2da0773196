"""Retries: lost nodes and errors, number and delay of retries, and the timeout of hanging runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, NodeDiedError, RayActorError, RayTaskError

from sparsweep.trainables.storage.artifacts import ArtifactLost
from sparsweep.trainables.trainable import CalledExit
from sparsweep.trainables.training.trainer import DivergedError
from sparsweep.tuner.execution import timeout, tune_adapter
from sparsweep.tuner.execution.retries import RetryPolicy, TrialTimeout
from sparsweep.tuner.execution.tune_adapter import RunTrial
from sparsweep.tuner.ray_errors import is_lost_node, summarize

NODE_DIED = RayActorError(error_msg="The actor died because its node has died. Node Id: e8")
PREEMPTED = RayActorError(preempted=True)
WORKER_DIED = RayActorError(error_msg="The actor is dead because its worker process has died: killed by the OOM killer")


def as_task_error(error: Exception) -> RayTaskError:
    """Return ``error`` in the form in which Ray raises a worker's error."""
    return RayTaskError("step", f"Traceback\n{error!r}", error)


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        (NODE_DIED, True),
        (PREEMPTED, True),
        (NodeDiedError("unreachable"), True),
        (ActorUnavailableError("connection reset", None), True),
        (WORKER_DIED, False),
        (ActorDiedError(as_task_error(ImportError("no module"))), False),
        (as_task_error(OSError("full")), False),
        (TrialTimeout("slow"), False),
    ],
)
def test_lost_nodes_do_not_count_as_errors(error: Exception, is_lost: bool) -> None:
    assert is_lost_node(error) is is_lost
    policy = RetryPolicy(limit=0)
    policy.add(error)
    assert (policy.errors, policy.losses) == ((0, 1) if is_lost else (1, 0))
    assert policy.should_retry is is_lost


def test_retries_are_limited_for_errors_but_not_for_lost_nodes() -> None:
    policy = RetryPolicy(limit=2)
    decisions = []
    for error in [WORKER_DIED, *[PREEMPTED] * 50, as_task_error(OSError("full")), NODE_DIED, WORKER_DIED]:
        policy.add(error)
        decisions.append(policy.should_retry)
    assert decisions == [True] * 53 + [False]


def test_retry_delay_doubles_up_to_one_minute() -> None:
    policy, waits = RetryPolicy(limit=2), []
    for error in (WORKER_DIED, *[NODE_DIED] * 7):
        policy.add(error)
        waits.append(policy.delay_s)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize(
    ("error", "should_retry"),
    [
        (DivergedError("the training loss is nan in epoch 3"), False),
        (TypeError("unsupported operand"), False),
        (KeyError("conv1"), False),
        (ArtifactLost("the weights of abc are gone"), False),
        (AttributeError("no such"), False),
        (ZeroDivisionError(), False),
        (UnboundLocalError("x"), False),
        (NotImplementedError(), False),
        (ModuleNotFoundError("scipy"), False),
        (CalledExit("sys.exit(0)"), False),
        (RuntimeError("CUDA error"), True),
        (MemoryError(), True),
        (OSError("full"), True),
        (ConnectionResetError(), True),
        (pa.ArrowInvalid("a read from a bucket was cut short"), True),
    ],
)
def test_deterministic_errors_are_not_retried(error: Exception, should_retry: bool) -> None:
    policy = RetryPolicy(limit=2)
    policy.add(as_task_error(error))
    assert policy.should_retry is should_retry


@pytest.mark.parametrize(
    ("error", "summary"),
    [
        (as_task_error(OSError("no space\nleft")), "OSError: no space"),
        (TrialTimeout("no epoch"), "TrialTimeout: no epoch"),
        (ValueError(""), "ValueError: "),
        (
            RuntimeError('Traceback (most recent call last):\n  File "x", line 1\n    f()\nKeyError: one\ntwo\n'),
            "KeyError: one",
        ),
        (RuntimeError('Traceback (most recent call last):\n  File "x", line 1\n    f()\n'), "    f()"),
        (RuntimeError("Traceback (most recent call last):"), "RuntimeError"),
        (None, "unknown error"),
    ],
)
def test_errors_are_summarized_in_one_line(error: Exception | None, summary: str) -> None:
    assert summarize(error) == summary


def trial() -> Any:
    new_trial = RunTrial("sparse", trial_id="abc", config={"run": "abc"}, max_failures=1, stub=True)
    new_trial.temporary_state.ray_actor = "its worker"
    return new_trial


def test_trial_keeps_its_error_and_gets_a_retry_delay() -> None:
    failing = trial()
    failing.handle_error(WORKER_DIED)
    assert (failing.error, failing.should_recover(), failing.config) == (WORKER_DIED, True, {"run": "abc", "wait": 1})
    failing.handle_error(WORKER_DIED)
    assert (failing.should_recover(), failing.config["wait"]) == (False, 2)


def test_timeout_kills_a_silent_trial_and_records_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    now, killed = SimpleNamespace(seconds=0.0), []
    monkeypatch.setattr(timeout.time, "monotonic", lambda: now.seconds)
    monkeypatch.setattr(tune_adapter.ray, "kill", killed.append)
    epoch_timeout, silent, reporting, completed = timeout.EpochTimeout(10), trial(), trial(), trial()
    silent.config["wait"] = 5.0
    for started in (silent, reporting, completed):
        epoch_timeout.on_trial_start(0, [], started)
    now.seconds = 9
    epoch_timeout.on_trial_result(0, [], reporting, {})
    epoch_timeout.on_trial_complete(0, [], completed)
    now.seconds = 15
    epoch_timeout.on_step_end(0, [])
    assert killed == []
    now.seconds = 15.5  # 10 s timeout after a delay of 5 s
    epoch_timeout.on_step_end(0, [])
    epoch_timeout.on_step_end(0, [])
    assert killed == ["its worker"]
    silent.handle_error(WORKER_DIED)
    assert isinstance(silent.error, TrialTimeout) and silent.should_recover() and silent.kill_reason is None
    silent.handle_error(WORKER_DIED)
    assert silent.error is WORKER_DIED and not silent.should_recover()
