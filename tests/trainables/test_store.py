"""Store: atomic writes, detection of damaged files, and listings that show only complete files."""

from __future__ import annotations

import errno
import logging
import os
import pickle
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sparsweep.trainables.storage import schemas
from sparsweep.trainables.storage.store import Store
from support import former_files
from support.malicious_files import Touch

RUN = "0123456789abcdef"
OTHER = "fedcba9876543210"
WEIGHTS = {"model": {"w": torch.tensor([1.0, 0.0])}, "masks": {"w": torch.tensor([True, False])}}
LABELS = np.array([2, 0, 1] * 40)
SCORES = np.linspace(0, 1.4, 120)


def files(store: Store) -> set[str]:
    """Return all files of the storage, as paths relative to the root."""
    root = Path(store.root)
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@contextmanager
def small_disk(limit: int) -> Iterator[None]:
    """Limit files to ``limit`` bytes. Writing more raises OSError, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# Writing -------------------------------------------------------------------------------------------------------------


def test_written_content_is_read(store: Store) -> None:
    store.write("a/b/c.bin", b"one")
    store.write("a/b/c.bin", b"two")
    assert store.read("a/b/c.bin") == b"two"
    assert files(store) == {"a/b/c.bin"}


def test_missing_file_is_none(store: Store) -> None:
    assert store.read("a/b.bin") is None
    assert store.list_ids("a") == set()
    store.delete("a/b.bin")


def test_crash_before_the_rename_leaves_no_file(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise OSError(errno.EIO, "power failure")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", crash)
        with pytest.raises(OSError, match="power failure"):
            store.write("results/trials/x.parquet", b"new")
    assert files(store) == set()
    assert store.finished() == set()


def test_interruption_leaves_the_earlier_content(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    store.write("x.bin", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.write("x.bin", b"new")
    assert files(store) == {"x.bin"} and store.read("x.bin") == b"old"


def test_content_is_synced_before_the_rename(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a power failure after the rename could leave a truncated file."""
    events: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (events.append("fsync"), fsync(file)))
    monkeypatch.setattr(os, "replace", lambda one, two: (events.append("replace"), replace(one, two)))
    store.write("x.bin", b"new")
    assert events == ["fsync", "replace"]


def test_full_disk_leaves_existing_files_readable(store: Store) -> None:
    store.write_weights(RUN, WEIGHTS)
    before = files(store)
    with small_disk(1000), pytest.raises(OSError) as caught:
        store.write_weights(RUN, {"model": {"w": torch.zeros(10_000)}, "masks": {}})
    assert caught.value.errno == errno.EFBIG
    assert files(store) == before
    assert store.read_weights(RUN)["model"]["w"].tolist() == [1.0, 0.0]


def test_names_with_a_leading_underscore_or_dot_are_not_listed(store: Store) -> None:
    for name in ("a.parquet", "_a.parquet.123", "_b.parquet", ".c.parquet"):
        store.write(f"results/trials/{name}", b"")
    assert store.list_ids("results/trials") == {"a"}


def test_file_is_not_listed_while_it_is_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []
    replace = os.replace

    def list_and_replace(one: str, two: str) -> None:
        assert len(files(store)) == 1
        seen.append(store.list_ids("results/trials"))
        replace(one, two)

    monkeypatch.setattr(os, "replace", list_and_replace)
    store.write("results/trials/a.parquet", b"x")
    assert seen == [set()] and store.list_ids("results/trials") == {"a"}


def test_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError):
        Store(str(tmp_path / "file" / "storage")).check_writable()


def test_check_writable_leaves_no_file(store: Store) -> None:
    store.check_writable()
    assert files(store) == set()


