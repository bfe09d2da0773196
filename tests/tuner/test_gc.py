"""Garbage collection removes all files without a use, no needed files and no foreign files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sparsweep.trainables.storage import mark
from sparsweep.trainables.storage.store import Store
from sparsweep.tuner.cli import app as cli
from sparsweep.tuner.config.sweep import Sweep, parse_sweep
from sparsweep.tuner.planning.gc import COLLECTED_FILES, delete, find_unused
from sparsweep.tuner.planning.graph import build_graph, compute_state
from sparsweep.tuner.state import sweep_record
from support.s3_server import s3_bucket, sign_in

Runner = Callable[..., list[str]]
Command = Callable[..., str]

RUN = "0123456789abcdef"
OWN_FILES = {
    f"artifacts/weights/{RUN}.pt",
    f"artifacts/scores/{RUN}-el2n.parquet",
    f"artifacts/corrupted/{RUN}.images",
    f"checkpoints/{RUN}.pt",
}
"""One sparsweep file of each kind that no sweep needs."""
ALL_KINDS = ("weights", "scores")
FOREIGN_FILES = {
    "checkpoints": ["bert-final.ckpt", "last.pt", "best.pt", ".pt", f"{RUN}.ckpt", f"{RUN}.pt.bak", f"my-{RUN}.pt"],
    "artifacts/weights": [
        "resnet50.pt",
        f"{RUN.upper()}.pt",
        f"{RUN}0.pt",
        f"{RUN} (copy).pt",
        "_mine.pt",
        ".gitignore",
    ],
    "artifacts/scores": ["mine.parquet", f"{RUN}.parquet", f"{RUN}-.parquet", f"{RUN}-el2n.csv", "_SUCCESS"],
    "artifacts/corrupted": ["photo.images", f"{RUN}.png", "_metadata"],
    "results/trials": ["_SUCCESS", "_metadata", "_common_metadata", "_draft.parquet", f"_{RUN}.parquet.tmp"],
    "results/failures": ["_SUCCESS", f"_{RUN}.parquet.0123"],
    "compacted": ["_SUCCESS", f"_mine.parquet.{'0' * 32}"],
    "logs": [f"_{RUN}.log.{'0' * 32}", "train.txt"],
}
"""Foreign files in a storage, or in a folder that became a storage."""


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command. Return its output, or its single line of standard error if the exit code is 2."""

    def call(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["sparsweep", *arguments])
        with pytest.raises(SystemExit) as exit_info:
            cli.main()
        captured = capsys.readouterr()
        assert (exit_info.value.code or 0) == code, captured
        if code != 2:
            return captured.out
        assert captured.out == "" and captured.err.count("\n") == 1, captured
        return captured.err

    return call


@pytest.fixture
def empty_storage(tmp_path: Path) -> Store:
    """Empty storage with its marker file."""
    store = Store(str(tmp_path))
    store.mark()
    return store


def paths(sweep: Sweep, store: Store, removed_kinds: tuple[str, ...] = ALL_KINDS) -> set[str]:
    return {path for sizes in find_unused([sweep], store, removed_kinds).files.values() for path in sizes}


def all_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# Needed files --------------------------------------------------------------------------------------------------------


def test_files_for_commands_of_a_finished_sweep_are_kept(small: Sweep, run_here: Runner, tmp_path: Path) -> None:
    run_here(small)
    store = Store(str(tmp_path))
    garbage = find_unused([small], store)
    assert garbage.size == 0
    assert (len(garbage.kept["weights"]), len(garbage.kept["scores"])) == (len(small.trials), 2)
    weights, scores, *_ = garbage.lines(store)
    assert f"kept for export: {len(small.trials)} files" in weights and weights.endswith(
        ". Remove them with --weights."
    )
    assert "kept for sample images in figures and report: 2 files" in scores and "Remove them with --scores." in scores


