"""A driver's temporary folder: of its user alone, short enough for Ray, and none is left for long."""

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


def test_nobody_else_may_enter_it(base: Path) -> None:
    with temporary_folder() as folder:
        assert folder.parent == base and stat.S_IMODE(base.stat().st_mode) == 0o700
        (folder / "file").touch()
    assert not folder.exists()
    base.chmod(0o755)
    assert private_folder() == base and stat.S_IMODE(base.stat().st_mode) == 0o700


@pytest.mark.parametrize("other", ["file", "link"])
def test_what_another_user_may_have_made_is_refused(base: Path, tmp_path: Path, other: str) -> None:
    base.touch() if other == "file" else base.symlink_to(tmp_path)
    with pytest.raises(OSError, match="not a folder that you own"), temporary_folder():
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(base: Path) -> None:
    base.mkdir()
    os.chown(base, 12345, 12345)
    with pytest.raises(OSError, match="not a folder that you own"), temporary_folder():
        pass


def test_what_a_killed_driver_left_is_removed_by_the_next_and_what_a_living_one_has_is_not(base: Path) -> None:
    code = (
        "import os\nfrom sparsweep.tuner.execution.scratch import temporary_folder as scratch\n"
        "with scratch() as folder:\n    print(folder, flush=True)\n"
    )
    killed = subprocess.run([sys.executable, "-c", f"{code}    os.kill(os.getpid(), 9)"], **here(base))
    left = Path(killed.stdout.strip())
    (left / "session").mkdir()
    (base / "d-unlocked").mkdir()  # by one that was killed before it had its lock
    (base / "artifacts").mkdir()
    assert left.is_dir() and left.parent == base
    with temporary_folder() as living, temporary_folder() as folder:
        assert living.is_dir() and folder.is_dir()
        assert {path.name for path in base.iterdir()} == {"lock", "artifacts", living.name, folder.name}


def here(base: Path) -> dict:  # type: ignore[type-arg]
    return {"capture_output": True, "text": True, "check": False, "env": {**os.environ, "TMPDIR": str(base.parent)}}


def test_it_stays_where_the_logs_of_ray_tell_why_it_did_not_start(base: Path) -> None:
    with pytest.raises(ConnectionError), temporary_folder() as folder:
        raise ConnectionError
    assert folder.is_dir()
    with pytest.raises(RuntimeError), temporary_folder() as another:
        assert not folder.exists()
        raise RuntimeError
    assert not another.exists()


def test_a_temporary_folder_too_long_for_sockets_is_not_taken(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert short_folder() == base
    monkeypatch.setenv("RAY_TMPDIR", str(base.parent / "r"))
    assert short_folder() == base.parent / "r" / base.name
    monkeypatch.delenv("RAY_TMPDIR")
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    found = short_folder()
    assert found == Path(f"/tmp/sparsweep-{os.getuid()}")
    assert len(f"{found}/d-12345678") <= SOCKET_LENGTH
