"""The command as a user runs it: a process of its own, in an empty folder."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.cli import COMMAND
from support.fault_injection import LINGER_SECONDS, Ground, wait_until, with_sweep
from support.s3_server import s3_bucket, sign_in


@pytest.fixture
def sparsweep(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command to its end in an empty folder."""

    def call(*arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments], capture_output=True, text=True, timeout=timeout, cwd=tmp_path, check=False
        )

    return call


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage of a run that nothing happened to."""
    ground = with_sweep(tmp_path_factory.mktemp("undisturbed"))
    assert ground.finish("run", "hurt.yaml") == 0, ground.said
    return ground.folder / "runs"


@pytest.fixture(scope="session")
def grounds() -> Iterator[list[Ground]]:
    """All grounds; nothing that was started on them is left at the end."""
    made: list[Ground] = []
    yield made

    def left() -> list[str]:
        return [command for ground in made for _, command in ground.processes()]

    wait_until(lambda: not left(), "an end of all processes", LINGER_SECONDS)


@pytest.fixture
def ground(tmp_path: Path, grounds: list[Ground]) -> Ground:
    grounds.append(with_sweep(tmp_path))
    return grounds[-1]


@pytest.fixture
def bucket(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    """The ground's storage in a bucket of a server of S3 on this machine."""
    sign_in(monkeypatch)
    with s3_bucket() as ground.storage:
        yield ground


@pytest.fixture(params=["ground", "bucket"])
def anywhere(request: pytest.FixtureRequest) -> Ground:
    """A ground whose storage is a folder, and one whose storage is a bucket."""
    found: Ground = request.getfixturevalue(request.param)
    return found
