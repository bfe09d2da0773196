"""Monitor of Ray's node and control store. Detects their loss before Ray exits this process without a message."""

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
"""Function called in another thread with the name of a lost server. It must end the process."""


def leave(name: str) -> None:
    """End the process at once, because all calls of Ray may hang now, also its shutdown."""
    print_message(f"sparsweep: lost Ray's {name}")
    os._exit(2)


class Lifeline:
    """Monitor of servers with a timeout for each.

    Attributes:
        addresses: Host and port by name of the server.
        patience: Timeout in seconds by name. Ray's own timeouts are 15 s for its node and 60 s for its control store.
    """

    def __init__(self, addresses: Mapping[str, tuple[str, int]], patience: Mapping[str, float]) -> None:
        self.addresses, self.patience = addresses, patience
        self._silent_since: dict[str, float] = {}

    def look(self, now: float) -> str | None:
        """Connect to each server once. Return the name of a server that timed out, or None.

        Args:
            now: Current monotonic time in seconds.
        """
        for name, address in self.addresses.items():
            if answers(address):
                self._silent_since.pop(name, None)
            elif now - self._silent_since.setdefault(name, now) >= self.patience[name]:
                return name
        return None

    @contextlib.contextmanager
    def watched(self, lost: Lost) -> Iterator[None]:
        """Check the servers every second inside the context, and call ``lost`` when one timed out."""
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
    """Return whether a server accepts connections at ``address``. A stopped or busy process still does."""
    try:
        socket.create_connection(address, timeout=LOOK_SECONDS).close()
    except OSError:
        return False
    return True
