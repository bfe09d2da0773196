"""Garbage: everything that no sweep can need, nothing that one does; what is removed is made again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trainables.store import Store
from tuner.gc import collect, find, readable
from tuner.graph import build, examine
from tuner.sweep import Sweep, parse

Runner = Callable[..., list[str]]


def paths(sweep: Sweep, store: Store) -> set[str]:
    return {path for sizes in find([sweep], store).files.values() for path in sizes}


def test_a_finished_sweep_needs_nothing(small: Sweep, run_here: Runner, tmp_path: Path) -> None:
    run_here(small)
    store = Store(str(tmp_path))
    before = store.finished()
    garbage = find([small], store)
    assert len(garbage.files["weights"]) == len(small.trials) and len(garbage.files["scores"]) == 2
    assert garbage.size == sum((tmp_path / path).stat().st_size for path in paths(small, store))
    collect(garbage, store)
    assert store.artifact_files() == set() and store.finished() == before
    assert find([small], store).size == 0
    assert run_here(small) == []


def test_what_a_missing_trial_starts_from_is_kept(small: Sweep, run_here: Runner, tmp_path: Path) -> None:
    run_here(small)
    store = Store(str(tmp_path))
    lth = next(trial for trial in small.trials.values() if trial.sparsifier.name == "lth")
    store.delete(store.result_path("trials", lth.id))
    kept = {store.artifact_path("weights", lth.replace(sparsifier="dense", sparsity=0.0).id)}
    kept |= {store.scores_path(run.id, "el2n") for run in lth.difficulty.requirements(lth)}
    assert store.artifact_files() - paths(small, store) == kept
    collect(find([small], store), store)
    assert run_here(small) == [lth.id]


def test_what_another_sweep_needs_is_kept(small: Sweep, run_here: Runner, tmp_path: Path) -> None:
    run_here(small)
    store = Store(str(tmp_path))
    more = parse(small.dump(), "more", ["sparsity=.9"])
    assert not paths(more, store) & {path for path in store.artifact_files() if "scores" in path}
    garbage = find([small, more], store)
    todo = examine(build(more.trials), store).todo
    collect(garbage, store)
    assert examine(build(more.trials), store).todo == todo  # no prerequisite has to be made for the second one


def test_checkpoints_of_what_is_to_be_gone_on_with_are_kept(small: Sweep, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    begun = next(iter(small.trials))
    store.write_checkpoint(begun, {"epoch": 1})
    store.write_checkpoint("0" * 16, {"epoch": 1})
    drafts = {"checkpoints/_torn.pt.0123", "results/layers/_torn.parquet.0123"}
    for draft in drafts:
        store.write(draft, b"half")
    assert paths(small, store) == {f"checkpoints/{'0' * 16}.pt", *drafts}


def test_sizes_are_readable() -> None:
    assert [readable(size) for size in (0, 999, 1000, 3_450_000, 2e9, 5e13)] == [
        "0 B",
        "999 B",
        "1 kB",
        "3.45 MB",
        "2 GB",
        "50 TB",
    ]
