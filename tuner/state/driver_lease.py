"""One driver a sweep: ``sweeps/NAME/driver.json`` says who drives it, and changes with every heartbeat.

A driver takes the lease before it does anything, and a thread renews it from then on, whatever Ray and Tune do. Each
time it looks first: whoever finds another owner there has lost the sweep and ends. So two that began at once, or one
that was stopped for an hour while another took over, run together for a heartbeat at most. What they both write is the
same, bit for bit.

Whether a driver is alive is judged by its process where it is of this machine, else by whether its word changes.
Clocks of two machines may differ, so they decide nothing but what ``status`` shows without waiting.
"""

from __future__ import annotations

import json
import logging
import operator
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from pyarrow.fs import LocalFileSystem

from sparsweep.trainables.storage.filesystem import atomic_create
from sparsweep.trainables.storage.store import Store
from sparsweep.trainables.storage.tables import parse_json
from sparsweep.tuner.state.driver_report import valid_runs, valid_seconds
from sparsweep.tuner.terminal import print_message

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 5.0
TIMEOUT_SECONDS = 6 * HEARTBEAT_SECONDS
"""A word of another machine that stays the same for so long is that of a dead driver."""
LOCAL_SETTLE_SECONDS, BUCKET_SETTLE_SECONDS = 0.3, 2.0
"""Between writing a word and looking whether another driver that began at the same moment has written its own."""
MAX_PROCESSES = 2**31
"""Numbers of processes are less, on every system."""
LONG_AGO = timedelta(minutes=10)
"""Clocks of two machines do not differ by so much."""


class SweepAlreadyRunning(Exception):
    """Another driver runs the sweep in this storage."""


@dataclass(frozen=True)
class LeaseContent:
    """What a driver last wrote of a sweep.

    Attributes:
        driver: Who it is: ``id`` (of the process's lease), ``host``, ``machine``, ``pid`` and ``started``.
        beat: How many times it wrote before.
        at: When, by its own clock.
        running: The runs that it is running, by id: ``epoch`` of ``epochs`` and what else is known.
        seconds_left: What it expects to take, None if it does not know yet.
    """

    driver: Mapping[str, Any]
    beat: int
    at: datetime
    running: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seconds_left: float | None = None

    def __str__(self) -> str:
        return f"process {self.driver['pid']} on {self.driver['host']}"

    def to_json(self) -> bytes:
        """Return the content of the file."""
        return json.dumps({**vars(self), "at": self.at.isoformat()}).encode()


def read_lease(name: str, store: Store) -> LeaseContent | None:
    """Return the newest word of a sweep's driver, if there is any. A damaged one counts as none."""
    try:
        said = parse_json(store.read(_path(name)))
        driver = {key: said["driver"][key] for key in ("id", "host", "machine", "pid", "started")}
        running, left = valid_runs(said["running"]), valid_seconds(said["seconds_left"])
        at = datetime.fromisoformat(said["at"]).astimezone(UTC)
        pid, beat = operator.index(driver["pid"]), operator.index(said["beat"])
        return LeaseContent(driver, beat, at, running, left) if 0 < pid < MAX_PROCESSES else None
    except (ValueError, LookupError, TypeError, OverflowError):
        return None


def read_live_lease(name: str, store: Store) -> LeaseContent | None:
    """Return the word of a driver that is alive as far as one look tells; None if there is none.

    A word of another machine that is older than a lease, or dated ahead, is looked at twice: clocks may differ.
    """
    word = read_lease(name, store)
    if word is None or _is_on_this_node(word):
        return word if word is not None and _is_process_running(word) else None
    age = datetime.now(UTC) - word.at
    if timedelta(0) <= age < timedelta(seconds=TIMEOUT_SECONDS):
        return word
    return None if age > LONG_AGO else _changed(name, store, word, 1.5 * HEARTBEAT_SECONDS)


def refuse_if_driven(name: str, store: Store) -> None:
    """Wait until it is sure that nobody drives the sweep.

    Raises:
        SweepAlreadyRunning: Somebody does.
    """
    word = read_lease(name, store)
    if word is None or word.driver == _this_process():
        return
    if _is_on_this_node(word):
        alive = word if _is_process_running(word) else None
    else:
        print_message(f"{name} was driven by {word}: looking for up to {TIMEOUT_SECONDS:.0f} s whether it still is")
        alive = _changed(name, store, word, TIMEOUT_SECONDS)
    if alive is not None:
        raise SweepAlreadyRunning(f"{name} is being run here by {alive}")


