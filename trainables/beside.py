"""A process with PyTorch beside one that does without: it computes what it is asked, one thing after the other.

It ends as soon as who asks has ended, however that came about, and when it has been asked nothing for a while.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

IDLE_SECONDS = 5
"""How long it waits for another question."""
ANSWER = "from trainables.beside import answer; answer({idle})"

ENDED = (EOFError, BrokenPipeError, pickle.UnpicklingError)
"""What becomes of pickles that a process no longer reads, or has not written to the end."""

_asking = threading.Lock()
_process: subprocess.Popen[bytes] | None = None


def ask(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """``function`` of these arguments, all of which, and the result, can be pickled; what it raises is raised here.

    RuntimeError if the process dies over it.
    """
    with _asking:
        for _ in range(2):  # the process may have ended, idle, this very moment: then another one is asked
            try:
                good, found = _exchange((function, args, kwargs))
                break
            except ENDED:
                continue
        else:
            raise RuntimeError(f"{function.__name__}: the process that was to compute it died")
    if not good:
        raise found
    return found


def _exchange(question: Any) -> tuple[bool, Any]:
    """Whether what was asked for could be computed, and the result, or what was raised instead."""
    global _process
    _process = _process or _start()
    assert _process.stdin is not None and _process.stdout is not None
    try:
        pickle.dump(question, _process.stdin)
        _process.stdin.flush()
        return pickle.load(_process.stdout)
    except BaseException:
        _drop()  # half a question, or an answer that nobody waited for, must not be taken for the next one's
        raise


def _start() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", ANSWER.format(idle=IDLE_SECONDS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
        start_new_session=True,  # Ctrl-C is meant for who asks
    )
    threading.Thread(target=process.wait, daemon=True).start()  # so that it is gone when it has ended
    return process


def _drop() -> None:
    global _process
    if _process is not None:
        _process.kill()
        with contextlib.suppress(BrokenPipeError), _process:
            pass  # closes its pipes, whatever of a question they still hold
    _process = None


def answer(idle: int) -> None:
    """Compute what is asked on standard input until that ends, or nothing is asked for ``idle`` seconds."""
    importlib.import_module("torch")
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what is printed is no answer
    while True:
        signal.alarm(idle)
        try:
            function, args, kwargs = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        signal.alarm(0)
        try:
            found = (True, function(*args, **kwargs))
        except Exception as error:
            found = (False, error)
        pickle.dump(found, answers)
        answers.flush()
