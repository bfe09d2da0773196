"""Fixtures of all tests."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and prints no log."""

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], str]]:
    """Return a function that serves a folder over HTTP on this machine until the test ends, and returns its URL."""
    monkeypatch.setenv("no_proxy", "*")
    with contextlib.ExitStack() as open_servers:

        def start(folder: Path) -> str:
            server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            open_servers.callback(server.server_close)
            open_servers.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}"

        yield start


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Use one CPU thread. Results depend bitwise on the number of threads, and tiny tensors are slower with threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