def _changed(name: str, store: Store, word: LeaseContent, seconds: float) -> LeaseContent | None:
    """Return a word that is another one than ``word``, as soon as there is one within ``seconds``."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(min(1.0, seconds))
        now = read_lease(name, store)
        if now is None:
            return None
        if (now.driver, now.beat) != (word.driver, word.beat):
            return now
    return None


class Lease:
    """The right to drive a sweep, from its taking to the end of the block. Another process may take it away.

    Args:
        name: The sweep.
        store: The storage.
        on_loss: Called once, by another thread, when another driver has taken over.
    """

    def __init__(self, name: str, store: Store, on_loss: Callable[[str], None]) -> None:
        self.name, self.store, self.on_loss = name, store, on_loss
        self.is_lost = False
        self._content = LeaseContent(_this_process(), 0, datetime.now(UTC))
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_closed, daemon=True, name=f"lease of {name}")

    def acquire(self, take_over: bool = False) -> Lease:
        """Become the driver.

        Args:
            take_over: Take the lease of another driver, alive or not. A living one ends at its next heartbeat.

        Raises:
            SweepAlreadyRunning: Another driver is alive, or began at the same moment.
        """
        if take_over:
            other = read_lease(self.name, self.store)
            self.store.write(_path(self.name), self._content.to_json())
            if other is not None:
                time.sleep(1.5 * HEARTBEAT_SECONDS)  # until it has seen this word
        else:
            refuse_if_driven(self.name, self.store)
            self._write_first()
        time.sleep(LOCAL_SETTLE_SECONDS if self._is_local() else BUCKET_SETTLE_SECONDS)
        if (other := self._other_owner()) is not None:
            raise SweepAlreadyRunning(f"{self.name} is being run here by {other}, which began at the same moment")
        return self

    def _write_first(self) -> None:
        """Write the first word: where none is and the storage can tell, only if none comes in between."""
        path = _path(self.name)
        if not self._is_local() or self.store.exists(path):
            self.store.write(path, self._content.to_json())
            return
        with suppress(FileExistsError):  # the look after this finds whose word it is
            atomic_create(f"{self.store.root}/{path}", self._content.to_json())

    def _is_local(self) -> bool:
        return isinstance(self.store.filesystem, LocalFileSystem)

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Stop saying that this process drives the sweep."""
        self._closed.set()
        self._thread.join(HEARTBEAT_SECONDS)
        with suppress(OSError):  # where the word cannot be taken back, its silence says the same
            if not self.is_lost and self._other_owner() is None:
                self.store.delete(_path(self.name))

    def report(self, running: Mapping[str, Mapping[str, Any]], seconds_left: float | None) -> None:
        """Let the heartbeats from now on say what is running and for how long."""
        self._content = LeaseContent(
            self._content.driver, self._content.beat, self._content.at, dict(running), seconds_left
        )

    def renew(self) -> None:
        """Write the next word, unless another driver has taken over: then that is said, once."""
        if self.is_lost:
            return
        there, word = read_lease(self.name, self.store), self._content
        if there is None or there.driver != word.driver:
            self.is_lost = True
            other = there or "a driver that has ended since"
            self.on_loss(f"{self.name} was taken over by {other}: this driver ends")
            return
        self._content = LeaseContent(word.driver, word.beat + 1, datetime.now(UTC), word.running, word.seconds_left)
        self.store.write(_path(self.name), self._content.to_json())

    def _renew_until_closed(self) -> None:
        trouble: int | None = None
        while not self._closed.wait(HEARTBEAT_SECONDS):
            try:
                self.renew()
            except OSError as error:  # what cannot be stored will fail by itself
                if error.errno is None or error.errno != trouble:  # it comes again every few seconds
                    log.warning("the driver of %s could not say that it runs: %s", self.name, error)
                trouble = error.errno

    def _other_owner(self) -> LeaseContent | None:
        word = read_lease(self.name, self.store)
        return word if word is not None and word.driver != self._content.driver else None


def _path(name: str) -> str:
    return f"sweeps/{name}/driver.json"


@cache
def _this_process() -> dict[str, Any]:
    pid = os.getpid()
    identity = {"id": uuid.uuid4().hex, "host": socket.gethostname(), "machine": _node_id()}
    return {**identity, "pid": pid, "started": _start_time(pid)}


def _node_id() -> str:
    """Return what is the same for processes that see each other's numbers: a boot and a namespace of processes."""
    with suppress(OSError):
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    return f"{socket.gethostname()} {uuid.getnode()}"


def _start_time(pid: int) -> str | None:
    """Return when a process began, in ticks since the start of the machine: a later one may have the same number."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return None


def _is_on_this_node(word: LeaseContent) -> bool:
    return bool(word.driver["machine"] == _node_id())


def _is_process_running(word: LeaseContent) -> bool:
    """Return whether the process of ``word``, of this machine, is there: stopped (Ctrl-Z) or not."""
    pid = word.driver["pid"]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return bool(_start_time(pid) == word.driver["started"])
