"""Temporary folder of a driver: private to the user, short enough for Ray, and removed later."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sparsweep.trainables.storage.filesystem import private_folder
from sparsweep.tuner.execution.scratch import SOCKET_LENGTH, short_folder, temporary_folder


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    short = Path(tempfile.mkdtemp(dir="/tmp", prefix="t"))
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    return short / f"sparsweep-{os.getuid()}"


def test_folder_is_private_and_removed_at_exit(base: Path) -> None:
    with temporary_folder() as folder:
        assert folder.parent == base and stat.S_IMODE(base.stat().st_mode) == 0o700
        (folder / "file").touch()
    assert not folder.exists()
    base.chmod(0o755)
    assert private_folder() == base and stat.S_IMODE(base.stat().st_mode) == 0o700


@pytest.mark.parametrize("entry", ["file", "link"])
def test_file_or_link_at_the_folder_path_raises(base: Path, tmp_path: Path, entry: str) -> None:
    base.touch() if entry == "file" else base.symlink_to(tmp_path)
    with pytest.raises(OSError, match="not a folder that you own"), temporary_folder():
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can change the owner of a folder")
def test_folder_of_another_user_raises(base: Path) -> None:
    base.mkdir()
    os.chown(base, 12345, 12345)
    with pytest.raises(OSError, match="not a folder that you own"), temporary_folder():
        pass


def test_folders_of_killed_drivers_are_removed_and_of_running_ones_kept(base: Path) -> None:
    code = (
        "import os\nfrom sparsweep.tuner.execution.scratch import temporary_folder as scratch\n"
        "with scratch() as folder:\n    print(folder, flush=True)\n"
    )
    killed = subprocess.run([sys.executable, "-c", f"{code}    os.kill(os.getpid(), 9)"], **subprocess_options(base))
    leftover = Path(killed.stdout.strip())
    (leftover / "session").mkdir()
    (base / "d-unlocked").mkdir()  # left by a driver that was killed before it took its lock
    (base / "artifacts").mkdir()
    assert leftover.is_dir() and leftover.parent == base
    with temporary_folder() as running, temporary_folder() as folder:
        assert running.is_dir() and folder.is_dir()
        assert {path.name for path in base.iterdir()} == {"lock", "artifacts", running.name, folder.name}


def subprocess_options(base: Path) -> dict:  # type: ignore[type-arg]
    return {"capture_output": True, "text": True, "check": False, "env": {**os.environ, "TMPDIR": str(base.parent)}}


def test_folder_is_kept_if_ray_did_not_start(base: Path) -> None:
    with pytest.raises(ConnectionError), temporary_folder() as folder:
        raise ConnectionError
    assert folder.is_dir()
    with pytest.raises(RuntimeError), temporary_folder() as second:
        assert not folder.exists()
        raise RuntimeError
    assert not second.exists()


def test_temporary_folder_too_long_for_sockets_is_not_used(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert short_folder() == base
    monkeypatch.setenv("RAY_TMPDIR", str(base.parent / "r"))
    assert short_folder() == base.parent / "r" / base.name
    monkeypatch.delenv("RAY_TMPDIR")
    long_folder = tmp_path / ("x" * 90)
    long_folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long_folder))
    folder = short_folder()
    assert folder == Path(f"/tmp/sparsweep-{os.getuid()}")
    assert len(f"{folder}/d-12345678") <= SOCKET_LENGTH
