"""Lease that allows one driver per sweep: ``sweeps/NAME/driver.json`` names the driver and changes at every heartbeat.

A driver acquires the lease first. A thread then renews it, independent of Ray and Tune. Before each renewal the
thread reads the file: if another driver owns it, this driver has lost the sweep and exits. Therefore two drivers that
start together, or a driver that was suspended during a takeover, overlap for at most one heartbeat. Both write
bit-identical results.

A driver on this node is alive if its process exists. A driver on another node is alive if its lease changes. Clocks
of two nodes may differ, so timestamps only decide what ``status`` shows without waiting.
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
"""A lease of another node that stays unchanged for this time belongs to a dead driver."""
LOCAL_SETTLE_SECONDS, BUCKET_SETTLE_SECONDS = 0.3, 2.0
"""Wait between writing the lease and checking whether a driver that started at the same time has overwritten it."""
MAX_PROCESSES = 2**31
"""Upper bound of process ids on every system."""
LONG_AGO = timedelta(minutes=10)
"""Upper bound of the clock difference between two nodes."""


class SweepAlreadyRunning(Exception):
    """Raised when another driver runs the sweep in this storage."""


@dataclass(frozen=True)
class LeaseContent:
    """Content of a lease file.

    Attributes:
        driver: Identity of the driver: ``id``, ``host``, ``machine``, ``pid`` and ``started``.
        beat: Number of earlier heartbeats.
        at: Time of the heartbeat by the driver's clock.
        running: Fields of each running run (``epoch``, ``epochs``, ...) by id.
        seconds_left: Estimated remaining seconds, None if unknown.
    """

    driver: Mapping[str, Any]
    beat: int
    at: datetime
    running: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seconds_left: float | None = None

    def __str__(self) -> str:
        return f"process {self.driver['pid']} on {self.driver['host']}"

    def to_json(self) -> bytes:
        """Return the content as JSON."""
        return json.dumps({**vars(self), "at": self.at.isoformat()}).encode()


def read_lease(name: str, store: Store) -> LeaseContent | None:
    """Return the lease of a sweep, or None if it is missing or damaged."""
    try:
        content = parse_json(store.read(_path(name)))
        driver = {key: content["driver"][key] for key in ("id", "host", "machine", "pid", "started")}
        running, left = valid_runs(content["running"]), valid_seconds(content["seconds_left"])
        at = datetime.fromisoformat(content["at"]).astimezone(UTC)
        pid, beat = operator.index(driver["pid"]), operator.index(content["beat"])
        return LeaseContent(driver, beat, at, running, left) if 0 < pid < MAX_PROCESSES else None
    except (ValueError, LookupError, TypeError, OverflowError):
        return None


def read_live_lease(name: str, store: Store) -> LeaseContent | None:
    """Return the lease of a live driver, or None.

    A lease of another node that is older than the timeout, or dated in the future, is read twice: clocks may differ.
    """
    content = read_lease(name, store)
    if content is None or _is_on_this_node(content):
        return content if content is not None and _is_process_running(content) else None
    age = datetime.now(UTC) - content.at
    if timedelta(0) <= age < timedelta(seconds=TIMEOUT_SECONDS):
        return content
    return None if age > LONG_AGO else _changed(name, store, content, 1.5 * HEARTBEAT_SECONDS)


def refuse_if_driven(name: str, store: Store) -> None:
    """Raise an error if another driver runs the sweep. Wait up to the lease timeout for drivers of other nodes.

    Args:
        name: The sweep.
        store: The storage.

    Raises:
        SweepAlreadyRunning: Another driver is alive.
    """
    content = read_lease(name, store)
    if content is None or content.driver == _this_process():
        return
    if _is_on_this_node(content):
        alive = content if _is_process_running(content) else None
    else:
        print_message(
            f"{name}: last driver was {content}. Checking for up to {TIMEOUT_SECONDS:.0f} s whether it is alive"
        )
        alive = _changed(name, store, content, TIMEOUT_SECONDS)
    if alive is not None:
        raise SweepAlreadyRunning(f"{name} is being run here by {alive}")


def _changed(name: str, store: Store, content: LeaseContent, seconds: float) -> LeaseContent | None:
    """Return the lease as soon as it differs from ``content``, or None if it does not change within ``seconds``."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(min(1.0, seconds))
        now = read_lease(name, store)
        if now is None:
            return None
        if (now.driver, now.beat) != (content.driver, content.beat):
            return now
    return None