def test_store_finds_its_folder_from_another_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder of a worker differs from that of the driver."""
    monkeypatch.chdir(tmp_path)
    store = Store("runs")
    store.write("x.bin", b"x")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert pickle.loads(pickle.dumps(store)).read("x.bin") == b"x"
    assert not (tmp_path / "elsewhere" / "runs").exists()


@pytest.mark.parametrize(("scheme", "user"), [("s3", "name:secret"), ("gs", "anonymous")])
def test_pickled_store_keeps_the_bucket_and_its_settings(scheme: str, user: str) -> None:
    """The store sends no request to the server before the first read."""
    settings = "scheme=http&endpoint_override=127.0.0.1:9"
    store = pickle.loads(pickle.dumps(Store(f"{scheme}://{user}@bucket/some/where/?{settings}")))
    assert store.root == "bucket/some/where"
    assert store.uri("results/trials") == f"{scheme}://bucket/some/where/results/trials?{settings}"


def test_file_uri_is_a_local_folder(tmp_path: Path) -> None:
    Store(f"file://{tmp_path}/runs").write("x.bin", b"x")
    assert (tmp_path / "runs" / "x.bin").read_bytes() == b"x"


# Checkpoints ---------------------------------------------------------------------------------------------------------


def test_checkpoint_is_written_read_and_deleted(store: Store) -> None:
    assert store.read_checkpoint(RUN) is None and store.checkpoints() == set()
    store.write_checkpoint(RUN, {"seconds": 1.5, "training": {"epoch": 1}})
    store.write_checkpoint(RUN, {"seconds": 2.5, "training": {"epoch": 2}})
    assert store.checkpoints() == {RUN}
    assert store.read_checkpoint(RUN) == {"seconds": 2.5, "training": {"epoch": 2}}
    store.delete_checkpoint(RUN)
    store.delete_checkpoint(RUN)
    assert store.checkpoints() == set()


@pytest.mark.parametrize("end", [0, 10, 100, -1])
def test_truncated_checkpoint_is_logged_and_deleted(store: Store, end: int, caplog: pytest.LogCaptureFixture) -> None:
    store.write_checkpoint(RUN, {"seconds": 1.5})
    path = Path(store.root, f"checkpoints/{RUN}.pt")
    path.write_bytes(path.read_bytes()[:end])
    with caplog.at_level(logging.WARNING):
        assert store.read_checkpoint(RUN) is None
    assert f"checkpoint of {RUN} is damaged" in caplog.text and "The run starts again" in caplog.text
    assert store.checkpoints() == set()


def malicious_content(path: Path, with_checksum: bool) -> bytes:
    """Return a pickle that runs code, either plain or with the header and checksum of the store."""
    return former_files.dumps({"model": Touch(path)}) if with_checksum else pickle.dumps(Touch(path))


@pytest.mark.parametrize("with_checksum", [False, True])
def test_malicious_checkpoint_is_not_run_and_the_run_restarts(
    store: Store, tmp_path: Path, with_checksum: bool
) -> None:
    store.write(f"checkpoints/{RUN}.pt", malicious_content(tmp_path / "run", with_checksum))
    checkpoint = store.read_checkpoint(RUN)
    assert not (tmp_path / "run").exists()
    assert checkpoint is None and store.checkpoints() == set()


@pytest.mark.parametrize("with_checksum", [False, True])
def test_malicious_weights_are_not_run_and_are_deleted(store: Store, tmp_path: Path, with_checksum: bool) -> None:
    store.write(f"artifacts/weights/{RUN}.pt", malicious_content(tmp_path / "run", with_checksum))
    with pytest.raises(FileNotFoundError, match=f"weights of {RUN} are damaged"):
        store.read_weights(RUN)
    assert not (tmp_path / "run").exists()
    assert store.artifacts("weights") == set()


# Artifacts -----------------------------------------------------------------------------------------------------------


def test_weights_are_written_and_read(store: Store) -> None:
    store.write_weights(RUN, WEIGHTS)
    weights = store.read_weights(RUN)
    assert weights["model"]["w"].tolist() == [1.0, 0.0] and weights["masks"]["w"].tolist() == [True, False]
    assert store.artifacts("weights") == {RUN} and store.artifacts("scores") == set()


def test_scores_are_read_in_the_order_of_the_samples(store: Store) -> None:
    store.write_scores(RUN, "el2n", LABELS, SCORES)
    assert store.read_scores(RUN, "el2n").tolist() == SCORES.tolist()
    table = pd.read_parquet(Path(store.root, f"artifacts/scores/{RUN}-el2n.parquet"))
    assert table.columns.tolist() == ["sample", "label", "score"]
    assert (table["sample"].tolist(), table["label"].tolist()) == (list(range(120)), LABELS.tolist())


def test_scores_are_sorted_by_sample_whatever_their_order_in_the_file(store: Store) -> None:
    store.write_scores(RUN, "el2n", LABELS, SCORES)
    path = Path(store.root, f"artifacts/scores/{RUN}-el2n.parquet")
    pd.read_parquet(path).iloc[::-1].to_parquet(path, index=False)
    assert store.read_scores(RUN, "el2n").tolist() == SCORES.tolist()


@pytest.mark.parametrize("kind", ["weights", "scores"])
def test_missing_artifact_is_an_error_with_its_name(store: Store, kind: str) -> None:
    with pytest.raises(
        FileNotFoundError, match=rf"the {kind} of {RUN}[-el2n]* are not in .*\. Resume the sweep to create them again"
    ):
        read_artifact(store, kind)


def read_artifact(store: Store, kind: str) -> object:
    return store.read_weights(RUN) if kind == "weights" else store.read_scores(RUN, "el2n")


def write_artifact(store: Store, kind: str) -> Path:
    if kind == "weights":
        store.write_weights(RUN, WEIGHTS)
        return Path(store.root, f"artifacts/weights/{RUN}.pt")
    store.write_scores(RUN, "el2n", LABELS, SCORES)
    return Path(store.root, f"artifacts/scores/{RUN}-el2n.parquet")


@pytest.mark.parametrize("end", [0, 10, 200, -1])
@pytest.mark.parametrize("kind", ["weights", "scores"])
def test_truncated_artifact_is_an_error_and_is_deleted(store: Store, kind: str, end: int) -> None:
    path = write_artifact(store, kind)
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(
        FileNotFoundError, match=rf"the {kind} of {RUN}[-el2n]* are damaged .* removed\. Resume the sweep"
    ):
        read_artifact(store, kind)
    assert not path.exists()


def test_altered_scores_are_never_returned(store: Store) -> None:
    """Artifacts have checksums. A flipped bit is found, or does not change the scores."""
    path = write_artifact(store, "scores")
    content = path.read_bytes()
    for index in range(4, len(content) // 2, 5):
        altered = bytearray(content)
        altered[index] ^= 1
        path.write_bytes(altered)
        try:
            scores = store.read_scores(RUN, "el2n")
        except FileNotFoundError:
            continue
        assert scores.tolist() == SCORES.tolist(), f"byte {index} of {len(content)}"


# Results -------------------------------------------------------------------------------------------------------------


def finish(store: Store) -> Path:
    row = {**dict.fromkeys(schemas.SCHEMAS["trials"].names), "trial": RUN}
    store.write_result(RUN, {"trials": [row], "epochs": [], "layers": []})
    return Path(store.root, store.result_path("trials", RUN))


@pytest.mark.parametrize(
    "damage", [lambda content: b"", lambda content: content[:-1], lambda content: bytes(len(content))]
)
def test_incomplete_row_is_missing_and_written_again(store: Store, damage: Callable[[bytes], bytes]) -> None:
    path = finish(store)
    content = path.read_bytes()
    assert store.finished() == {RUN} and store.is_finished(RUN)
    path.write_bytes(damage(content))
    assert store.finished() == set() and not store.is_finished(RUN)
    finish(store)
    assert path.read_bytes() == content


def test_only_files_named_by_a_trial_id_are_finished(store: Store) -> None:
    path = finish(store)
    for name in (f"{RUN} (conflicted copy).parquet", f"{RUN}.sync-conflict-1.parquet", f"Copy of {RUN}.parquet"):
        (path.parent / name).write_bytes(path.read_bytes())
    (path.parent / f"{OTHER}.parquet").mkdir()
    assert store.finished() == {RUN}


# Failures ------------------------------------------------------------------------------------------------------------


def failed(message: str) -> ValueError:
    try:
        raise ValueError(message)
    except ValueError as error:
        return error


def test_failures_count_attempts_and_return_the_newest(store: Store) -> None:
    store.write_failure(RUN, "fig2", failed("first"))
    store.write_failure(RUN, "fig2", failed("second"))
    store.write_failure(OTHER, "fig2", failed("other"))
    newest = store.failures()
    assert newest.keys() == {RUN, OTHER}
    row = newest[RUN]
    assert (row["error"], row["message"], row["attempt"], row["sweep"]) == ("ValueError", "second", 2, "fig2")
    assert "in failed" in row["traceback"] and "ValueError: second" in row["traceback"]
    assert newest[OTHER]["attempt"] == 1


def test_finished_run_has_no_failure(store: Store) -> None:
    for run in (RUN, OTHER):
        store.write_failure(run, "fig2", failed("once"))
    finish(store)
    store.write_scores(OTHER, "el2n", LABELS, SCORES)
    assert store.failures() == {}


def test_failure_that_cannot_be_recorded_is_logged(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "replace", full)
    store.write_failure(RUN, "fig2", failed("first"))
    assert f"could not record the failure of {RUN}" in caplog.text
    assert files(store) == set()
