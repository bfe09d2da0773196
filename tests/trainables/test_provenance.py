"""Provenance of results: digests of sources, the modules of a run, and the report of changed modules."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sparsweep.trainables import plugins
from sparsweep.trainables.pipeline.device_data import DeviceData
from sparsweep.trainables.runs.kinds import open_run
from sparsweep.trainables.runs.origins import code_of, modules_of
from sparsweep.trainables.sparsifiers import sparsifiers
from sparsweep.trainables.specs.run import RunSpec
from sparsweep.trainables.storage import provenance
from sparsweep.trainables.storage.provenance import changed_modules, dump_code, load_code, loaded_code, merge_code
from sparsweep.trainables.storage.store import Store
from support.tiny_trials import inputs, trial

METHOD = '''
from typing import Literal
from sparsweep.trainables.sparsifiers.base import MaskedSparsifier, InitContext, sparsifiers
from sparsweep.trainables.sparsifiers.masks import Masks, top_k_global

@sparsifiers.register
class Mine(MaskedSparsifier):
    """The first weights of all."""

    name: Literal["mine"] = "mine"

    def initialize(self, start: InitContext) -> Masks:
        return top_k_global({name: weight * 0 for name, weight in start.weights.items()}, start.num_active)
'''


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Empty folder on the import path. Its modules and their cached digests are removed after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "_named", {})
    monkeypatch.setattr(sparsifiers, "_classes", dict(sparsifiers._classes))
    loaded_code.cache_clear()
    yield tmp_path
    loaded_code.cache_clear()
    for module in [name for name in sys.modules if name.startswith("their_")]:
        del sys.modules[module]


def edit(path: Path, content: str) -> None:
    """Change a module as a user does, and clear the cache of digests as a new process does."""
    path.write_text(content)
    loaded_code.cache_clear()


def test_digest_of_a_module_is_computed_from_its_file(folder: Path) -> None:
    (folder / "their_single.py").write_text("a = 1\n")
    plugins.load_plugins(["their_single"])
    content = hashlib.sha256(b"a = 1\n").hexdigest()
    digest = hashlib.sha256(f"their_single.py\0{content}\0".encode()).hexdigest()
    assert loaded_code("their_single") == f"? {digest[:16]}"


def test_digest_of_a_package_is_computed_from_all_its_files(folder: Path) -> None:
    (folder / "their_package/inner").mkdir(parents=True)
    (folder / "their_package/__init__.py").write_text("__version__ = '1.2'\n")
    (folder / "their_package/inner/part.py").write_text("a = 1\n")
    importlib.import_module("their_package")
    before = loaded_code("their_package")
    assert before.startswith("1.2 ")
    edit(folder / "their_package/inner/part.py", "a = 2\n")
    assert loaded_code("their_package") != before
    edit(folder / "their_package/inner/part.py", "a = 1\n")
    assert loaded_code("their_package") == before


def test_digest_of_sparsweep_covers_all_files_that_can_change_a_result() -> None:
    root = Path(__file__).parents[2] / "trainables"
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()}\0{content}\0".encode())
    loaded_code.cache_clear()
    assert loaded_code("sparsweep").endswith(f" {digest.hexdigest()[:16]}")


def test_digest_is_that_of_the_imported_source_after_an_edit(folder: Path) -> None:
    (folder / "their_single.py").write_text("a = 1\n")
    plugins.load_plugins(["their_single"])
    (folder / "their_single.py").write_text("a = 2\n")
    at_import = loaded_code("their_single")
    loaded_code.cache_clear()
    assert loaded_code("their_single") != at_import


def test_module_without_source_is_unknown() -> None:
    assert loaded_code("no_such_module") == "? ?"


def test_modules_of_a_trial_are_this_package_and_its_plugins(folder: Path) -> None:
    (folder / "their_methods.py").write_text(METHOD)
    plugins.load_plugins(["their_methods"])
    assert modules_of(trial()) == {"sparsweep"}
    assert modules_of(trial(sparsifier="mine", sparsity=0.5)) == {"sparsweep", "their_methods"}


def test_dumped_code_loads_unchanged() -> None:
    code = {"sparsweep": frozenset({"0.1 a", "0.1 b"}), "theirs": frozenset({"? c"})}
    assert load_code(dump_code(code)) == code


@pytest.mark.parametrize("text", [None, "", "{", "[]", "3", '{"a": 3}', "null"])
def test_damaged_code_loads_as_empty(text: str | None) -> None:
    assert load_code(text) == {}


def test_codes_are_merged_by_module() -> None:
    first, second = {"a": frozenset({"1"})}, {"a": frozenset({"2"}), "b": frozenset({"3"})}
    assert merge_code(first, second) == {"a": frozenset({"1", "2"}), "b": frozenset({"3"})}


def test_changed_modules_are_loaded_modules_with_another_source(folder: Path) -> None:
    (folder / "their_single.py").write_text("a = 1\n")
    plugins.load_plugins(["their_single"])
    code = {module: frozenset({loaded_code(module)}) for module in ("sparsweep", "their_single")}
    assert changed_modules(code) == []
    assert changed_modules({**code, "never_loaded": frozenset({"1 a"})}) == []
    edit(folder / "their_single.py", "a = 2\n")
    assert changed_modules(code) == ["their_single"]
    both = {"their_single": code["their_single"] | {loaded_code("their_single")}}
    assert changed_modules(both) == ["their_single"], "other code computed a part of the result"


def test_trial_resumed_with_changed_code_records_both_digests(
    folder: Path, digits: DeviceData, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "their_methods.py").write_text(METHOD)
    plugins.load_plugins(["their_methods"])
    spec = trial(sparsifier="mine", sparsity=0.5)
    assert spec.recipe.epochs > 1
    first = code_of(spec)["their_methods"]
    open_run(spec, inputs(digits), store, "test").run_for(0.0)
    edit(folder / "their_methods.py", METHOD + "# and a remark\n")
    second = code_of(spec)["their_methods"]
    while not open_run(spec, inputs(digits), store, "test").run_for(0.0).is_finished:
        pass
    recorded = row(store, spec.id)
    assert load_code(recorded["code"])["their_methods"] == first | second


def test_trial_records_the_code_of_its_initial_weights(
    digits: DeviceData, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = trial(sparsifier="omp", sparsity=0.5)
    (parent,) = child.prerequisites()
    complete_with_code("earlier", parent, digits, store, monkeypatch)
    complete_with_code("newer", child, digits, store, monkeypatch)
    assert digests_of(child, store) == {"earlier", "newer"}


def test_trial_records_the_code_of_the_scores_that_select_its_samples(
    digits: DeviceData, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scores exist already. They were computed before the code changed and are not computed again."""
    child = trial(difficulty={"name": "el2n", "runs": 1, "epoch": 1}, data_ratio=0.3)
    (scoring,) = child.prerequisites()
    complete_with_code("earlier", scoring, digits, store, monkeypatch)
    complete_with_code("newer", child, digits, store, monkeypatch)
    assert digests_of(child, store) == {"earlier", "newer"}


def complete_with_code(
    digest: str, spec: RunSpec, data: DeviceData, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run ``spec`` to its end as if this package had the digest ``digest``."""
    monkeypatch.setattr(provenance, "_digest_of", lambda module: digest)
    loaded_code.cache_clear()
    open_run(spec, inputs(data), store, "test").run_for(float("inf"))


def digests_of(spec: RunSpec, store: Store) -> set[str]:
    """Return the digests of this package in a trial's row."""
    return {source.split()[1] for source in load_code(row(store, spec.id)["code"])["sparsweep"]}


def row(store: Store, run: str) -> dict[str, Any]:
    from sparsweep.trainables.storage import tables

    table, _ = tables.read_table(store.storage, "trials", trials=[run])
    (only_row,) = table.to_pylist()
    return dict(only_row)
