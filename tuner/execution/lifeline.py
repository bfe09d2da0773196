"""Notices that Ray is lost, its node or its control store, before Ray itself ends this process without a word."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from sparsweep.tuner.terminal import print_message

LOOK_SECONDS = 1.0
Lost = Callable[[str], None]
"""What is done, by another thread than the main one, when the named server is lost. It must end the process."""


def leave(name: str) -> None:
    """End the process: Ray's own calls may hang now, those that shut it down too."""
    print_message(f"sparsweep: Ray's {name} was lost")
    os._exit(2)


class Lifeline:
    """Servers that must answer, each with the seconds for which it may be silent.

    Attributes:
        addresses: Host and port by the name of a server.
        patience: Seconds by the same name. Ray gives up its node after 15 and its control store after 60.
    """

    def __init__(self, addresses: Mapping[str, tuple[str, int]], patience: Mapping[str, float]) -> None:
        self.addresses, self.patience = addresses, patience
        self._silent_since: dict[str, float] = {}

    def look(self, now: float) -> str | None:
        """Connect to each server once; return the name of one that has been silent for too long, if there is one."""
        for name, address in self.addresses.items():
            if answers(address):
                self._silent_since.pop(name, None)
            elif now - self._silent_since.setdefault(name, now) >= self.patience[name]:
                return name
        return None

    @contextlib.contextmanager
    def watched(self, lost: Lost) -> Iterator[None]:
        """Look every second meanwhile, and call ``lost`` once a server is."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(LOOK_SECONDS):
                name = self.look(time.monotonic())
                if name is not None and not ended.is_set():
                    lost(name)
                    return

        thread = threading.Thread(target=watch, name="lifeline", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()


def answers(address: tuple[str, int]) -> bool:
    """Return whether something takes connections there. A process that is stopped or busy still does."""
    try:
        socket.create_connection(address, timeout=LOOK_SECONDS).close()
    except OSError:
        return False
    return True
