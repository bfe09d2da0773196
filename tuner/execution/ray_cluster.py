"""Connection to a Ray cluster: a private one on this node, or a running one."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray

from sparsweep.tuner.errors import short_message
from sparsweep.tuner.execution import tune_adapter
from sparsweep.tuner.execution.lifeline import Lifeline
from sparsweep.tuner.execution.signals import Stopped

REACH_SECONDS = 10.0
"""Timeout of the first connection to a cluster."""


def check_reachable(address: str) -> None:
    """Raise ConnectionError if no server listens at ``host:port``. Ray itself retries for many minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or "://" in address:
        return
    try:
        socket.create_connection((host, int(port)), timeout=REACH_SECONDS).close()
    except (OSError, ValueError) as error:
        raise ConnectionError(f"no Ray cluster found ({error}). Check the address and the network.") from None


@contextlib.contextmanager
def cluster(address: str, folder: Path) -> Iterator[None]:
    """Connect to Ray without Ray's own output and shut it down at the end.

    Args:
        address: ``local`` for a private cluster, ``auto`` or ``host:port``.
        folder: Folder for the files of a private cluster. Workers start in it (see ``SparseTrainable.setup``).

    Raises:
        ConnectionError: Ray does not start or is unreachable.
    """
    check_reachable(address)
    tune_adapter.silence_loggers()
    arguments: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "configure_logging": True}
    if address == "local":
        arguments |= {"include_dashboard": False, "_temp_dir": str(folder)}
    try:
        # Ray puts the current folder first on the workers' import path, where a user's file could shadow a package.
        with contextlib.chdir(folder):
            connect(address, arguments)
        yield
    finally:
        ray.shutdown()


def connect(address: str, options: dict[str, Any]) -> None:
    """Call ``ray.init`` and convert its errors into a ConnectionError with a fix.

    Args:
        address: Address of the cluster.
        options: More arguments of ``ray.init``.

    Raises:
        ConnectionError: Ray does not start or is unreachable.
        Stopped: SIGTERM arrived meanwhile.
    """
    try:
        ray.init(address=address, **options)
    except Stopped:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and error.code == signal.SIGTERM:  # from ray.init's handler
            raise Stopped(signal.SIGTERM) from None
        if address == "local":
            what = "Ray did not start"
            advice = f"Retry when the node is less busy. Ray's logs until the next start: {options['_temp_dir']}"
        else:
            what = "connection failed"
            advice = "If the cluster needs a token: set RAY_AUTH_MODE=token and write the token to ~/.ray/auth_token"
        raise ConnectionError(f"{what}: {short_message(error)}. {advice}") from error


def lifeline(address: str) -> Lifeline:
    """Return the monitor of this driver's node and the cluster's control store.

    The control store of a shared cluster may restart, so its timeout is longer.
    """
    servers = tune_adapter.server_addresses()
    if servers is None:
        return Lifeline({}, {})
    timeouts = {"node": 3.0, "control store": 3.0 if address == "local" else 40.0}
    return Lifeline(dict(zip(timeouts, servers, strict=True)), timeouts)
