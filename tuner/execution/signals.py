"""Conversion of stop signals (SIGINT, SIGTERM, SIGHUP) into an orderly stop of the sweep."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

from sparsweep.tuner.execution import tune_adapter

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """Raised after a signal stopped the sweep in order. Finished runs are kept; the sweep can be resumed."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Convert SIGINT, SIGTERM and SIGHUP into Tune's orderly stop. Yield the list of received signals.

    Enter this context before ``ray.init``, which takes several seconds, and again after it, because its SIGTERM handler
    exits at once. While Tune runs, the first signal stops it in order. Before that, and at a second signal, Stopped is
    raised at once. An ignored SIGHUP (``nohup``) stays ignored, so the sweep continues without its terminal.
    """
    received: list[int] = []

    def stop(signum: int, frame: Any) -> None:
        received.append(signum)
        if len(received) > 1 or not tune_adapter.can_stop():
            raise Stopped(signum)
        tune_adapter.request_stop()

    handled = [signum for signum in STOPPING if signal.getsignal(signum) is not signal.SIG_IGN]
    previous = {signum: signal.signal(signum, stop) for signum in handled}
    try:
        yield received
    finally:
        tune_adapter.reset_stop()
        for signum, handler in previous.items():
            signal.signal(signum, handler)