class Lease:
    """Exclusive right to drive a sweep, until the end of the ``with`` block or a takeover by another process.

    Args:
        name: The sweep.
        store: The storage.
        on_loss: Called once with a message, in another thread, after a takeover by another driver.

    Attributes:
        is_lost: Whether another driver has taken over.
    """

    def __init__(self, name: str, store: Store, on_loss: Callable[[str], None]) -> None:
        self.name, self.store, self.on_loss = name, store, on_loss
        self.is_lost = False
        self._content = LeaseContent(_this_process(), 0, datetime.now(UTC))
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_closed, daemon=True, name=f"lease of {name}")

    def acquire(self, take_over: bool = False) -> Lease:
        """Acquire the lease.

        Args:
            take_over: Replace the lease of another driver, alive or not. A live driver exits at its next heartbeat.

        Raises:
            SweepAlreadyRunning: Another driver is alive, or started at the same time.
        """
        if take_over:
            other = read_lease(self.name, self.store)
            self.store.write(_path(self.name), self._content.to_json())
            if other is not None:
                time.sleep(1.5 * HEARTBEAT_SECONDS)  # until the other driver has read the new lease
        else:
            refuse_if_driven(self.name, self.store)
            self._write_first()
        time.sleep(LOCAL_SETTLE_SECONDS if self._is_local() else BUCKET_SETTLE_SECONDS)
        if (other := self._other_owner()) is not None:
            raise SweepAlreadyRunning(f"{self.name} is being run here by {other}, which started at the same time")
        return self

    def _write_first(self) -> None:
        """Write the lease. In a local storage without a lease, create the file atomically."""
        path = _path(self.name)
        if not self._is_local() or self.store.exists(path):
            self.store.write(path, self._content.to_json())
            return
        with suppress(FileExistsError):  # the later check finds the owner
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
        """Delete the lease. If deletion fails, the lease expires after the timeout."""
        self._closed.set()
        self._thread.join(HEARTBEAT_SECONDS)
        with suppress(OSError):
            if not self.is_lost and self._other_owner() is None:
                self.store.delete(_path(self.name))

    def report(self, running: Mapping[str, Mapping[str, Any]], seconds_left: float | None) -> None:
        """Set the running runs and the estimated remaining seconds for the next heartbeats."""
        self._content = LeaseContent(
            self._content.driver, self._content.beat, self._content.at, dict(running), seconds_left
        )

    def renew(self) -> None:
        """Write the next heartbeat. After a takeover by another driver, call ``on_loss`` once instead."""
        if self.is_lost:
            return
        current, own = read_lease(self.name, self.store), self._content
        if current is None or current.driver != own.driver:
            self.is_lost = True
            other = current or "a driver that has exited since"
            self.on_loss(f"{self.name} was taken over by {other}. This driver exits.")
            return
        self._content = LeaseContent(own.driver, own.beat + 1, datetime.now(UTC), own.running, own.seconds_left)
        self.store.write(_path(self.name), self._content.to_json())

    def _renew_until_closed(self) -> None:
        last_errno: int | None = None
        while not self._closed.wait(HEARTBEAT_SECONDS):
            try:
                self.renew()
            except OSError as error:  # if the storage is full, the runs themselves fail
                if error.errno is None or error.errno != last_errno:  # log a repeated error once
                    log.warning("cannot write the heartbeat of %s: %s", self.name, error)
                last_errno = error.errno

    def _other_owner(self) -> LeaseContent | None:
        content = read_lease(self.name, self.store)
        return content if content is not None and content.driver != self._content.driver else None


def _path(name: str) -> str:
    return f"sweeps/{name}/driver.json"


@cache
def _this_process() -> dict[str, Any]:
    pid = os.getpid()
    identity = {"id": uuid.uuid4().hex, "host": socket.gethostname(), "machine": _node_id()}
    return {**identity, "pid": pid, "started": _start_time(pid)}


def _node_id() -> str:
    """Return an id shared by processes that see each other's process ids: boot id and PID namespace."""
    with suppress(OSError):
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    return f"{socket.gethostname()} {uuid.getnode()}"


def _start_time(pid: int) -> str | None:
    """Return the start time of a process in clock ticks since boot, because process ids are reused."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return None


def _is_on_this_node(content: LeaseContent) -> bool:
    return bool(content.driver["machine"] == _node_id())


def _is_process_running(content: LeaseContent) -> bool:
    """Return whether the process of ``content`` exists on this node, running or suspended (Ctrl-Z)."""
    pid = content.driver["pid"]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return bool(_start_time(pid) == content.driver["started"])
