"""Ray's servers are asked whether they live; one that is silent for too long is lost, a slow one is not."""

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


def test_a_server_that_ended_is_lost_after_its_time_and_one_that_came_back_is_not() -> None:
    with server() as node, server() as store:
        addresses = {"node": node.getsockname(), "control store": store.getsockname()}
        line = Lifeline(addresses, {"node": 3.0, "control store": 40.0})
        assert line.look(0.0) is None
        store.close()
        assert line.look(10.0) is None and line.look(49.0) is None
        with socket.create_server(addresses["control store"]):
            assert line.look(51.0) is None
        assert line.look(60.0) is None and line.look(99.0) is None
        node.close()
        assert line.look(99.5) is None
        assert line.look(100.0) == "control store"
        line.patience = {**line.patience, "control store": 1000.0}
        assert line.look(102.5) == "node"


def test_a_server_that_is_stopped_answers() -> None:
    """As a machine does that sleeps or is busy: nobody accepts, but the connection is made."""
    with server() as silent:
        assert answers(silent.getsockname())


def test_who_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifeline, "LOOK_SECONDS", 0.01)
    told: list[str] = []
    lost = threading.Event()

    def note(name: str) -> None:
        told.append(name)
        lost.set()

    with server() as node:
        line = Lifeline({"node": node.getsockname()}, {"node": 0.0})
        with line.watched(note):
            pass
        with line.watched(note):
            node.close()
            assert lost.wait(60)
    assert told == ["node"]


CODE = """
import os
from sparsweep.tuner.execution.ray_environment import prepare
prepare({address!r})
print([os.environ.get(name) for name in {names!r}])
"""
NAMES = ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_ENABLE_UV_RUN_RUNTIME_ENV", "RAY_AUTH_TOKEN", "HOME"]


def environment(address: str, **given: str) -> list[str | None]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **given}
    code = CODE.format(address=address, names=NAMES)
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    found = eval(run.stdout)
    assert isinstance(found, list)
    return found


def test_a_private_cluster_is_on_loopback_with_a_token_that_no_file_holds() -> None:
    loopback, uv, token, _ = environment("local", HOME="/root")
    assert (loopback, uv) == ("0", "0") and token is not None and len(token) == 64
    assert environment("local", HOME="/root")[2] != token
    assert environment("auto", HOME="/root") == [None, None, None, "/root"]
    assert environment("local", HOME="/x", RAY_AUTH_TOKEN="mine")[2:] == ["mine", "/x"]


def test_where_no_home_is_known_there_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.setattr("sparsweep.tuner.execution.ray_environment.private_folder", lambda: tmp_path)
    monkeypatch.setenv("HOME", "")
    prepare("auto")
    assert os.environ["HOME"] == str(tmp_path)
