"""Garbage: everything that nothing needs, nothing that something does, and never a file of somebody else."""

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
OURS = {
    f"artifacts/weights/{RUN}.pt",
    f"artifacts/scores/{RUN}-el2n.parquet",
    f"artifacts/corrupted/{RUN}.images",
    f"checkpoints/{RUN}.pt",
}
"""A file of ours of each kind that no sweep needs."""
EVERYTHING = ("weights", "scores")
THEIRS = {
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
"""What others may have put into a storage, or had in a folder that became one."""


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command; return its output, or its only line on standard error if it ends with 2."""

    def call(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["sparsweep", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        assert (ended.value.code or 0) == code, said
        if code != 2:
            return said.out
        assert said.out == "" and said.err.count("\n") == 1, said
        return said.err

    return call


@pytest.fixture
def marked(tmp_path: Path) -> Store:
    """An empty storage."""
    store = Store(str(tmp_path))
    store.mark()
    return store


def paths(sweep: Sweep, store: Store, given_up: tuple[str, ...] = EVERYTHING) -> set[str]:
    return {path for sizes in find_unused([sweep], store, given_up).files.values() for path in sizes}


def all_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# What is needed ------------------------------------------------------------------------------------------------------


def test_a_finished_sweep_keeps_what_its_commands_need(small: Sweep, run_here: Runner, tmp_path: Path) -> None:
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


def test_what_commands_need_is_given_up_by_name(small: Sweep, run_here: Runner, tmp_path: Path) -> None:
    run_here(small)
    store = Store(str(tmp_path))
    before = store.finished()
    for kind in EVERYTHING:
        assert paths(small, store, (kind,)) == {f for f in store.artifact_paths() if f.startswith(f"artifacts/{kind}/")}
    garbage = find_unused([small], store, EVERYTHING)
    weights, scores, *_ = garbage.lines(store)
    again = f"sparsweep resume SWEEP --remake weights --storage {tmp_path}"
    assert weights.endswith(f"; disables export for all {len(small.trials)} until: {again}")
    assert "; disables sample images in figures and report for all 2 until: " in scores
    assert garbage.size == sum((tmp_path / path).stat().st_size for path in paths(small, store))
    delete(garbage, store)
    assert store.artifact_paths() == set() and store.finished() == before
    assert find_unused([small], store, EVERYTHING).size == 0
    assert run_here(small) == []


def test_weights_of_no_finished_trial_are_garbage(small: Sweep, marked: Store) -> None:
    marked.write_weights(RUN, {})
    assert paths(small, marked, ()) == {f"artifacts/weights/{RUN}.pt"}


def test_what_a_missing_trial_starts_from_is_kept(small: Sweep, run_here: Runner, tmp_path: Path) -> None:
    run_here(small)
    store = Store(str(tmp_path))
    lth = next(trial for trial in small.trials.values() if trial.sparsifier.name == "lth")
    store.delete(store.result_path("trials", lth.id))
    kept = {store.artifact_path("weights", lth.replace(sparsifier="dense", sparsity=0.0).id)}
    kept |= {store.scores_path(run.id, "el2n") for run in lth.difficulty.prerequisites(lth)}
    assert store.artifact_paths() - paths(small, store) == kept
    delete(find_unused([small], store, EVERYTHING), store)
    assert run_here(small) == [lth.id]


def test_what_another_sweep_needs_is_kept(small: Sweep, run_here: Runner, tmp_path: Path) -> None:
    run_here(small)
    store = Store(str(tmp_path))
    more = parse_sweep(small.dump(), "more", ["sparsity=.9"])
    assert not paths(more, store) & {path for path in store.artifact_paths() if "scores" in path}
    garbage = find_unused([small, more], store, EVERYTHING)
    todo = compute_state(build_graph(more.trials), store).todo
    delete(garbage, store)
    assert (
        compute_state(build_graph(more.trials), store).todo == todo
    )  # no prerequisite has to be made for the second one


def test_checkpoints_of_what_is_to_be_gone_on_with_are_kept(small: Sweep, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    begun = next(iter(small.trials))
    store.write_checkpoint(begun, {"epoch": 1})
    store.write_checkpoint("0" * 16, {"epoch": 1})
    assert paths(small, store) == {f"checkpoints/{'0' * 16}.pt"}


# What is ours --------------------------------------------------------------------------------------------------------

DYING_WRITER = """
import os, sys
from sparsweep.trainables.storage import filesystem as store
os.replace = lambda draft, target: os._exit(9)
store.atomic_write(sys.argv[1], b"half")
"""


@pytest.mark.parametrize(
    "path",
    [
        *sorted(OURS),
        f"results/trials/{RUN}.parquet",
        f"results/failures/{RUN}-12.parquet",
        "compacted/trials.parquet",
        f"logs/{RUN}.txt",
        "sweeps/small/driver.json",
    ],
)
def test_drafts_of_a_writer_that_died_are_garbage(small: Sweep, marked: Store, path: str) -> None:
    sweep_record.save_sweep(small, marked)
    before = all_files(Path(marked.root))
    died = subprocess.run([sys.executable, "-c", DYING_WRITER, f"{marked.root}/{path}"], check=False)
    (draft,) = all_files(Path(marked.root)) - before
    assert died.returncode == 9
    assert paths(small, marked) == {draft}


@pytest.mark.parametrize(("folder", "name"), [(folder, name) for folder, names in THEIRS.items() for name in names])
def test_files_of_others_are_never_removed(marked: Store, command: Command, folder: str, name: str) -> None:
    marked.write(f"{folder}/{name}", b"theirs")
    for path in OURS:
        marked.write(path, b"ours")
    command("gc", "--yes", "--weights", "--scores", "--storage", marked.root)
    assert all_files(Path(marked.root)) == {f"{folder}/{name}", mark.NAME}


@pytest.mark.parametrize("path", sorted(OURS))
def test_a_link_to_a_file_is_never_followed_nor_removed(
    marked: Store, command: Command, tmp_path_factory: pytest.TempPathFactory, path: str
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "precious"
    outside.write_bytes(b"theirs")
    link = Path(marked.root, path)
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    command("gc", "--yes", "--weights", "--scores", "--storage", marked.root)
    assert outside.read_bytes() == b"theirs" and link.is_symlink()


@pytest.mark.parametrize("linked", ["artifacts", "results", *sorted(folder for folder, _ in COLLECTED_FILES.values())])
def test_nothing_behind_a_link_to_a_folder_is_removed(
    marked: Store, command: Command, tmp_path_factory: pytest.TempPathFactory, linked: str
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    link = Path(marked.root, linked)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    theirs = {*OURS, f"results/trials/_{RUN}.parquet.{'0' * 32}"}
    for path in theirs:
        marked.write(path, b"theirs")
    command("gc", "--yes", "--weights", "--scores", "--storage", marked.root)
    assert all_files(outside) == {path.removeprefix(f"{linked}/") for path in theirs if path.startswith(f"{linked}/")}


def test_a_storage_may_itself_be_a_link(marked: Store, command: Command, tmp_path: Path) -> None:
    for path in OURS:
        marked.write(path, b"ours")
    link = tmp_path / "link"
    link.symlink_to(marked.root)
    command("gc", "--yes", "--scores", "--storage", str(link))
    assert all_files(Path(marked.root)) == {mark.NAME}


# The mark ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [("gc",), ("gc", "--yes"), ("compact",)], ids=" ".join)
@pytest.mark.parametrize("content", [None, b"", b"my own tag"])
def test_a_folder_without_the_mark_is_refused(
    tmp_path: Path, command: Command, call: tuple[str, ...], content: bytes | None
) -> None:
    store = Store(str(tmp_path))
    for path in OURS:
        store.write(path, b"theirs")
    if content is not None:
        store.write(mark.NAME, content)
    before = all_files(tmp_path)
    said = command(*call, "--storage", str(tmp_path), code=2)
    remedy = f"Create the file first: sparsweep run SWEEP --storage {tmp_path}"
    assert said == f"sparsweep: --storage {tmp_path}: not a sparsweep storage (no file {mark.NAME}). {remedy}\n"
    assert all_files(tmp_path) == before


def test_a_resume_marks_a_storage_of_an_earlier_version(
    small: Sweep, run_here: Runner, command: Command, tmp_path: Path
) -> None:
    run_here(small)
    sweep_record.save_sweep(small, Store(str(tmp_path)))
    (tmp_path / mark.NAME).unlink()
    said = command("gc", "--storage", str(tmp_path), code=2)
    assert said.endswith(f"Create the file first: sparsweep resume small --storage {tmp_path}\n")
    command(*said.rpartition(": sparsweep ")[2].split())
    assert "to remove with --yes: 0 bytes" in command("gc", "--storage", str(tmp_path))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    sign_in(monkeypatch)
    with s3_bucket() as address:
        yield Store(address)


def test_a_bucket_is_as_safe_as_a_folder(bucket: Store, command: Command) -> None:
    theirs = {f"{folder}/{name}" for folder, names in THEIRS.items() for name in names}
    for path in theirs | OURS:
        bucket.write(path, b"content")
    for call in (("gc", "--yes"), ("compact",)):
        assert "not a sparsweep storage" in command(*call, "--storage", bucket.storage, code=2)
    bucket.mark()
    command("gc", "--yes", "--scores", "--storage", bucket.storage)
    assert {path for folder in THEIRS for path in bucket.list_sizes(folder)} == theirs


BLANK_CALLS = ["gc", "compact", "status", "status smoke", "plan smoke", "run smoke", "resume smoke", "figures smoke"]
BLANK_CALLS += [
    "report smoke",
    "claims smoke",
    "show 0",
    "logs 0",
    "export 0",
    "calibrate smoke",
    "study search-digits",
]


@pytest.mark.parametrize("storage", ["", " ", "\t\n"])
@pytest.mark.parametrize("call", BLANK_CALLS)
def test_an_empty_storage_is_no_storage(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, storage: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "storage is empty" in command(*call.split(), "--storage", storage, code=2)
    assert list(tmp_path.iterdir()) == []
