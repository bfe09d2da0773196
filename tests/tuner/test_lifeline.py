"""Monitoring of Ray's servers: a server is lost after too long without a connection. A slow server is not lost."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sparsweep.tuner.execution import lifeline
from sparsweep.tuner.execution.lifeline import Lifeline, answers
from sparsweep.tuner.execution.ray_environment import prepare


def server() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_closed_server_is_lost_after_its_timeout_unless_it_returns() -> None:
    with server() as node, server() as store:
        addresses = {"node": node.getsockname(), "control store": store.getsockname()}
        monitor = Lifeline(addresses, {"node": 3.0, "control store": 40.0})
        assert monitor.look(0.0) is None
        store.close()
        assert monitor.look(10.0) is None and monitor.look(49.0) is None
        with socket.create_server(addresses["control store"]):
            assert monitor.look(51.0) is None
        assert monitor.look(60.0) is None and monitor.look(99.0) is None
        node.close()
        assert monitor.look(99.5) is None
        assert monitor.look(100.0) == "control store"
        monitor.patience = {**monitor.patience, "control store": 1000.0}
        assert monitor.look(102.5) == "node"


def test_suspended_server_answers() -> None:
    """A suspended or busy process accepts no connections, but the kernel still completes them."""
    with server() as suspended:
        assert answers(suspended.getsockname())


def test_lost_server_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifeline, "LOOK_SECONDS", 0.01)
    reported: list[str] = []
    lost = threading.Event()

    def report(name: str) -> None:
        reported.append(name)
        lost.set()

    with server() as node:
        monitor = Lifeline({"node": node.getsockname()}, {"node": 0.0})
        with monitor.watched(report):
            pass
        with monitor.watched(report):
            node.close()
            assert lost.wait(60)
    assert reported == ["node"]


CODE = """
import os
from sparsweep.tuner.execution.ray_environment import prepare
prepare({address!r})
print([os.environ.get(name) for name in {names!r}])
"""
NAMES = ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_ENABLE_UV_RUN_RUNTIME_ENV", "RAY_AUTH_TOKEN", "HOME"]


def environment(address: str, **variables: str) -> list[str | None]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **variables}
    code = CODE.format(address=address, names=NAMES)
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    values = eval(run.stdout)
    assert isinstance(values, list)
    return values


def test_private_cluster_uses_loopback_and_a_new_token() -> None:
    loopback, uv, token, _ = environment("local", HOME="/root")
    assert (loopback, uv) == ("0", "0") and token is not None and len(token) == 64
    assert environment("local", HOME="/root")[2] != token
    assert environment("auto", HOME="/root") == [None, None, None, "/root"]
    assert environment("local", HOME="/x", RAY_AUTH_TOKEN="mine")[2:] == ["mine", "/x"]


def test_empty_home_is_replaced_by_a_private_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.setattr("sparsweep.tuner.execution.ray_environment.private_folder", lambda: tmp_path)
    monkeypatch.setenv("HOME", "")
    prepare("auto")
    assert os.environ["HOME"] == str(tmp_path)