def test_files_for_commands_are_removed_on_request(small: Sweep, run_here: Runner, tmp_path: Path) -> None:
    run_here(small)
    store = Store(str(tmp_path))
    before = store.finished()
    for kind in ALL_KINDS:
        assert paths(small, store, (kind,)) == {f for f in store.artifact_paths() if f.startswith(f"artifacts/{kind}/")}
    garbage = find_unused([small], store, ALL_KINDS)
    weights, scores, *_ = garbage.lines(store)
    fix = f"sparsweep resume SWEEP --remake weights --storage {tmp_path}"
    assert weights.endswith(f"; disables export for all {len(small.trials)} until: {fix}")
    assert "; disables sample images in figures and report for all 2 until: " in scores
    assert garbage.size == sum((tmp_path / path).stat().st_size for path in paths(small, store))
    delete(garbage, store)
    assert store.artifact_paths() == set() and store.finished() == before
    assert find_unused([small], store, ALL_KINDS).size == 0
    assert run_here(small) == []


def test_weights_without_a_finished_trial_are_garbage(small: Sweep, empty_storage: Store) -> None:
    empty_storage.write_weights(RUN, {})
    assert paths(small, empty_storage, ()) == {f"artifacts/weights/{RUN}.pt"}


def test_prerequisites_of_an_unfinished_trial_are_kept(small: Sweep, run_here: Runner, tmp_path: Path) -> None:
    run_here(small)
    store = Store(str(tmp_path))
    lth = next(trial for trial in small.trials.values() if trial.sparsifier.name == "lth")
    store.delete(store.result_path("trials", lth.id))
    kept = {store.artifact_path("weights", lth.replace(sparsifier="dense", sparsity=0.0).id)}
    kept |= {store.scores_path(run.id, "el2n") for run in lth.difficulty.prerequisites(lth)}
    assert store.artifact_paths() - paths(small, store) == kept
    delete(find_unused([small], store, ALL_KINDS), store)
    assert run_here(small) == [lth.id]


def test_files_needed_by_another_sweep_are_kept(small: Sweep, run_here: Runner, tmp_path: Path) -> None:
    run_here(small)
    store = Store(str(tmp_path))
    second = parse_sweep(small.dump(), "more", ["sparsity=.9"])
    assert not paths(second, store) & {path for path in store.artifact_paths() if "scores" in path}
    garbage = find_unused([small, second], store, ALL_KINDS)
    todo = compute_state(build_graph(second.trials), store).todo
    delete(garbage, store)
    # No prerequisite of the second sweep is missing.
    assert compute_state(build_graph(second.trials), store).todo == todo


