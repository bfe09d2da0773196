"""Faults of the storage: full, read-only, lost or damaged files, manipulated files; and a bucket as storage."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from sparsweep.analysis import load_epochs, load_trials
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.config.sweep import read_sweep
from support import former_files
from support.cli import assert_same_results
from support.fault_injection import TRIALS, Workspace, kill, wait_until
from support.malicious_files import Touch

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(workspace: Workspace) -> Iterator[Path]:
    """Mount a separate file system of 24 MB as the workspace's storage."""
    disk = workspace.folder / "runs"
    disk.mkdir()
    if os.geteuid() != 0 or not mount("-t", "tmpfs", "-o", "size=24m", "none", str(disk)):
        pytest.skip("only root can mount a file system")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_sweep_resumes_after_the_disk_was_full(workspace: Workspace, small_disk: Path, undisturbed: Path) -> None:
    """Failed writes fail their trials. Finished trials stay readable. With free space again, a resume completes."""
    driver = workspace.start("run", "hurt.yaml")
    wait_until(workspace.halfway, "a finished trial and an unfinished one")
    with (small_disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space left"):
        while True:
            filler.write(bytes(4096))
    assert driver.wait(timeout=480) == 1, workspace.output
    assert "Traceback" not in workspace.output and "No space left" in workspace.output
    finished = workspace.row_times()
    assert 0 < len(finished) < TRIALS and len(pd.read_parquet(small_disk / "results/trials")) == len(finished)
    (small_disk / "filler").unlink()
    assert workspace.finish("resume", "hurt") == 0, workspace.output
    assert_same_results(small_disk, undisturbed)
    assert finished.items() <= workspace.row_times().items()


def test_a_sweep_resumes_after_the_storage_was_read_only(
    workspace: Workspace, small_disk: Path, undisturbed: Path
) -> None:
    driver = workspace.start("run", "hurt.yaml")
    wait_until(workspace.halfway, "a finished trial and an unfinished one")
    wait_until(lambda: mount("-o", "remount,ro", str(small_disk)), "a remount, possible only while no file is written")
    assert driver.wait(timeout=480) == 1, workspace.output
    assert "Traceback" not in workspace.output and "Read-only file system" in workspace.output
    assert workspace.finish("resume", "hurt") == 2  # refused before any run starts
    assert "--storage runs: not writable: [Errno 30] Read-only file system" in workspace.output
    assert workspace.finish("status", "hurt") == 0
    finished = workspace.row_times()
    assert len(load_trials(str(small_disk))) == len(finished) > 0
    assert mount("-o", "remount,rw", str(small_disk))
    assert workspace.finish("resume", "hurt") == 0, workspace.output
    assert_same_results(small_disk, undisturbed)
    assert finished.items() <= workspace.row_times().items()


def test_missing_and_truncated_artifacts_are_recreated(any_workspace: Workspace, undisturbed: Path) -> None:
    """A missing file is recreated at once. A damaged one is detected by the first run that reads it, then recreated."""
    workspace = any_workspace
    assert workspace.finish("run", "hurt.yaml") == 0, workspace.output
    store, trials = workspace.store, read_sweep(str(workspace.folder / "hurt.yaml")).trials.values()
    lth = next(trial for trial in trials if trial.sparsifier.name == "lth")
    (dense,) = lth.sparsifier.prerequisites(lth)
    store.delete(store.result_path("trials", lth.id))
    others = workspace.row_times()
    (scores,) = store.artifacts("scores")
    store.delete(store.artifact_path("scores", scores))
    weights = store.artifact_path("weights", dense.id)
    store.write(weights, (store.read(weights) or b"")[:-100])

    assert workspace.finish("resume", "hurt") == 1
    assert store.artifacts("scores") == {scores}
    assert f"the weights of {dense.id} are damaged (checksum does not match) and were removed" in run_log(
        workspace, lth.id
    )
    assert workspace.finish("resume", "hurt") == 0, workspace.output
    assert_same_results(workspace.local_copy(), undisturbed)
    assert others.items() <= workspace.row_times().items()


def run_log(workspace: Workspace, run: str) -> str:
    return (workspace.store.read(f"logs/{run}.txt") or b"").decode()


def test_no_file_in_the_storage_is_unpickled(workspace: Workspace, undisturbed: Path) -> None:
    """Tune writes no file to the storage. The test writes malicious pickles to checkpoints and Tune's usual files."""
    driver = workspace.start("run", "hurt.yaml")
    wait_until(workspace.halfway, "a finished trial and an unfinished one")
    kill(driver)
    wait_until(lambda: not workspace.workers(), "the end of all trials")
    malicious = pickle.dumps(Touch(workspace.folder / "ran"))
    tune = workspace.folder / "runs/sweeps/hurt/tune"
    names = {"tuner.pkl", "trainable.pkl", "searcher-state-1.pkl", "search_gen_state-1.json", "callback_state-1.pkl"}
    assert not tune.exists() and not list((workspace.folder / "runs").rglob("*.pkl"))
    tune.mkdir()
    for name in names:
        (tune / name).write_bytes(malicious)
    bare, *others = sorted(workspace.store.checkpoints())
    workspace.store.write(f"checkpoints/{bare}.pt", malicious)
    for sealed in others:
        workspace.store.write(
            f"checkpoints/{sealed}.pt", former_files.dumps({"training": Touch(workspace.folder / "ran")})
        )
    before = workspace.row_times()
    assert workspace.finish("resume", "hurt") == 0, workspace.output
    assert not (workspace.folder / "ran").exists()
    assert "is damaged" in run_log(workspace, bare)
    assert_same_results(workspace.folder / "runs", undisturbed)
    assert before.items() <= workspace.row_times().items()


# Buckets -------------------------------------------------------------------------------------------------------------


def test_a_sweep_in_a_bucket_survives_faults(
    bucket: Workspace, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver is killed, then a worker; a second driver is refused. All commands work on the results."""
    driver = bucket.start("run", "hurt.yaml")
    wait_until(bucket.halfway, "a finished trial and an unfinished one")
    assert bucket.finish("run", "hurt.yaml") == 2
    assert "hurt is being run here by process" in bucket.output
    kill(driver)
    before = bucket.row_times()
    driver = bucket.start("resume", "hurt")
    bucket.kill_workers(count=1)
    assert driver.wait(timeout=480) == 0, bucket.output
    assert_same_results(bucket.local_copy(), undisturbed)
    assert before and before.items() <= bucket.row_times().items()
    assert not bucket.store.checkpoints()

    assert sorted(load_trials(bucket.storage)["trial"]) == sorted(bucket.store.finished())
    assert len(load_epochs(bucket.storage, trials=[load_trials(bucket.storage)["trial"][0]])) == 20
    for command in (["compact"], ["figures", "hurt"], ["report", "hurt"], ["gc", "--yes"], ["status", "hurt"]):
        assert bucket.finish(*command) == 0, bucket.output
    assert "s3://bucket/some/where/compacted/trials.parquet?region=us-east-1" in bucket.output
    assert {f"figures/hurt/accuracy_vs_sparsity.{kind}" for kind in ("png", "pdf", "csv")} <= set(
        bucket.store.list_sizes("figures/hurt")
    )
    assert len(load_trials(bucket.storage)) == TRIALS


def test_a_process_reads_complete_files_while_another_writes(tmp_path: Path) -> None:
    """A process sees each file of another process at once and never a part of it. A network folder works the same."""
    writer = (
        "import sys; from sparsweep.trainables.storage.store import Store; s = Store(sys.argv[1])\n"
        "for n in range(200): s.write('checkpoints/x.pt', bytes([n]) * 100_000)"
    )
    store = Store(str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", writer, str(tmp_path)]) as process:
        seen = set()
        while process.poll() is None:
            content = store.read("checkpoints/x.pt")
            if content is not None:
                assert len(content) == 100_000 and len(set(content)) == 1
                seen.add(content[0])
    assert process.returncode == 0 and len(seen) > 1
    assert store.list_ids("checkpoints") == {"x"}
