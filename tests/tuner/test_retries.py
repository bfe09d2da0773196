"""Who is to blame for a failure, how often and how late a run is tried again, and how a hanging one is ended."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, NodeDiedError, RayActorError, RayTaskError

from sparsweep.trainables.storage.store import ArtifactLost
from sparsweep.trainables.trainable import CalledExit
from sparsweep.trainables.training.trainer import DivergedError
from sparsweep.tuner.execution import timeout, tune_adapter
from sparsweep.tuner.execution.retries import RetryPolicy, TrialTimeout
from sparsweep.tuner.execution.tune_adapter import RunTrial
from sparsweep.tuner.ray_errors import is_lost_node, summarize

NODE_DIED = RayActorError(error_msg="The actor died because its node has died. Node Id: e8")
PREEMPTED = RayActorError(preempted=True)
WORKER_DIED = RayActorError(error_msg="The actor is dead because its worker process has died: killed by the OOM killer")


def raised(error: Exception) -> RayTaskError:
    """As Ray hands on what a worker raised."""
    return RayTaskError("step", f"Traceback\n{error!r}", error)


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (NODE_DIED, True),
        (PREEMPTED, True),
        (NodeDiedError("unreachable"), True),
        (ActorUnavailableError("connection reset", None), True),
        (WORKER_DIED, False),
        (ActorDiedError(raised(ImportError("no module"))), False),
        (raised(OSError("full")), False),
        (TrialTimeout("slow"), False),
    ],
)
def test_only_the_loss_of_a_machine_is_nobodys_fault(error: Exception, lost: bool) -> None:
    assert is_lost_node(error) is lost
    retries = RetryPolicy(limit=0)
    retries.add(error)
    assert (retries.errors, retries.losses) == ((0, 1) if lost else (1, 0))
    assert retries.should_retry is lost


def test_errors_have_an_end_and_losses_have_none() -> None:
    retries = RetryPolicy(limit=2)
    seen = []
    for error in [WORKER_DIED, *[PREEMPTED] * 50, raised(OSError("full")), NODE_DIED, WORKER_DIED]:
        retries.add(error)
        seen.append(retries.should_retry)
    assert seen == [True] * 53 + [False]


def test_each_wait_is_twice_the_last_up_to_a_minute() -> None:
    retries, waits = RetryPolicy(limit=2), []
    for error in (WORKER_DIED, *[NODE_DIED] * 7):
        retries.add(error)
        waits.append(retries.delay_s)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize(
    ("error", "again"),
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
def test_what_comes_out_the_same_is_not_tried_again(error: Exception, again: bool) -> None:
    retries = RetryPolicy(limit=2)
    retries.add(raised(error))
    assert retries.should_retry is again


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (raised(OSError("no space\nleft")), "OSError: no space"),
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
def test_an_error_is_a_line(error: Exception | None, words: str) -> None:
    assert summarize(error) == words


def trial() -> Any:
    made = RunTrial("sparse", trial_id="abc", config={"run": "abc"}, max_failures=1, stub=True)
    made.temporary_state.ray_actor = "its worker"
    return made


def test_a_trial_keeps_its_error_and_waits_before_it_is_tried_again() -> None:
    tried = trial()
    tried.handle_error(WORKER_DIED)
    assert (tried.error, tried.should_recover(), tried.config) == (WORKER_DIED, True, {"run": "abc", "wait": 1})
    tried.handle_error(WORKER_DIED)
    assert (tried.should_recover(), tried.config["wait"]) == (False, 2)


def test_patience_ends_what_is_silent_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    now, killed = SimpleNamespace(seconds=0.0), []
    monkeypatch.setattr(timeout.time, "monotonic", lambda: now.seconds)
    monkeypatch.setattr(tune_adapter.ray, "kill", killed.append)
    watched, silent, talks, ended = timeout.EpochTimeout(10), trial(), trial(), trial()
    silent.config["wait"] = 5.0
    for one in (silent, talks, ended):
        watched.on_trial_start(0, [], one)
    now.seconds = 9
    watched.on_trial_result(0, [], talks, {})
    watched.on_trial_complete(0, [], ended)
    now.seconds = 15
    watched.on_step_end(0, [])
    assert killed == []
    now.seconds = 15.5  # ten seconds after its wait
    watched.on_step_end(0, [])
    watched.on_step_end(0, [])
    assert killed == ["its worker"]
    silent.handle_error(WORKER_DIED)
    assert isinstance(silent.error, TrialTimeout) and silent.should_recover() and silent.kill_reason is None
    silent.handle_error(WORKER_DIED)
    assert silent.error is WORKER_DIED and not silent.should_recover()
