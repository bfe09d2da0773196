"""Fixtures of the end-to-end tests: the command runs as a separate process in an empty folder, as for a user."""

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
    """Return a function that runs the command to its end in an empty folder."""

    def call(*arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments], capture_output=True, text=True, timeout=timeout, cwd=tmp_path, check=False
        )

    return call


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the storage of a run without faults."""
    workspace = create_workspace(tmp_path_factory.mktemp("undisturbed"))
    assert workspace.finish("run", "hurt.yaml") == 0, workspace.output
    return workspace.folder / "runs"


@pytest.fixture(scope="session")
def workspaces() -> Iterator[list[Workspace]]:
    """Collect all workspaces, and check at the end that no process of theirs is left."""
    created: list[Workspace] = []
    yield created

    def remaining() -> list[str]:
        return [command for workspace in created for _, command in workspace.processes()]

    wait_until(lambda: not remaining(), "the end of all processes", LINGER_SECONDS)


@pytest.fixture
def workspace(tmp_path: Path, workspaces: list[Workspace]) -> Workspace:
    workspaces.append(create_workspace(tmp_path))
    return workspaces[-1]


@pytest.fixture
def bucket(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """Return a workspace whose storage is a bucket of an S3 server on this machine."""
    sign_in(monkeypatch)
    with s3_bucket() as workspace.storage:
        yield workspace


@pytest.fixture(params=["workspace", "bucket"])
def any_workspace(request: pytest.FixtureRequest) -> Workspace:
    """Return a workspace whose storage is a folder, then one whose storage is a bucket."""
    selected: Workspace = request.getfixturevalue(request.param)
    return selected