def test_checkpoints_of_unfinished_trials_are_kept(small: Sweep, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    unfinished = next(iter(small.trials))
    store.write_checkpoint(unfinished, {"epoch": 1})
    store.write_checkpoint("0" * 16, {"epoch": 1})
    assert paths(small, store) == {f"checkpoints/{'0' * 16}.pt"}


# Own files -----------------------------------------------------------------------------------------------------------

KILLED_WRITER = """
import os, sys
from sparsweep.trainables.storage import filesystem as store
os.replace = lambda draft, target: os._exit(9)
store.atomic_write(sys.argv[1], b"half")
"""


@pytest.mark.parametrize(
    "path",
    [
        *sorted(OWN_FILES),
        f"results/trials/{RUN}.parquet",
        f"results/failures/{RUN}-12.parquet",
        "compacted/trials.parquet",
        f"logs/{RUN}.txt",
        "sweeps/small/driver.json",
    ],
)
def test_temporary_files_of_a_killed_writer_are_garbage(small: Sweep, empty_storage: Store, path: str) -> None:
    sweep_record.save_sweep(small, empty_storage)
    before = all_files(Path(empty_storage.root))
    process = subprocess.run([sys.executable, "-c", KILLED_WRITER, f"{empty_storage.root}/{path}"], check=False)
    (draft,) = all_files(Path(empty_storage.root)) - before
    assert process.returncode == 9
    assert paths(small, empty_storage) == {draft}


@pytest.mark.parametrize(
    ("folder", "name"), [(folder, name) for folder, names in FOREIGN_FILES.items() for name in names]
)
def test_foreign_files_are_never_removed(empty_storage: Store, command: Command, folder: str, name: str) -> None:
    empty_storage.write(f"{folder}/{name}", b"theirs")
    for path in OWN_FILES:
        empty_storage.write(path, b"ours")
    command("gc", "--yes", "--weights", "--scores", "--storage", empty_storage.root)
    assert all_files(Path(empty_storage.root)) == {f"{folder}/{name}", mark.NAME}


@pytest.mark.parametrize("path", sorted(OWN_FILES))
def test_link_to_a_file_is_neither_followed_nor_removed(
    empty_storage: Store, command: Command, tmp_path_factory: pytest.TempPathFactory, path: str
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "precious"
    outside.write_bytes(b"theirs")
    link = Path(empty_storage.root, path)
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    command("gc", "--yes", "--weights", "--scores", "--storage", empty_storage.root)
    assert outside.read_bytes() == b"theirs" and link.is_symlink()


@pytest.mark.parametrize("linked", ["artifacts", "results", *sorted(folder for folder, _ in COLLECTED_FILES.values())])
def test_files_behind_a_folder_link_are_not_removed(
    empty_storage: Store, command: Command, tmp_path_factory: pytest.TempPathFactory, linked: str
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    link = Path(empty_storage.root, linked)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    foreign = {*OWN_FILES, f"results/trials/_{RUN}.parquet.{'0' * 32}"}
    for path in foreign:
        empty_storage.write(path, b"theirs")
    command("gc", "--yes", "--weights", "--scores", "--storage", empty_storage.root)
    assert all_files(outside) == {path.removeprefix(f"{linked}/") for path in foreign if path.startswith(f"{linked}/")}


def test_storage_can_be_a_link(empty_storage: Store, command: Command, tmp_path: Path) -> None:
    for path in OWN_FILES:
        empty_storage.write(path, b"ours")
    link = tmp_path / "link"
    link.symlink_to(empty_storage.root)
    command("gc", "--yes", "--scores", "--storage", str(link))
    assert all_files(Path(empty_storage.root)) == {mark.NAME}


# Marker file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [("gc",), ("gc", "--yes"), ("compact",)], ids=" ".join)
@pytest.mark.parametrize("content", [None, b"", b"my own tag"])
def test_folder_without_the_marker_file_exits(
    tmp_path: Path, command: Command, call: tuple[str, ...], content: bytes | None
) -> None:
    store = Store(str(tmp_path))
    for path in OWN_FILES:
        store.write(path, b"theirs")
    if content is not None:
        store.write(mark.NAME, content)
    before = all_files(tmp_path)
    error = command(*call, "--storage", str(tmp_path), code=2)
    remedy = f"Create the file first: sparsweep run SWEEP --storage {tmp_path}"
    assert error == f"sparsweep: --storage {tmp_path}: not a sparsweep storage (no file {mark.NAME}). {remedy}\n"
    assert all_files(tmp_path) == before


def test_resume_marks_a_storage_of_an_earlier_version(
    small: Sweep, run_here: Runner, command: Command, tmp_path: Path
) -> None:
    run_here(small)
    sweep_record.save_sweep(small, Store(str(tmp_path)))
    (tmp_path / mark.NAME).unlink()
    error = command("gc", "--storage", str(tmp_path), code=2)
    assert error.endswith(f"Create the file first: sparsweep resume small --storage {tmp_path}\n")
    command(*error.rpartition(": sparsweep ")[2].split())
    assert "to remove with --yes: 0 bytes" in command("gc", "--storage", str(tmp_path))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    sign_in(monkeypatch)
    with s3_bucket() as address:
        yield Store(address)


def test_foreign_files_in_a_bucket_are_not_removed(bucket: Store, command: Command) -> None:
    foreign = {f"{folder}/{name}" for folder, names in FOREIGN_FILES.items() for name in names}
    for path in foreign | OWN_FILES:
        bucket.write(path, b"content")
    for call in (("gc", "--yes"), ("compact",)):
        assert "not a sparsweep storage" in command(*call, "--storage", bucket.storage, code=2)
    bucket.mark()
    command("gc", "--yes", "--scores", "--storage", bucket.storage)
    assert {path for folder in FOREIGN_FILES for path in bucket.list_sizes(folder)} == foreign


CALLS = ["gc", "compact", "status", "status smoke", "plan smoke", "run smoke", "resume smoke", "figures smoke"]
CALLS += [
    "report smoke",
    "claims smoke",
    "show 0",
    "logs 0",
    "export 0",
    "calibrate smoke",
    "study search-digits",
]


@pytest.mark.parametrize("storage", ["", " ", "\t\n"])
@pytest.mark.parametrize("call", CALLS)
def test_blank_storage_argument_exits(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, storage: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "storage is empty" in command(*call.split(), "--storage", storage, code=2)
    assert list(tmp_path.iterdir()) == []
