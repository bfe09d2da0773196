"""The command as a user runs it: a process of its own, in an empty folder."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.cli import COMMAND
from support.fault_injection import LINGER_SECONDS, Workspace, create_workspace, wait_until
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
    workspace = create_workspace(tmp_path_factory.mktemp("undisturbed"))
    assert workspace.finish("run", "hurt.yaml") == 0, workspace.output
    return workspace.folder / "runs"


@pytest.fixture(scope="session")
def workspaces() -> Iterator[list[Workspace]]:
    """All workspaces; nothing that was started on them is left at the end."""
    made: list[Workspace] = []
    yield made

    def left() -> list[str]:
        return [command for workspace in made for _, command in workspace.processes()]

    wait_until(lambda: not left(), "an end of all processes", LINGER_SECONDS)


@pytest.fixture
def workspace(tmp_path: Path, workspaces: list[Workspace]) -> Workspace:
    workspaces.append(create_workspace(tmp_path))
    return workspaces[-1]


@pytest.fixture
def bucket(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """The workspace's storage in a bucket of a server of S3 on this machine."""
    sign_in(monkeypatch)
    with s3_bucket() as workspace.storage:
        yield workspace


@pytest.fixture(params=["workspace", "bucket"])
def anywhere(request: pytest.FixtureRequest) -> Workspace:
    """A workspace whose storage is a folder, and one whose storage is a bucket."""
    found: Workspace = request.getfixturevalue(request.param)
    return found
